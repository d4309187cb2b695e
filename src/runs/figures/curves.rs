//! The curves of one run.

use std::collections::BTreeMap;

use plotters::style::Color;
use regatta_actors::protocol::event::ClientInfo;
use regatta_actors::protocol::round_record::{ClientRecord, RoundRecord};

use crate::config::plan::Plan;
use crate::runs::figures::chart::{Band, Chart, Curve, over_rounds};
use crate::runs::figures::theme::{INK, colour};
use crate::runs::figures::{Figure, chart, fleet, measures, timeline};
use crate::runs::history::collected::Participations;
use crate::runs::history::states;
use crate::tasks::metrics::set::{MetricSet, base_name, base_of, is_loss};

/// Up to N clients have a curve with a colour and a name; of more, bands are drawn.
const NAMED: usize = 6;

/// All figures of a run; those for which it has no data are left out.
///
/// # Errors
/// If one cannot be drawn.
pub fn of_run(
    rounds: &[RoundRecord],
    participations: &Participations,
    plan: &Plan,
) -> anyhow::Result<Vec<Figure>> {
    let rows = states::rows(participations, plan);
    let [residual, drift, base_delta] = measures::charts(rounds);
    let drawn = [
        loss(rounds, participations).draw()?,
        scores(rounds, &plan.data.task.metric_set())?,
        timeline::draw(&rows, participations)?,
        fleet::draw(&rows, participations)?,
        exactness(rounds).draw()?,
        residual.draw()?,
        drift.draw()?,
        base_delta.draw()?,
        traffic(rounds).draw()?,
    ];
    Ok(drawn.into_iter().flatten().collect())
}

/// Training loss: each client's, or their spread; the mean; and the loss on validation.
fn loss(rounds: &[RoundRecord], participations: &Participations) -> Chart {
    let mut chart = Chart {
        name: "loss",
        caption: "Training loss by round".to_owned(),
        y: "loss".to_owned(),
        ..Chart::default()
    };
    if participations.clients.len() <= NAMED {
        chart.caption += ": each client's, and the mean weighted by examples";
        chart.curves = participations
            .clients
            .iter()
            .enumerate()
            .map(client_curve(rounds))
            .collect();
    } else {
        chart.caption += ": the clients' spread, and the mean weighted by examples";
        chart.bands = spread(rounds);
    }
    let mean = over_rounds(rounds, |record| record.train_loss);
    chart.curves.push(Curve {
        width: 3,
        ..Curve::new("mean", INK, mean)
    });
    let eval = over_rounds(rounds, |record| record.eval.as_ref()?.get("loss").copied());
    if !eval.is_empty() {
        chart.caption += "; dashed, the global model's loss on validation";
        chart.curves.push(Curve {
            dashed: true,
            ..Curve::new("validation", INK, eval)
        });
    }
    chart.caption += ".";
    chart
}

fn client_curve<'a>(rounds: &'a [RoundRecord]) -> impl Fn((usize, &ClientInfo)) -> Curve + 'a {
    move |(index, client)| {
        let loss = |record: &RoundRecord| {
            let mut clients = record.clients.iter();
            clients.find(|one| one.client == client.client)?.loss
        };
        Curve::new(
            client.name.clone(),
            colour(index),
            over_rounds(rounds, loss),
        )
    }
}

/// From the least to the most, and from the first to the third quartile, of the clients' losses.
fn spread(rounds: &[RoundRecord]) -> Vec<Band> {
    let quantiles = |low: f64, high: f64| -> Vec<(f64, f64, f64)> {
        let band = |record: &RoundRecord| {
            let losses = record.clients.iter().filter_map(|client| client.loss);
            let mut losses: Vec<f64> = losses.filter(|loss| loss.is_finite()).collect();
            losses.sort_by(f64::total_cmp);
            let last = losses.len().checked_sub(1)?;
            let at = |share: f64| losses[(share * last as f64).round() as usize];
            Some((f64::from(record.round), at(low), at(high)))
        };
        rounds.iter().filter_map(band).collect()
    };
    let band = |name: &str, low, high, depth| Band {
        name: Some(name.to_owned()),
        points: quantiles(low, high),
        colour: colour(0).mix(depth),
    };
    vec![
        band("all clients", 0.0, 1.0, 0.15),
        band("their middle half", 0.25, 0.75, 0.3),
    ]
}

