//! The fleet in virtual time: a row for each client, what it was doing, and what ended its work.

use std::collections::BTreeSet;

use anyhow::Context;
use plotters::prelude::*;

use crate::runs::figures::theme::{
    Area, Axis, COLOURS, GRID, INK, PALE, Sample, Shape, WIDTH, pt, stroke, text, ticks,
};
use crate::runs::figures::{Figure, theme};
use crate::runs::history::collected::Participations;
use crate::runs::history::states::{MarkKind, State, TimelineRow, TimelineSpan};

/// Up to N clients have a row each; of a larger fleet, those that lost most.
const ROWS: usize = 50;
/// Height of the axis.
const AXIS: i32 = 44;
/// Height of the rounds' numbers.
const TOP: i32 = 20;
/// With up to this many rounds, each begins with a line.
const LINES: usize = 100;
/// From this many spans on, they are painted by points of the axis rather than one by one.
const PIECES: usize = 8000;

/// A state's colour.
#[must_use]
pub fn colour_of(state: State) -> RGBColor {
    let [blue, vermilion, green, purple, orange, sky] = COLOURS;
    match state {
        State::Training => blue,
        State::Straggling => orange,
        State::Late => green,
        State::GivenUp => sky,
        State::Lost => vermilion,
        State::Restarting => purple,
        State::Away => GRID,
        State::Retired => PALE,
    }
}

fn shape_of(what: MarkKind) -> (&'static str, Shape) {
    match what {
        MarkKind::Dropped => ("drops out", Shape::Triangle),
        MarkKind::Crashed => ("crashes", Shape::Cross),
        MarkKind::UpdateLost => ("update lost", Shape::Ring),
    }
}

/// Draws the timeline; `None` if no client was selected.
///
/// # Errors
/// If it cannot be drawn.
pub fn draw(
    rows: &[TimelineRow],
    participations: &Participations,
) -> anyhow::Result<Option<Figure>> {
    if participations.all.is_empty() || participations.end <= 0.0 {
        return Ok(None);
    }
    let shown = choose(rows);
    let row_height = match shown.len() {
        0..=8 => 24,
        9..=20 => 16,
        _ => 12,
    };
    let legend = legend(&shown, participations);
    // Legends of all entries take two lines.
    let height = 48 + TOP as u32 + shown.len() as u32 * row_height + AXIS as u32;
    let svg = theme::on_canvas(height, |root| {
        let area = theme::legend(root, &legend)?;
        plot(&area, &shown, participations, row_height)
    })
    .context("cannot draw the timeline")?;
    let whom = if shown.len() < rows.len() {
        format!(
            "the {} of {} clients that lost most virtual time",
            shown.len(),
            rows.len()
        )
    } else {
        "each client".to_owned()
    };
    Ok(Some(Figure {
        name: "timeline".to_owned(),
        caption: format!("The fleet in virtual time: {whom}; numbers at the top are rounds."),
        svg,
    }))
}

/// The rows of those who lost most, in client order.
fn choose(rows: &[TimelineRow]) -> Vec<&TimelineRow> {
    if rows.len() <= ROWS {
        return rows.iter().collect();
    }
    let mut order: Vec<usize> = (0..rows.len()).collect();
    // The sort is stable: of equals, those with lower numbers.
    let busy = |row: &TimelineRow| row.spans.iter().filter(|s| s.state != State::Away).count();
    order.sort_by(|&a, &b| {
        let lost = rows[b].lost_seconds().total_cmp(&rows[a].lost_seconds());
        lost.then(busy(&rows[b]).cmp(&busy(&rows[a])))
    });
    order.truncate(ROWS);
    order.sort_unstable();
    order.into_iter().map(|index| &rows[index]).collect()
}

