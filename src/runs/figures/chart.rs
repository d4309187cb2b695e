//! Curves over rounds: losses, scores, exactness, traffic.

use anyhow::Context;
use plotters::prelude::*;
use regatta_actors::protocol::round_record::RoundRecord;

use crate::runs::figures::theme::{Axis, Labelled, Sample, label, pt, stroke, ticks};
use crate::runs::figures::{Figure, theme};

/// Height of a chart alone, with a legend of up to [`LEGEND_LINES`].
const HEIGHT: u32 = 380;
/// Lines of a legend for which a chart has room. It grows by what is beyond them.
const LEGEND_LINES: u32 = 3;
/// Up to N points, a curve shows each.
const DOTS: usize = 60;

/// Height of a chart of several in one figure, of which two are side by side.
const SMALL_HEIGHT: u32 = 240;

/// The least and the most of the axis to the right, and of the one upwards.
type Extent = ((f64, f64), (f64, f64));

/// Draws charts in one figure, two in a row; `None` when there is nothing to draw.
///
/// # Errors
/// If it cannot be drawn.
pub fn draw_together(
    name: &str,
    caption: String,
    charts: Vec<Chart>,
) -> anyhow::Result<Option<Figure>> {
    let mut ready = Vec::new();
    for mut chart in charts {
        chart.tidy();
        ready.extend(chart.range().map(|range| (chart, range)));
    }
    let (height, rows, columns) = match ready.len() {
        0 => return Ok(None),
        1 => (HEIGHT + ready[0].0.beyond_its_legends_room()?, 1, 1),
        several => (SMALL_HEIGHT, several.div_ceil(2), 2),
    };
    let svg = theme::on_canvas(height * rows as u32, |root| {
        let places = root.split_evenly((rows, columns));
        let mut drawn = ready.iter().zip(&places);
        drawn.try_for_each(|((chart, range), place)| chart.paint(place, *range))
    })
    .with_context(|| format!("cannot draw the figure {name}"))?;
    let name = name.to_owned();
    Ok(Some(Figure { name, caption, svg }))
}

/// The quantity drawn over rounds.
#[derive(Debug, Clone, Default)]
pub struct Chart {
    /// The figure's name, and its file's.
    pub name: &'static str,
    /// The caption of the figure.
    pub caption: String,
    /// What stands above it; empty: nothing.
    pub title: String,
    /// The axis to the right, with its unit; `None`: rounds.
    pub x: Option<String>,
    /// Where the axis to the right has its ticks; empty: at round numbers.
    pub x_ticks: Vec<f64>,
    /// Whether the axis to the right is logarithmic.
    pub log_x: bool,
    /// The axis upwards, with its unit.
    pub y: String,
    /// Whether the vertical axis starts at 0.
    pub from_zero: bool,
    /// Whether the axis upwards is logarithmic.
    pub log: bool,
    /// Behind the curves.
    pub bands: Vec<Band>,
    /// The curves.
    pub curves: Vec<Curve>,
}

/// A curve: values by round; what is not a number is left out.
#[derive(Debug, Clone)]
pub struct Curve {
    /// Its name in the legend; `None`: it has no entry.
    pub name: Option<String>,
    /// Rounds and values.
    pub points: Vec<(f64, f64)>,
    /// Its colour.
    pub colour: RGBColor,
    /// Its width, in points.
    pub width: i32,
    /// Whether it has gaps.
    pub dashed: bool,
}

/// The area between two curves.
#[derive(Debug, Clone)]
pub struct Band {
    /// Its name in the legend.
    pub name: Option<String>,
    /// Rounds, lower and upper values.
    pub points: Vec<(f64, f64, f64)>,
    /// Its colour.
    pub colour: RGBAColor,
}

impl Curve {
    /// A curve with a name.
    #[must_use]
    pub fn new(name: impl Into<String>, colour: RGBColor, points: Vec<(f64, f64)>) -> Self {
        Self {
            name: Some(name.into()),
            points,
            colour,
            width: 2,
            dashed: false,
        }
    }
}

impl Chart {
    /// The same with a logarithmic axis, if the values are positive and span two decades or more.
    #[must_use]
    pub fn log_if_wide(self) -> Self {
        let values = self.curves.iter().flat_map(|curve| &curve.points);
        let finite = values.map(|(_, y)| *y).filter(|y| y.is_finite());
        let least = finite.clone().reduce(f64::min).unwrap_or(0.0);
        let most = finite.reduce(f64::max).unwrap_or(0.0);
        Self {
            log: least > 0.0 && most >= 100.0 * least,
            ..self
        }
    }

