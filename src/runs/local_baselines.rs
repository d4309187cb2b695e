//! What clients reach alone, in the folder of the run whose score it is read beside.

use std::collections::BTreeMap;
use std::io;

use regatta_actors::journal::json_lines;
use regatta_actors::protocol::json;
use regatta_actors::workload::update::Scores;
use serde::{Deserialize, Serialize};

use crate::base::files;
use crate::base::table::{Cell, Table, show_score};
use crate::runs::folder::RunFolder;
use crate::runs::folder::artifact::Artifact;
use crate::tasks::metrics::set::MetricSet;

/// What a client reached alone, training on its own shard for as many rounds as the federation did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LocalBaseline {
    /// The client's number.
    pub client: u32,
    /// Its name.
    pub name: String,
    /// Examples of its shard.
    pub examples: u64,
    /// Rounds that it trained.
    pub rounds: u32,
    /// The scores of its model on the validation splits. One that is not a number is written as `null`.
    #[serde(deserialize_with = "json::scores")]
    pub scores: Scores,
}

/// The clients' own scores, by client.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LocalBaselines(pub BTreeMap<u32, LocalBaseline>);

impl LocalBaselines {
    /// Those in a run's folder; empty if no client was trained alone.
    ///
    /// # Errors
    /// If the file exists and cannot be read, or a line of it is not a client's record.
    pub fn read(folder: &RunFolder) -> io::Result<Self> {
        let path = folder.path_of(Artifact::LocalBaselines);
        if !path.exists() {
            return Ok(Self::default());
        }
        let lines = json_lines::read::<LocalBaseline>(&path).map_err(io::Error::other)?;
        let each = lines.map(|line| line.map(|one| (one.client, one)));
        let all = each.collect::<Result<_, _>>().map_err(io::Error::other)?;
        Ok(Self(all))
    }

    /// Writes them into a run's folder, replacing those that were there.
    ///
    /// # Errors
    /// If the folder is no longer the run's, or the file cannot be written.
    pub fn write(&self, folder: &RunFolder) -> io::Result<()> {
        folder.check()?;
        let mut lines = Vec::new();
        for one in self.0.values() {
            serde_json::to_writer(&mut lines, one)?;
            lines.push(b'\n');
        }
        Ok(files::write_atomically(
            &folder.path_of(Artifact::LocalBaselines),
            &lines,
        )?)
    }

    /// The clients' values of a score, without those that are not finite numbers.
    fn values(&self, score: &str) -> impl Iterator<Item = f64> {
        let values = self.0.values().filter_map(|one| one.scores.get(score));
        values.copied().filter(|value| value.is_finite())
    }

    /// A score in a few words: least, most and mean of the clients alone, and the federation's.
    #[must_use]
    pub fn in_words(
        &self,
        score: &str,
        metrics: &MetricSet,
        federated: Option<f64>,
    ) -> Option<String> {
        let values: Vec<f64> = self.values(score).collect();
        let mean = mean(&values)?;
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let [least, mean, most] = [least, mean, most].map(show_score);
        let federated =
            federated.map_or_else(String::new, |it| format!("; federated {}", show_score(it)));
        let title = metrics.title(score);
        Some(format!(
            "alone, clients reach {title} {least} to {most}, {mean} on average{federated}"
        ))
    }

    /// A row for each client, then their mean and what the federation reached; empty if there are no
    /// clients.
    #[must_use]
    pub fn table(&self, metrics: &MetricSet, federated: &Scores) -> Table {
        let columns = [("client", "client"), ("examples", "examples")];
        let mut table = Table::new("local_baselines", &columns);
        if self.0.is_empty() {
            return table;
        }
        let names = metrics.names(self.0.values().map(|one| &one.scores));
        for name in &names {
            table.add_column(format!("eval_{name}"), metrics.eval_title(name));
        }
        let scores = |of: &Scores| -> Vec<Cell> {
            let each = names.iter().map(|name| Cell::score(of.get(name).copied()));
            each.collect()
        };
        for one in self.0.values() {
            let mut row = vec![one.name.as_str().into(), one.examples.into()];
            row.extend(scores(&one.scores));
            table.add_row(row);
        }
        let each = names.iter().filter_map(|name| {
            let values: Vec<f64> = self.values(name).collect();
            Some((name.clone(), mean(&values)?))
        });
        let examples: u64 = self.0.values().map(|one| one.examples).sum();
        for (title, of) in [("mean", &each.collect()), ("federated", federated)] {
            let mut row = vec![title.into(), Cell::none()];
            if title == "federated" {
                row[1] = examples.into();
            }
            row.extend(scores(of));
            table.add_row(row);
        }
        table
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::metrics::info::MetricInfo;

    const METRICS: MetricSet = MetricSet::of(&[MetricInfo::higher("accuracy")]);

    fn of(scores: &[(u32, f64)]) -> LocalBaselines {
        let each = scores.iter().map(|(client, accuracy)| {
            let one = LocalBaseline {
                client: *client,
                name: format!("client-{client}"),
                examples: 10,
                rounds: 2,
                scores: [("accuracy".to_owned(), *accuracy), ("loss".to_owned(), 1.0)].into(),
            };
            (*client, one)
        });
        LocalBaselines(each.collect())
    }

    #[test]
    fn they_come_back_as_they_were_written_and_are_none_where_none_were() {
        let place = tempfile::tempdir().unwrap();
        let folder = RunFolder::at(place.path());
        assert_eq!(
            LocalBaselines::read(&folder).unwrap(),
            LocalBaselines::default()
        );
        let written = of(&[(1, 0.5), (0, 0.25)]);
        written.write(&folder).unwrap();
        assert_eq!(LocalBaselines::read(&folder).unwrap(), written);
        of(&[(0, f64::NAN)]).write(&folder).unwrap();
        let read = LocalBaselines::read(&folder).unwrap();
        assert!(read.0[&0].scores["accuracy"].is_nan());
        std::fs::write(folder.path_of(Artifact::LocalBaselines), "{}\n{}\n").unwrap();
        let error = LocalBaselines::read(&folder).unwrap_err().to_string();
        assert!(error.contains("local_baselines.jsonl"), "{error}");
    }

    #[test]
    fn the_table_ends_with_the_mean_and_the_federations_scores() {
        let alone = of(&[(0, 0.5), (1, 0.7), (2, f64::NAN)]);
        let federated = [("accuracy".to_owned(), 0.8)].into();
        let table = alone.table(&METRICS, &federated);
        let shown = |at: usize| -> Vec<&str> {
            let row = table.rows()[at].iter();
            row.map(|cell| cell.shown.as_str()).collect()
        };
        assert_eq!(shown(2), ["client-2", "10", "NaN", "1.0000"]);
        assert_eq!(shown(3), ["mean", "–", "0.6000", "1.0000"]);
        assert_eq!(shown(4), ["federated", "30", "0.8000", "–"]);
        let words = alone.in_words("accuracy", &METRICS, Some(0.8)).unwrap();
        assert!(words.contains("0.5000 to 0.7000, 0.6000") && words.ends_with("federated 0.8000"));
        assert_eq!(alone.in_words("f1", &METRICS, None), None);
    }
}
