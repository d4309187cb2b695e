//! The rounds of a run as lines, and as a table of a length that stays readable.

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use regatta_actors::protocol::json::nan_last;
use regatta_actors::protocol::round_record::RoundRecord;
use regatta_actors::workload::update::Scores;

use crate::base::table::{show_number, show_small};
use crate::runs::history::totals::is_loss;

/// The maximum number of rows of the table, besides the last.
const MOST_ROWS: usize = 40;
/// Most clients that get a column each.
const MOST_COLUMNS: usize = 8;

/// Rounds so far. Of a long run it keeps every second, every fourth, … and always the last.
#[derive(Debug, Default)]
pub struct RoundHistory {
    rows: Vec<HistoryRow>,
    last: Option<HistoryRow>,
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
        self.last = Some(HistoryRow::new(record));
    }

    /// The rounds as a table; `None` before the first.
    pub fn table(&self) -> Option<Table> {
        let last = self.last.as_ref()?;
        let names: Vec<_> = last.clients.iter().map(|(name, _)| name.clone()).collect();
        let many = names.len() > MOST_COLUMNS;
        let scores = self
            .rows
            .iter()
            .chain(Some(last))
            .find_map(|row| row.eval.as_ref());
        let scores = scores.map(score_names).unwrap_or_default();
        let mut header = vec!["round".to_owned()];
        if many {
            header.push("clients' losses\n(least / median / most)".to_owned());
        } else {
            header.extend(names.iter().map(|name| format!("{name}\nloss")));
        }
        header.push("train\nloss".to_owned());
        header.extend(scores.iter().map(|name| title(name).replace(' ', "\n")));
        header.extend(["exactness\nerror", "seconds"].map(str::to_owned));
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header(header);
        for row in self.rows.iter().chain(Some(last)) {
            table.add_row(row.cells(&names, many, &scores));
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

/// A finished round in one line.
pub fn line(record: &RoundRecord, rounds: u32) -> String {
    let width = rounds.to_string().len();
    let aggregated = record.aggregated();
    let mut parts = vec![
        format!("round {:>width$}/{rounds}", record.round),
        format!("{aggregated}/{} clients", record.clients.len()),
        format!("train loss {}", number(record.train_loss)),
    ];
    if let Some(scores) = &record.eval {
        parts.extend(
            score_names(scores)
                .iter()
                .map(|name| format!("{} {}", title(name), number(scores.get(name).copied()))),
        );
    }
    parts.push(format!("exactness error {}", small(record.exactness_error)));
    parts.push(format!("{:.1} s", seconds(record)));
    parts.join("  ")
}

/// The scores' names, the metrics before the loss.
fn score_names(scores: &Scores) -> Vec<String> {
    let mut names: Vec<_> = scores.keys().cloned().collect();
    names.sort_by_key(|name| is_loss(name));
    names
}

fn title(score: &str) -> String {
    let eval = if is_loss(score) { "eval " } else { "" };
    format!("{eval}{}", score.replace('_', " "))
}

fn seconds(record: &RoundRecord) -> f64 {
    record.seconds.train + record.seconds.aggregate + record.seconds.evaluate
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| show_number(value, 4))
}

fn small(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), show_small)
}

#[cfg(test)]
mod tests {
    use regatta_actors::ids::{ClientId, Digest};
    use regatta_actors::protocol::round_record::{ClientRecord, Outcome, PhaseSeconds};

    use super::*;

    fn record(round: u32, clients: u32) -> RoundRecord {
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
    fn a_line_says_all_of_a_round() {
        assert_eq!(
            line(&record(3, 3), 12),
            "round  3/12  2/3 clients  train loss 0.2500  accuracy 0.8125  eval loss 0.5000  \
             exactness error 2.5e-8  1.5 s"
        );
    }

    #[test]
    fn what_is_no_number_is_shown_as_such_and_sorted_behind_the_others() {
        let mut record = record(3, 20);
        record.clients[4].loss = Some(-f64::NAN);
        record.train_loss = Some(f64::NAN);
        record.eval = Some(Scores::from([
            ("loss_mm".into(), f64::INFINITY),
            ("accuracy".into(), f64::NAN),
        ]));
        record.exactness_error = Some(f64::NEG_INFINITY);
        assert_eq!(
            line(&record, 3),
            "round 3/3  19/20 clients  train loss NaN  accuracy NaN  eval loss mm NaN  \
             exactness error NaN  1.5 s"
        );
        let spread = HistoryRow::new(&record).spread();
        assert_eq!(spread, "0.0000 / 1.1000 / NaN");
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