    /// Draws it; `None` when there is nothing to draw.
    ///
    /// # Errors
    /// If it cannot be drawn.
    pub fn draw(self) -> anyhow::Result<Option<Figure>> {
        let (name, caption) = (self.name, self.caption.clone());
        draw_together(name, caption, vec![self])
    }

    /// By how much its legend needs more room than a chart has for one.
    fn beyond_its_legends_room(&self) -> anyhow::Result<u32> {
        let lines = theme::legend_lines(&self.legend())?;
        Ok(lines.saturating_sub(LEGEND_LINES) * theme::LEGEND_POINTS)
    }

    /// Its title and its legend, and below them the curves.
    fn paint(&self, area: &theme::Area<'_>, range: Extent) -> anyhow::Result<()> {
        let area = theme::title(area, &self.title)?;
        let area = theme::legend(&area, &self.legend())?;
        self.plot(&area, range)
    }

    /// Leaves out what cannot be drawn, and takes logarithms where the axis has them.
    fn tidy(&mut self) {
        let (x_scale, scale) = (scale(self.log_x), scale(self.log));
        for curve in &mut self.curves {
            let points = curve.points.iter_mut();
            points.for_each(|(x, y)| (*x, *y) = (x_scale(*x), scale(*y)));
            curve.points.retain(|(x, y)| x.is_finite() && y.is_finite());
        }
        for band in &mut self.bands {
            for (x, low, high) in &mut band.points {
                (*x, *low, *high) = (x_scale(*x), scale(*low), scale(*high));
            }
            band.points
                .retain(|(x, low, high)| [x, low, high].into_iter().all(|value| value.is_finite()));
        }
    }

    /// The ticks of the axis to the right, in the places that they have on it.
    fn ticks_of_x(&self, x: (f64, f64), least: f64) -> Vec<f64> {
        match self.x_ticks.is_empty() {
            true => ticks(x.0, x.1, 10, least),
            false => self
                .x_ticks
                .iter()
                .copied()
                .map(scale(self.log_x))
                .collect(),
        }
    }

    /// What stands at a place of the axis to the right.
    fn label_of_x(&self, place: f64, step: f64) -> String {
        let scale = scale(self.log_x);
        match self.x_ticks.iter().find(|tick| scale(**tick) == place) {
            Some(tick) if self.log_x => format!("{tick:e}"),
            Some(tick) => tick.to_string(),
            None => label(place, step),
        }
    }

    /// The least and the most of both axes.
    fn range(&self) -> Option<Extent> {
        let curves = self.curves.iter().flat_map(|curve| curve.points.clone());
        let bands = self.bands.iter().flat_map(|band| &band.points);
        let bands = bands.flat_map(|&(x, low, high)| [(x, low), (x, high)]);
        let all: Vec<(f64, f64)> = curves.chain(bands).collect();
        let bound = |of: fn(&(f64, f64)) -> f64| {
            let values = all.iter().map(of);
            let least = values.clone().reduce(f64::min)?;
            Some((least, values.reduce(f64::max)?))
        };
        let (x, y) = (bound(|point| point.0)?, bound(|point| point.1)?);
        let y = if self.from_zero {
            (y.0.min(0.0), y.1)
        } else {
            y
        };
        let y = if self.log {
            (y.0.floor(), y.1.ceil().max(y.0.floor() + 1.0))
        } else {
            let space = if y.1 > y.0 {
                (y.1 - y.0) * 0.06
            } else if y.0 == 0.0 {
                1.0
            } else {
                y.0.abs().max(1e-3) * 0.1
            };
            let bottom = y.0 - space;
            // Nothing here is negative; an axis that pretends otherwise misleads.
            (
                if y.0 >= 0.0 { bottom.max(0.0) } else { bottom },
                y.1 + space,
            )
        };
        let x = if x.1 > x.0 { x } else { (x.0 - 0.5, x.1 + 0.5) };
        Some((x, y))
    }

    fn legend(&self) -> Vec<(String, Sample)> {
        let curves = self.curves.iter().filter_map(|curve| {
            let colour = curve.colour.to_rgba();
            let sample = match curve.dashed {
                true => Sample::Dashes(colour),
                false => Sample::Line(colour),
            };
            Some((curve.name.clone()?, sample))
        });
        let bands = self.bands.iter();
        let bands = bands.filter_map(|band| Some((band.name.clone()?, Sample::Fill(band.colour))));
        let entries: Vec<_> = curves.chain(bands).collect();
        // One curve is named by its axis.
        if entries.len() > 1 { entries } else { vec![] }
    }