fn legend(rows: &[&TimelineRow], participations: &Participations) -> Vec<(String, Sample)> {
    let spans = rows.iter().flat_map(|row| &row.spans);
    let seen: BTreeSet<State> = spans.map(|span| span.state).collect();
    let states = State::ALL.into_iter().filter(|state| seen.contains(state));
    let states = states.map(|state| {
        let colour = colour_of(state).to_rgba();
        (state.name().to_owned(), Sample::Fill(colour))
    });
    let marks = rows.iter().flat_map(|row| &row.marks);
    let marks: BTreeSet<MarkKind> = marks.map(|mark| mark.what).collect();
    let marks = marks.into_iter().map(|what| {
        let (name, shape) = shape_of(what);
        (name.to_owned(), Sample::Mark(shape))
    });
    let server = (!participations.server_down.is_empty())
        .then(|| ("server down".to_owned(), Sample::Fill(INK.mix(0.25))));
    states.chain(marks).chain(server).collect()
}

fn plot(
    area: &Area<'_>,
    rows: &[&TimelineRow],
    participations: &Participations,
    row_height: u32,
) -> anyhow::Result<()> {
    let (unit, seconds) = theme::time_unit(participations.end);
    let end = participations.end / seconds;
    let font = (row_height - 2).min(12);
    let names: Vec<String> = rows.iter().map(|row| shortened(&row.name)).collect();
    let widest = names.iter().map(|name| theme::width_of(name, font)).max();
    let time_ticks = ticks(0.0, end, 9, 0.0);
    let step = theme::step(0.0, end, 9);
    let mut chart = ChartBuilder::on(area)
        .margin_right(pt(16))
        .margin_top(pt(TOP))
        .x_label_area_size(pt(AXIS))
        .y_label_area_size(widest.unwrap_or(0) + pt(14))
        .build_cartesian_2d(
            Axis {
                range: (0.0, end),
                ticks: time_ticks,
            },
            Axis {
                range: (rows.len() as f64, 0.0),
                ticks: Vec::new(),
            },
        )?;
    chart
        .configure_mesh()
        .max_light_lines(0)
        .bold_line_style(stroke(GRID, 1))
        .axis_style(stroke(INK, 1))
        .set_all_tick_mark_size(pt(4))
        .x_desc(format!("virtual time ({unit})"))
        .label_style(text(12))
        .axis_desc_style(text(13))
        .x_label_formatter(&|x| theme::label(*x, step))
        .draw()?;
    let place = |at: f64, row: f64| chart.backend_coord(&(at / seconds, row));
    // What the chart places is absolute; the area's own drawings begin at its corner.
    let (left, top) = area.get_base_pixel();
    let place = |at: f64, row: f64| {
        let (x, y) = place(at, row);
        (x - left, y - top)
    };
    for (index, name) in names.iter().enumerate() {
        let (x, y) = place(0.0, index as f64 + 0.5);
        let style = text(font).pos(plotters::style::text_anchor::Pos::new(
            plotters::style::text_anchor::HPos::Right,
            plotters::style::text_anchor::VPos::Center,
        ));
        area.draw(&Text::new(name.clone(), (x - pt(8), y), style))?;
    }
    draw_rounds(area, participations, rows.len(), &place)?;
    let pieces: usize = rows.iter().map(|row| row.spans.len()).sum();
    let inset = pt(if row_height > 12 { 3 } else { 1 });
    for (index, row) in rows.iter().enumerate() {
        let spans = match pieces > PIECES {
            true => painted(&row.spans, participations.end),
            false => row.spans.clone(),
        };
        for span in layered(&spans) {
            let (x0, y0) = place(span.from, index as f64);
            let (x1, y1) = place(span.to, index as f64 + 1.0);
            let corners = [(x0, y0 + inset), (x1.max(x0 + pt(1)), y1 - inset)];
            let fill = colour_of(span.state).filled();
            area.draw(&Rectangle::new(corners, fill))?;
        }
        for mark in &row.marks {
            let at = place(mark.at, index as f64 + 0.5);
            let size = pt((row_height as i32 / 4).min(4));
            theme::mark(area, shape_of(mark.what).1, at, size)?;
        }
    }
    for down in &participations.server_down {
        let (x0, y0) = place(down.from, 0.0);
        let (x1, y1) = place(down.to, rows.len() as f64);
        let fill = INK.mix(0.25).filled();
        area.draw(&Rectangle::new([(x0, y0), (x1.max(x0 + pt(2)), y1)], fill))?;
    }
    Ok(())
}

