//! The comparison's curves.

use std::collections::BTreeMap;

use plotters::style::Color;
use regatta_actors::protocol::round_record::RoundRecord;

use crate::aggregate::measures::{BASE_DELTA_NORM, CLIENT_DRIFT, IDEAL_NORM, RESIDUAL_NORM};
use crate::runs::compare::Compared;
use crate::runs::compare::by_setting;
use crate::runs::compare::groups::{Group, Mean, metrics};
use crate::runs::compare::target::Target;
use crate::runs::figures::chart::{Band, Chart, Curve};
use crate::runs::figures::theme::{colour, dashed, time_unit};
use crate::runs::figures::{Figure, measures};

/// Scores by round and by virtual time, and exactness by round.
///
/// # Errors
/// If one cannot be drawn.
pub fn figures(groups: &[Group<'_>], target: &Target) -> anyhow::Result<Vec<Figure>> {
    let metrics = metrics(groups);
    let title = metrics.title(&target.score);
    let less_is_better = metrics.less_is_better(&target.score);
    let lower = match less_is_better {
        true => "; lower is better",
        false => "",
    };
    let scaled = |chart: Chart| match less_is_better {
        true => chart.log_if_wide(),
        false => chart,
    };
    let score = |record: &RoundRecord| record.eval.as_ref()?.get(&target.score).copied();
    let several = groups.iter().any(|group| group.runs.len() > 1);
    let spread = if several {
        "; means over seeds, with bands of one sample standard deviation"
    } else {
        ""
    };
    let mut named = title.clone();
    named.get_mut(..1).map(str::make_ascii_uppercase);
    let by_round = Chart {
        name: "score",
        caption: format!("{named} on validation by round{lower}{spread}."),
        y: title.clone(),
        ..over_rounds(groups, score)
    };
    let by_time = Chart {
        name: "score_by_time",
        caption: format!("{named} on validation by virtual time{lower}; a curve for each run."),
        y: title,
        ..over_time(groups, target)
    };
    let exactness = Chart {
        name: "exactness",
        caption: format!("Exactness error by round{spread}; where it is 0 there is no point."),
        y: "exactness error".to_owned(),
        log: true,
        ..over_rounds(groups, |record| record.exactness_error)
    };
    let drawn = [
        scaled(by_round).draw()?,
        scaled(by_time).draw()?,
        exactness.draw()?,
    ];
    let mut figures: Vec<Figure> = drawn.into_iter().flatten().collect();
    figures.extend(measured(groups, spread)?);
    figures.extend(by_setting::figures(groups, &target.score)?);
    Ok(figures)
}

/// What explains the scores, where runs have recorded it.
fn measured(groups: &[Group<'_>], spread: &str) -> anyhow::Result<Vec<Figure>> {
    let measure =
        |name: &'static str| move |record: &RoundRecord| record.measures.get(name).copied();
    let residual = |record: &RoundRecord| {
        let share = measure(RESIDUAL_NORM)(record)? / measure(IDEAL_NORM)(record)?;
        share.is_finite().then_some(share)
    };
    let residual = Chart {
        name: "residual",
        caption: format!(
            "Share of the ideal update that the aggregated adapter misses, by round{spread}. Exact \
             methods merge it into the base."
        ),
        y: "residual / ideal update".to_owned(),
        from_zero: true,
        ..over_rounds(groups, residual)
    };
    let drift = Chart {
        name: "drift",
        caption: format!("{}, by round{spread}.", measures::DRIFT_IN_WORDS),
        y: "clients' drift".to_owned(),
        from_zero: true,
        ..over_rounds(groups, measure(CLIENT_DRIFT))
    };
    let base_delta = Chart {
        name: "base_delta",
        caption: format!("{}, by round{spread}.", measures::BASE_DELTA_IN_WORDS),
        y: "norm added to the base".to_owned(),
        from_zero: true,
        ..over_rounds(groups, measure(BASE_DELTA_NORM))
    };
    let drawn = [residual.draw()?, drift.draw()?, base_delta.draw()?];
    Ok(drawn.into_iter().flatten().collect())
}

/// Each group's mean and deviation by round.
fn over_rounds(groups: &[Group<'_>], value: impl Fn(&RoundRecord) -> Option<f64> + Copy) -> Chart {
    let mut chart = Chart::default();
    for (index, group) in groups.iter().enumerate() {
        let mut by_round: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for record in group.runs.iter().flat_map(|run| &run.rounds) {
            if let Some(value) = value(record) {
                by_round.entry(record.round).or_default().push(value);
            }
        }
        let means = by_round.iter();
        let means =
            means.filter_map(|(round, values)| Some((f64::from(*round), Mean::of(values)?)));
        let means: Vec<(f64, Mean)> = means.collect();
        let band = means.iter().filter_map(|(round, mean)| {
            let deviation = mean.deviation?;
            Some((*round, mean.mean - deviation, mean.mean + deviation))
        });
        chart.bands.push(Band {
            name: None,
            points: band.collect(),
            colour: colour(index).mix(0.18),
        });
        let points = means.iter().map(|(round, mean)| (*round, mean.mean));
        chart.curves.push(Curve {
            dashed: dashed(index),
            ..Curve::new(group.label.clone(), colour(index), points.collect())
        });
    }
    chart
}

fn over_time(groups: &[Group<'_>], target: &Target) -> Chart {
    let runs = groups.iter().flat_map(|group| &group.runs);
    let end = runs
        .map(|run| run.totals.virtual_seconds)
        .fold(0.0, f64::max);
    let (unit, seconds) = time_unit(end);
    let mut chart = Chart {
        x: Some(format!("virtual time ({unit})")),
        ..Chart::default()
    };
    for (index, group) in groups.iter().enumerate() {
        for (number, run) in group.runs.iter().enumerate() {
            let curve = Curve {
                dashed: dashed(index),
                ..Curve::new(
                    group.label.clone(),
                    colour(index),
                    points(run, target, seconds),
                )
            };
            chart.curves.push(Curve {
                // One entry for the group.
                name: curve.name.filter(|_| number == 0),
                ..curve
            });
        }
    }
    chart
}

fn points(run: &Compared, target: &Target, unit: f64) -> Vec<(f64, f64)> {
    let scores = run.scores(&target.score);
    let points = scores.map(|(record, score)| (record.virtual_seconds / unit, score));
    points.collect()
}
