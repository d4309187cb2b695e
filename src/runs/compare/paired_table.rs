//! Differences between paired runs as tables.

use crate::base::table::{Cell, Table, show_number};
use crate::runs::compare::paired::{Differences, Paired};
use crate::runs::compare::statistics::{Interval, sign_test};
use crate::tasks::metrics::set::MetricSet;

/// A row for each group that is compared with a reference.
#[must_use]
pub fn differences_table(paired: &Paired, score: &str, metrics: MetricSet) -> Table {
    let title = metrics.title(score);
    let apart = paired
        .differences
        .iter()
        .any(|one| !one.agree_in.is_empty());
    let columns = [
        ("agree_in", if apart { "where" } else { "" }.to_owned()),
        ("group", "group".to_owned()),
        ("reference", "less that of".to_owned()),
        ("pairs", "pairs".to_owned()),
        ("difference", format!("mean difference of {title}")),
        ("interval_low", "95 % interval".to_owned()),
        ("interval_high", String::new()),
        ("better", "better".to_owned()),
        ("worse", "worse".to_owned()),
        ("equal", "equal".to_owned()),
        ("sign_test_p", "sign test p".to_owned()),
    ];
    let mut table = Table::new("paired", &[]);
    for (key, title) in columns {
        table.add_column(key, title);
    }
    for one in &paired.differences {
        table.add_row(row(one, metrics.less_is_better(score)));
    }
    table
}

fn row(one: &Differences, less_is_better: bool) -> [Cell; 11] {
    let values: Vec<f64> = one.by_seed.values().copied().collect();
    let pairs = values.len();
    let mean = (pairs > 0).then(|| values.iter().sum::<f64>() / pairs as f64);
    let [low, high] = match Interval::of_mean(&values) {
        Some(Interval { low, high }) => {
            let shown = format!("{} to {}", signed(low), signed(high));
            [
                Cell::of_number(low, shown),
                Cell::of_number(high, signed(high)),
            ]
        }
        None => [Cell::none(), Cell::none()],
    };
    let more = values.iter().filter(|value| **value > 0.0).count();
    let less = values.iter().filter(|value| **value < 0.0).count();
    let (better, worse) = match less_is_better {
        true => (less, more),
        false => (more, less),
    };
    let p = (pairs > 0).then(|| sign_test(better, worse));
    [
        one.agree_in.as_str().into(),
        one.label.as_str().into(),
        one.reference.as_str().into(),
        pairs.into(),
        mean.map_or_else(Cell::none, |mean| Cell::of_number(mean, signed(mean))),
        low,
        high,
        better.into(),
        worse.into(),
        (pairs - better - worse).into(),
        Cell::number(p, 3),
    ]
}

/// A difference with its sign.
fn signed(difference: f64) -> String {
    let shown = show_number(difference, 4);
    match difference > 0.0 {
        true => format!("+{shown}"),
        false => shown,
    }
}

/// The runs that are in no pair, with the reason.
#[must_use]
pub fn unpaired_table(paired: &Paired) -> Table {
    let mut table = Table::new(
        "unpaired",
        &[("run", "run"), ("reason", "why it is in no pair")],
    );
    for one in &paired.unpaired {
        table.add_row([one.run.as_str().into(), one.reason.as_str().into()]);
    }
    table
}

/// What the numbers mean.
#[must_use]
pub fn note(paired: &Paired, by: &[String]) -> String {
    let most = paired.differences.iter().map(|one| one.by_seed.len()).max();
    let least_p = match most {
        Some(pairs @ 1..=9) => format!(
            " With {} p is at least {:.3}.",
            crate::base::table::count(pairs, "pair"),
            sign_test(pairs, 0)
        ),
        _ => String::new(),
    };
    format!(
        "Differences of the last score between runs of the same seed that agree in all settings but \
         {}. The 95 % confidence interval of the mean is by Student's t, for differences that are \
         normally distributed; a single pair has none. The p of the sign test is the probability that \
         a fair coin falls at least as unevenly as better and worse did.{least_p}",
        by.join(" and ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::table::{Format, render};
    use crate::tasks::registry;

    fn differences(label: &str, values: &[f64]) -> Differences {
        Differences {
            agree_in: String::new(),
            label: label.into(),
            reference: "fedit".into(),
            by_seed: (1..).zip(values.iter().copied()).collect(),
        }
    }

    fn shown(paired: &Paired, score: &str, format: Format) -> String {
        let metrics = registry::find("rte").unwrap().metric_set();
        render(&[&differences_table(paired, score, metrics)], format).unwrap()
    }

    #[test]
    fn a_row_has_the_mean_the_interval_and_the_signs_and_one_pair_has_no_interval() {
        let paired = Paired {
            differences: vec![
                differences("fedex", &[0.01, 0.02, 0.03, 0.04, 0.05]),
                differences("ffa", &[-0.5]),
                differences("flora", &[]),
            ],
            unpaired: Vec::new(),
        };
        // 0.03 ± 2.7764 · 0.015811 / √5.
        let expected = "\
| group | less that of | pairs | mean difference of accuracy | 95 % interval      | better | worse | equal | sign test p |
|-------|--------------|-------|-----------------------------|--------------------|--------|-------|-------|-------------|
| fedex | fedit        |     5 |                     +0.0300 | +0.0104 to +0.0496 |      5 |     0 |     0 |       0.062 |
| ffa   | fedit        |     1 |                     -0.5000 |                  – |      0 |     1 |     0 |       1.000 |
| flora | fedit        |     0 |                           – |                  – |      0 |     0 |     0 |           – |";
        assert_eq!(shown(&paired, "accuracy", Format::Md).trim_end(), expected);
        let csv = shown(&paired, "loss", Format::Csv);
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(
            lines[0],
            "agree_in,group,reference,pairs,difference,interval_low,interval_high,better,worse,equal,\
             sign_test_p"
        );
        // Less of a loss is better.
        assert!(lines[1].ends_with(",0,5,0,0.0625"), "{csv}");
        assert_eq!(lines[2], ",ffa,fedit,1,-0.5,,,1,0,0,1.0");
        assert_eq!(lines[3], ",flora,fedit,0,,,,0,0,0,");
        let by = ["agg_type".to_owned(), "lr".to_owned()];
        let note = note(&paired, &by);
        assert!(note.contains("all settings but agg_type and lr"), "{note}");
        assert!(
            note.ends_with(" With 5 pairs p is at least 0.062."),
            "{note}"
        );
    }

    #[test]
    fn what_groups_agree_in_is_shown_where_it_differs() {
        let mut paired = Paired {
            differences: vec![differences("fedex", &[0.25])],
            unpaired: vec![],
        };
        assert!(shown(&paired, "accuracy", Format::Md).starts_with("| group |"));
        paired.differences[0].agree_in = "partition iid".into();
        let text = shown(&paired, "accuracy", Format::Md);
        assert!(text.starts_with("| where         | group |"), "{text}");
    }
}
