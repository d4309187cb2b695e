//! The rounds of a run as a table of a length that stays readable.

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use regatta_actors::protocol::json::nan_last;
use regatta_actors::protocol::round_record::RoundRecord;
use regatta_actors::workload::update::Scores;

use crate::base::table::{show_score, show_small};
use crate::tasks::metrics::set::{MetricSet, base_of};

/// The maximum number of rows of the table, besides the last.
const MOST_ROWS: usize = 40;
/// Most clients that get a column each.
const MOST_COLUMNS: usize = 8;
/// Most columns of clients and scores together, before the clients share one.
const MOST_WITH_SCORES: usize = 12;

/// Rounds so far. Of a long run it keeps every second, every fourth, … and always the last.
#[derive(Debug, Default)]
pub struct RoundHistory {
    metrics: MetricSet,
    rows: Vec<HistoryRow>,
    last: Option<HistoryRow>,
    /// The last value of each score, of the model before training too.
    scores: Scores,
    stride: u32,
    seen: u32,
}

#[derive(Debug, Clone)]
struct HistoryRow {
    round: u32,
    clients: Vec<(String, Option<f64>)>,
    train_loss: Option<f64>,
    eval: Option<Scores>,
    exactness_error: Option<f64>,
    seconds: f64,
}

impl RoundHistory {
    /// The history of a run whose task has these metrics.
    pub fn new(metrics: MetricSet) -> Self {
        Self {
            metrics,
            ..Self::default()
        }
    }

    /// Takes a round in.
    pub fn add(&mut self, record: &RoundRecord) {
        if let Some(last) = self.last.take()
            && self.seen.is_multiple_of(self.stride.max(1))
        {
            self.rows.push(last);
            if self.rows.len() > MOST_ROWS {
                let mut position = 0;
                self.rows.retain(|_| {
                    position += 1;
                    position % 2 == 1
                });
                self.stride = self.stride.max(1) * 2;
            }
        }
        self.seen += 1;
        self.scores.extend(record.eval.clone().unwrap_or_default());
        self.last = Some(HistoryRow::new(record));
    }

    /// The rounds as a table, below them the scores of the model before training if there are any;
    /// `None` before the first round.
    pub fn table(&self) -> Option<Table> {
        let last = self.last.as_ref()?;
        let names: Vec<_> = last.clients.iter().map(|(name, _)| name.clone()).collect();
        let scores = self.metrics.names([&self.scores]);
        let many = names.len() > MOST_COLUMNS || names.len() + scores.len() > MOST_WITH_SCORES;
        let mut header = vec!["round".to_owned()];
        if many {
            header.push("clients' losses\n(least / median / most)".to_owned());
        } else {
            let loss = |name: &String| format!("{name} loss").replace(' ', "\n");
            header.extend(names.iter().map(loss));
        }
        header.push("train\nloss".to_owned());
        let titles = scores.iter().map(|name| self.metrics.eval_title(name));
        header.extend(titles.map(|title| title.replace(' ', "\n")));
        header.extend(["exactness\nerror", "seconds"].map(str::to_owned));
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header(header);
        for row in self.rows.iter().chain(Some(last)) {
            table.add_row(row.cells(&names, many, &scores));
        }
        let base = |name: &String| self.scores.get(&base_of(name)).copied();
        if scores.iter().any(|name| base(name).is_some()) {
            let blank = if many { 2 } else { names.len() + 1 };
            let mut cells = vec!["base".to_owned()];
            cells.extend(vec![String::new(); blank]);
            cells.extend(scores.iter().map(|name| number(base(name))));
            table.add_row(cells);
        }
        Some(table)
    }
}

impl HistoryRow {
    fn new(record: &RoundRecord) -> Self {
        let clients = record.clients.iter();
        Self {
            round: record.round,
            clients: clients
                .map(|client| (client.name.clone(), client.loss))
                .collect(),
            train_loss: record.train_loss,
            eval: record.eval.clone(),
            exactness_error: record.exactness_error,
            seconds: seconds(record),
        }
    }

    fn cells(&self, names: &[String], many: bool, scores: &[String]) -> Vec<String> {
        let mut cells = vec![self.round.to_string()];
        if many {
            cells.push(self.spread());
        } else {
            let loss = |name: &String| {
                let client = self.clients.iter().find(|(client, _)| client == name);
                number(client.and_then(|(_, loss)| *loss))
            };
            cells.extend(names.iter().map(loss));
        }
        cells.push(number(self.train_loss));
        let score =
            |name: &String| number(self.eval.as_ref().and_then(|eval| eval.get(name)).copied());
        cells.extend(scores.iter().map(score));
        cells.push(small(self.exactness_error));
        cells.push(format!("{:.1}", self.seconds));
        cells
    }

