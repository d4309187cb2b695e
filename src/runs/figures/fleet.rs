//! How many clients are in which state, in virtual time.

use anyhow::Context;
use plotters::prelude::*;

use crate::runs::figures::theme::{Area, Axis, Labelled, Sample, ticks};
use crate::runs::figures::timeline::colour_of;
use crate::runs::figures::{Figure, theme};
use crate::runs::history::collected::Participations;
use crate::runs::history::states::{State, TimelineRow};

const HEIGHT: u32 = 300;
/// A smaller fleet's timeline says it all.
const LEAST: usize = 9;
/// Points along the axis.
const BINS: usize = 360;

/// Draws the stacked counts; `None` for a fleet that is small, or without any selected client.
///
/// # Errors
/// If they cannot be drawn.
pub fn draw(
    rows: &[TimelineRow],
    participations: &Participations,
) -> anyhow::Result<Option<Figure>> {
    if rows.len() < LEAST || participations.all.is_empty() || participations.end <= 0.0 {
        return Ok(None);
    }
    // Who is away or retired is many and says little; the clients at work are what is looked for.
    let counts: Vec<(State, Vec<f64>)> = State::ALL
        .into_iter()
        .filter(|state| !matches!(state, State::Away | State::Retired))
        .map(|state| (state, count(rows, state, participations.end)))
        .filter(|(_, counts)| counts.iter().any(|count| *count > 0.0))
        .collect();
    let entries: Vec<_> = counts
        .iter()
        .map(|(state, _)| {
            let colour = colour_of(*state).to_rgba();
            (state.name().to_owned(), Sample::Fill(colour))
        })
        .collect();
    let svg = theme::on_canvas(HEIGHT, |root| {
        let area = theme::legend(root, &entries)?;
        plot(&area, &counts, participations.end)
    })
    .context("cannot draw the fleet's counts")?;
    Ok(Some(Figure {
        name: "fleet".to_owned(),
        caption: format!(
            "Clients at work in virtual time, by outcome; {} in all.",
            rows.len()
        ),
        svg,
    }))
}

/// Mean number of clients in a state, for each stretch of the axis.
fn count(rows: &[TimelineRow], state: State, end: f64) -> Vec<f64> {
    let width = end / BINS as f64;
    let mut counts = vec![0.0; BINS];
    let spans = rows.iter().flat_map(|row| &row.spans);
    for span in spans.filter(|span| span.state == state) {
        let first = (span.from / width) as usize;
        let last = ((span.to / width) as usize).min(BINS - 1);
        for (bin, count) in counts.iter_mut().enumerate().take(last + 1).skip(first) {
            let (from, to) = (bin as f64 * width, (bin + 1) as f64 * width);
            *count += (span.to.min(to) - span.from.max(from)).max(0.0) / width;
        }
    }
    counts
}

fn plot(area: &Area<'_>, counts: &[(State, Vec<f64>)], end: f64) -> anyhow::Result<()> {
    let (unit, seconds) = theme::time_unit(end);
    let end = end / seconds;
    let total = |bin: usize| counts.iter().map(|(_, counts)| counts[bin]).sum::<f64>();
    let most = (0..BINS).map(total).fold(1.0, f64::max) * 1.06;
    let step = theme::step(0.0, end, 9);
    let x = Labelled {
        axis: Axis {
            range: (0.0, end),
            ticks: ticks(0.0, end, 9, 0.0),
        },
        title: &format!("virtual time ({unit})"),
        label: &|x| theme::label(x, step),
    };
    let y = Labelled {
        axis: Axis {
            range: (0.0, most),
            ticks: ticks(0.0, most, 6, 1.0),
        },
        title: "clients at work",
        label: &|y| format!("{y:.0}"),
    };
    let mut chart = theme::frame(area, x, y)?;
    let mut below = vec![0.0; BINS];
    for (state, counts) in counts {
        let above: Vec<f64> = below.iter().zip(counts).map(|(a, b)| a + b).collect();
        let x = |bin: usize| end * bin as f64 / BINS as f64;
        let edge = |heights: &[f64]| -> Vec<(f64, f64)> {
            let steps = heights.iter().enumerate();
            steps
                .flat_map(|(bin, y)| [(x(bin), *y), (x(bin + 1), *y)])
                .collect()
        };
        let lower = edge(&below).into_iter().rev();
        let outline: Vec<_> = edge(&above).into_iter().chain(lower).collect();
        let fill = Polygon::new(outline, colour_of(*state).filled());
        chart.draw_series(std::iter::once(fill))?;
        below = above;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::history::states::TimelineSpan;

    #[test]
    fn counts_are_means_over_stretches() {
        let row = |from, to| TimelineRow {
            spans: vec![TimelineSpan {
                from,
                to,
                state: State::Training,
            }],
            ..TimelineRow::default()
        };
        let end = BINS as f64;
        let counts = count(&[row(0.0, end), row(1.0, 2.5)], State::Training, end);
        assert_eq!(counts[..4], [1.0, 2.0, 1.5, 1.0]);
        assert_eq!(counts[BINS - 1], 1.0);
    }
}