    fn plot(&self, area: &theme::Area<'_>, (x, y): Extent) -> anyhow::Result<()> {
        // There is nothing between two rounds.
        let least = if self.x.is_none() { 1.0 } else { 0.0 };
        let x_ticks = self.ticks_of_x(x, least);
        let x_step = theme::step(x.0, x.1, 10).max(least);
        let y_ticks = ticks(y.0, y.1, 6, if self.log { 1.0 } else { 0.0 });
        let y_step = match y_ticks.as_slice() {
            [first, second, ..] => second - first,
            _ => 1.0,
        };
        let y_label = |value: f64| match self.log {
            true => format!("1e{value:.0}"),
            false => label(value, y_step),
        };
        let x = Labelled {
            axis: Axis {
                range: x,
                ticks: x_ticks,
            },
            title: self.x.as_deref().unwrap_or("round"),
            label: &|value| self.label_of_x(value, x_step),
        };
        let y = Labelled {
            axis: Axis {
                range: y,
                ticks: y_ticks,
            },
            title: &self.y,
            label: &y_label,
        };
        let mut chart = theme::frame(area, x, y)?;
        for band in &self.bands {
            let lower = band.points.iter().map(|(x, low, _)| (*x, *low));
            let upper = band.points.iter().rev().map(|(x, _, high)| (*x, *high));
            let outline: Vec<_> = lower.chain(upper).collect();
            let area = Polygon::new(outline, band.colour.filled());
            chart.draw_series(std::iter::once(area))?;
        }
        for curve in &self.curves {
            let style = stroke(curve.colour, curve.width);
            let points = curve.points.iter().copied();
            if curve.dashed {
                chart.draw_series(DashedLineSeries::new(
                    points,
                    pt(6) as u32,
                    pt(4) as u32,
                    style,
                ))?;
            } else {
                chart.draw_series(LineSeries::new(points, style))?;
            }
            if curve.points.len() <= DOTS && curve.width > 1 {
                let dot = |point: &(f64, f64)| Circle::new(*point, pt(2), curve.colour.filled());
                chart.draw_series(curve.points.iter().map(dot))?;
            }
        }
        Ok(())
    }
}

/// Where a value lies on an axis.
fn scale(log: bool) -> fn(f64) -> f64 {
    if log {
        f64::log10
    } else {
        std::convert::identity
    }
}

/// The points of a curve: a value of each round that has it.
pub(crate) fn over_rounds(
    rounds: &[RoundRecord],
    value: impl Fn(&RoundRecord) -> Option<f64>,
) -> Vec<(f64, f64)> {
    let point = |record: &RoundRecord| Some((f64::from(record.round), value(record)?));
    rounds.iter().filter_map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_do_not_change_have_an_axis_that_magnifies_nothing() {
        for (value, axis) in [
            (0.0, (0.0, 1.0)),
            (0.5, (0.45, 0.55)),
            (1e-9, (0.0, 1.0001e-4)),
        ] {
            let points = vec![(1.0, value), (2.0, value)];
            let chart = Chart {
                curves: vec![Curve::new("score", plotters::style::BLACK, points)],
                ..Chart::default()
            };
            let (_, y) = chart.range().unwrap();
            let near = |found: f64, wanted: f64| (found - wanted).abs() < 1e-8;
            assert!(near(y.0, axis.0) && near(y.1, axis.1), "{value}: {y:?}");
        }
    }

    #[test]
    fn a_long_legend_makes_a_figure_higher_and_leaves_the_curves_their_room() {
        let height = |curves: usize| {
            let name =
                |index| format!("a method with many settings that tell it from others, {index}");
            let points = vec![(1.0, 0.5), (2.0, 0.6)];
            let curve = |index| Curve::new(name(index), plotters::style::BLACK, points.clone());
            let chart = Chart {
                curves: (0..curves).map(curve).collect(),
                ..Chart::default()
            };
            let svg = chart.draw().unwrap().unwrap().svg;
            let after = svg.split_once("height=\"").unwrap().1;
            after.split_once('"').unwrap().0.parse::<u32>().unwrap()
        };
        assert_eq!(height(1), HEIGHT);
        assert_eq!(height(3), HEIGHT);
        // Two names in a line.
        assert_eq!(height(16), HEIGHT + 5 * theme::LEGEND_POINTS);
    }
}