    fn spread(&self) -> String {
        let mut losses: Vec<f64> = self.clients.iter().filter_map(|(_, loss)| *loss).collect();
        losses.sort_by(nan_last);
        let at = |position: usize| number(losses.get(position).copied());
        let most = losses.len().saturating_sub(1);
        format!("{} / {} / {}", at(0), at(most / 2), at(most))
    }
}

/// What a round took, by the wall clock.
pub fn seconds(record: &RoundRecord) -> f64 {
    record.seconds.train + record.seconds.aggregate + record.seconds.evaluate
}

/// A loss or a score; a dash where there is none.
pub fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), show_score)
}

/// An exactness error; a dash where there is none.
pub fn small(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), show_small)
}

#[cfg(test)]
pub(crate) mod tests {
    use regatta_actors::ids::{ClientId, Digest};
    use regatta_actors::protocol::round_record::{ClientRecord, Outcome, PhaseSeconds};

    use super::*;
    use crate::tasks::metrics::info::MetricInfo;

    pub(crate) fn record(round: u32, clients: u32) -> RoundRecord {
        let client = |number| ClientRecord {
            client: ClientId(number),
            name: format!("c{number}"),
            outcome: if number == 1 {
                Outcome::Dropped
            } else {
                Outcome::Aggregated
            },
            loss: (number != 1).then(|| f64::from(number) / 10.0),
            examples: 1,
            steps: 1,
            bytes_up: 1,
            bytes_down: 1,
            seconds: 1.0,
        };
        RoundRecord {
            round,
            train_loss: Some(0.25),
            eval: Some(Scores::from([
                ("loss".into(), 0.5),
                ("accuracy".into(), 0.8125),
            ])),
            exactness_error: Some(2.5e-8),
            measures: [].into(),
            virtual_seconds: 1.0,
            seconds: PhaseSeconds {
                train: 1.0,
                aggregate: 0.25,
                evaluate: 0.25,
            },
            state_digest: Digest(String::new()),
            refused: Vec::new(),
            clients: (0..clients).map(client).collect(),
        }
    }

    #[test]
    fn a_loss_that_is_no_number_is_sorted_behind_the_others() {
        let mut record = record(3, 20);
        record.clients[4].loss = Some(-f64::NAN);
        let spread = HistoryRow::new(&record).spread();
        assert_eq!(spread, "0.0000 / 1.1000 / NaN");
    }

    pub(crate) const METRICS: MetricSet = MetricSet::of(&[
        MetricInfo::lower("perplexity"),
        MetricInfo::higher("bleu").titled("BLEU"),
    ]);

    pub(crate) fn scored(round: u32, scores: &[(&str, f64)]) -> RoundRecord {
        let scores = scores
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value));
        RoundRecord {
            eval: Some(scores.collect()),
            ..record(round, 2)
        }
    }

    #[test]
    fn a_table_has_the_scores_of_every_round_and_those_of_the_base_once() {
        let mut history = RoundHistory::new(METRICS);
        let early = [("perplexity", 9.0), ("base_perplexity", 99.5)];
        let late = [("perplexity", 8.0), ("bleu", 0.5), ("base_bleu", 0.25)];
        history.add(&scored(1, &early));
        history.add(&scored(2, &late));
        let table = history.table().unwrap().to_string();
        let row = |first: &str| {
            let line = table
                .lines()
                .find(|line| line.starts_with(&format!("│ {first} ")));
            let cells = line
                .unwrap_or_else(|| panic!("no {first} in {table}"))
                .split('┆');
            cells.map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(row("1")[4..6], ["9.0000", "–"]);
        assert_eq!(row("2")[4..6], ["8.0000", "0.5000"]);
        assert_eq!(row("base")[3..6], ["", "99.500", "0.2500"]);
        assert!(
            table.contains("BLEU") && table.matches("base").count() == 1,
            "{table}"
        );
    }

    #[test]
    fn few_clients_have_a_column_each_and_many_a_spread() {
        let table = |clients| {
            let mut history = RoundHistory::default();
            history.add(&record(1, clients));
            history.table().unwrap().to_string()
        };
        assert!(table(3).contains("c2") && !table(3).contains("median"));
        assert!(
            table(20).contains("0.0000 / 1.0000 / 1.9000"),
            "{}",
            table(20)
        );
    }

    #[test]
    fn a_long_run_keeps_a_readable_table_with_its_last_round() {
        let mut history = RoundHistory::default();
        (1..=1000).for_each(|round| history.add(&record(round, 2)));
        let rounds: Vec<u32> = history.rows.iter().map(|row| row.round).collect();
        assert!(
            rounds.len() <= MOST_ROWS && rounds.len() >= MOST_ROWS / 2,
            "{rounds:?}"
        );
        assert!(
            rounds.windows(2).all(|pair| pair[0] < pair[1]),
            "{rounds:?}"
        );
        assert_eq!(history.last.unwrap().round, 1000);
    }
}
