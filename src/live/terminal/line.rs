//! A finished round in one line.

use regatta_actors::protocol::round_record::RoundRecord;

use crate::live::terminal::history::{number, seconds, small};
use crate::tasks::metrics::set::{MetricSet, base_of};

/// A finished round in one line, each score with that of the model before training.
pub fn line(record: &RoundRecord, rounds: u32, metrics: &MetricSet) -> String {
    let width = rounds.to_string().len();
    let aggregated = record.aggregated();
    let mut parts = vec![
        format!("round {:>width$}/{rounds}", record.round),
        format!("{aggregated}/{} clients", record.clients.len()),
        format!("train loss {}", number(record.train_loss)),
    ];
    if let Some(scores) = &record.eval {
        let value = |name: &str| scores.get(name).copied();
        let score = |name: &String| {
            let base = value(&base_of(name));
            let base = base.map(|base| format!(" (base {})", number(Some(base))));
            let shown = number(value(name));
            format!(
                "{} {shown}{}",
                metrics.eval_title(name),
                base.unwrap_or_default()
            )
        };
        parts.extend(metrics.names([scores]).iter().map(score));
    }
    parts.push(format!("exactness error {}", small(record.exactness_error)));
    parts.push(format!("{:.1} s", seconds(record)));
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use regatta_actors::workload::update::Scores;

    use super::*;
    use crate::live::terminal::history::tests::{METRICS, record, scored};

    #[test]
    fn a_line_says_all_of_a_round() {
        assert_eq!(
            line(&record(3, 3), 12, &MetricSet::default()),
            "round  3/12  2/3 clients  train loss 0.2500  accuracy 0.8125  eval loss 0.5000  \
             exactness error 2.5e-8  1.5 s"
        );
    }

    #[test]
    fn a_score_has_that_of_the_base_beside_it_the_tasks_own_first() {
        let scores = [
            ("base_bleu", 0.125),
            ("base_loss", 12.8403),
            ("base_perplexity", 377_118.6),
            ("bleu", 0.5),
            ("loss", 5.25),
            ("perplexity", 219.894),
        ];
        let said = line(&scored(1, &scores), 1, &METRICS);
        let expected = "perplexity 219.9 (base 377119)  BLEU 0.5000 (base 0.1250)  \
                        eval loss 5.2500 (base 12.840)";
        assert!(said.contains(expected), "{said}");
    }

    #[test]
    fn what_is_no_number_is_shown_as_such() {
        let mut record = record(3, 20);
        record.train_loss = Some(f64::NAN);
        record.eval = Some(Scores::from([
            ("loss_mm".into(), f64::INFINITY),
            ("accuracy".into(), f64::NAN),
        ]));
        record.exactness_error = Some(f64::NEG_INFINITY);
        assert_eq!(
            line(&record, 3, &MetricSet::default()),
            "round 3/3  19/20 clients  train loss NaN  accuracy NaN  eval loss mm NaN  \
             exactness error NaN  1.5 s"
        );
    }
}