/// Where rounds begin, and the numbers of as many as there is room for.
fn draw_rounds(
    area: &Area<'_>,
    participations: &Participations,
    rows: usize,
    place: &impl Fn(f64, f64) -> (i32, i32),
) -> anyhow::Result<()> {
    let mut free = i32::MIN;
    for round in &participations.rounds {
        let (x, top) = place(round.from, 0.0);
        if participations.rounds.len() <= LINES {
            let (_, bottom) = place(round.from, rows as f64);
            let line = vec![(x, top - pt(4)), (x, bottom)];
            area.draw(&PathElement::new(line, stroke(PALE.mix(0.6), 1)))?;
        }
        if x >= free {
            let number = round.round.to_string();
            free = x + theme::width_of(&number, 10) + pt(8);
            area.draw(&Text::new(number, (x + pt(2), top - pt(14)), text(10)))?;
        }
    }
    Ok(())
}

/// Spans in the order of painting.
fn layered(spans: &[TimelineSpan]) -> Vec<TimelineSpan> {
    let mut spans = spans.to_vec();
    spans.sort_by_key(|span| span.state);
    spans
}

/// At most one span for each point of the axis: where several states meet, the gravest.
fn painted(spans: &[TimelineSpan], end: f64) -> Vec<TimelineSpan> {
    let bins = WIDTH as usize;
    let width = end / bins as f64;
    let mut states: Vec<Option<State>> = vec![None; bins];
    for span in spans {
        let first = (span.from / width) as usize;
        let last = ((span.to / width) as usize).min(bins - 1);
        for bin in states.iter_mut().take(last + 1).skip(first) {
            *bin = (*bin).max(Some(span.state));
        }
    }
    let mut painted: Vec<TimelineSpan> = Vec::new();
    for (bin, state) in states.into_iter().enumerate() {
        let Some(state) = state else { continue };
        let (from, to) = (bin as f64 * width, (bin + 1) as f64 * width);
        match painted.last_mut() {
            Some(last) if last.state == state && from - last.to < width / 2.0 => last.to = to,
            _ => painted.push(TimelineSpan { from, to, state }),
        }
    }
    painted
}

/// A name that leaves room for the timeline.
fn shortened(name: &str) -> String {
    const MOST: usize = 16;
    if name.chars().count() <= MOST {
        return name.to_owned();
    }
    let kept: String = name.chars().take(MOST - 1).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: f64, to: f64, state: State) -> TimelineSpan {
        TimelineSpan { from, to, state }
    }

    #[test]
    fn many_spans_are_painted_by_points_and_the_grave_ones_stay() {
        let spans: Vec<TimelineSpan> = (0..10_000)
            .map(|i| span(f64::from(i), f64::from(i) + 0.5, State::Training))
            .chain([span(5000.0, 5000.1, State::Lost)])
            .collect();
        let painted = painted(&spans, 10_000.0);
        let states: Vec<State> = painted.iter().map(|span| span.state).collect();
        assert_eq!(states, [State::Training, State::Lost, State::Training]);
    }

    #[test]
    fn of_a_large_fleet_those_are_shown_that_lost_most() {
        let mut rows: Vec<TimelineRow> = (0..200)
            .map(|i| TimelineRow {
                name: format!("c{i}"),
                ..TimelineRow::default()
            })
            .collect();
        rows[150].spans.push(span(0.0, 9.0, State::Lost));
        rows[120].spans.push(span(0.0, 1.0, State::Training));
        let shown = choose(&rows);
        assert_eq!(shown.len(), ROWS);
        assert_eq!(shown[ROWS - 1].name, "c150");
        assert_eq!(shown[ROWS - 2].name, "c120");
    }
}