/// The scores on validation, without the loss: in one chart, or where the model before training was
/// scored as well, in one each, with that model's as a dashed curve.
fn scores(rounds: &[RoundRecord], metrics: &MetricSet) -> anyhow::Result<Option<Figure>> {
    let evals = rounds.iter().filter_map(|record| record.eval.as_ref());
    let mut names = metrics.names(evals.clone());
    names.retain(|name| !is_loss(name));
    let caption = "Scores of the global model on validation by round".to_owned();
    if evals
        .flat_map(BTreeMap::keys)
        .any(|name| base_name(name).is_some())
    {
        let caption = caption + "; dashed, those of the model before training.";
        let charts = names.iter().map(|name| beside_base(rounds, name, metrics));
        return chart::draw_together("scores", caption, charts.collect());
    }
    let curve = |(index, name): (usize, &String)| {
        let points = over_rounds(rounds, score(name));
        Curve::new(metrics.title(name), colour(index), points)
    };
    let only = match names.as_slice() {
        [one] => Some(metrics.title(one)),
        _ => None,
    };
    Chart {
        name: "scores",
        caption: caption + ".",
        y: only.unwrap_or_else(|| "score".to_owned()),
        curves: names.iter().enumerate().map(curve).collect(),
        ..Chart::default()
    }
    .draw()
}

/// A score of a round.
fn score(name: &str) -> impl Fn(&RoundRecord) -> Option<f64> + '_ {
    move |record| record.eval.as_ref()?.get(name).copied()
}

/// A score by round, and that of the model before training.
fn beside_base(rounds: &[RoundRecord], name: &str, metrics: &MetricSet) -> Chart {
    let base = over_rounds(rounds, score(&base_of(name)));
    let trained = over_rounds(rounds, score(name));
    let chart = Chart {
        y: metrics.title(name),
        curves: vec![
            Curve::new("trained", colour(0), trained),
            Curve {
                dashed: true,
                width: 1,
                ..Curve::new("before training", INK, base)
            },
        ],
        ..Chart::default()
    };
    match metrics.less_is_better(name) {
        true => chart.log_if_wide(),
        false => chart,
    }
}

/// The exactness error, on a logarithmic axis; rounds that are exact to the last bit have no point.
fn exactness(rounds: &[RoundRecord]) -> Chart {
    let error = over_rounds(rounds, |record| record.exactness_error);
    let exact = error.iter().filter(|(_, error)| *error == 0.0).count();
    let mut caption =
        "Exactness error by round: ‖effective − ideal‖ / ‖ideal update‖, Frobenius norm".to_owned();
    if exact > 0 {
        caption += &format!(
            "; {exact} of {} rounds are exact and have no point",
            error.len()
        );
    }
    Chart {
        name: "exactness",
        caption: caption + ".",
        y: "exactness error".to_owned(),
        log: true,
        curves: vec![Curve::new("exactness error", colour(0), error)],
        ..Chart::default()
    }
}

fn traffic(rounds: &[RoundRecord]) -> Chart {
    let megabytes = |bytes: fn(&ClientRecord) -> u64| {
        let sum = |record: &RoundRecord| record.clients.iter().map(bytes).sum::<u64>();
        over_rounds(rounds, |record| Some(sum(record) as f64 / 1e6))
    };
    Chart {
        name: "traffic",
        caption: "Traffic by round, summed over clients.".to_owned(),
        y: "traffic (MB)".to_owned(),
        from_zero: true,
        curves: vec![
            Curve::new("clients to server", colour(0), megabytes(|c| c.bytes_up)),
            Curve::new("server to clients", colour(1), megabytes(|c| c.bytes_down)),
        ],
        ..Chart::default()
    }
}
