//! How every figure looks: colours that colour-blind readers tell apart, one typeface, and ticks.

use std::sync::OnceLock;

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;
use plotters::style::{RGBAColor, register_font};

/// A figure's drawing area.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Width of a figure in points; its text is then as large as a paper's.
pub const WIDTH: u32 = 720;

/// Units of drawing to a point: the library places everything on whole units, and whole points
/// would show as steps in curves.
const UNITS: u32 = 8;

/// A length in points, in units of drawing.
#[must_use]
pub const fn pt(points: i32) -> i32 {
    points * UNITS as i32
}

/// Draws on an empty figure of the full width, and returns its SVG.
///
/// # Errors
/// If the font cannot be read, or what `draw` meets.
pub fn on_canvas(
    height: u32,
    draw: impl FnOnce(&Area<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    load_font()?;
    let mut svg = String::new();
    let size = (WIDTH * UNITS, height * UNITS);
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw(&root)?;
        root.present()?;
    }
    let drawn = format!("width=\"{}\" height=\"{}\"", size.0, size.1);
    let shown = format!("width=\"{WIDTH}\" height=\"{height}\"");
    Ok(svg.replacen(&drawn, &shown, 1))
}

/// Text and axes. The page shows it in its own ink, by this value.
pub const INK: RGBColor = RGBColor(0x24, 0x29, 0x2F);
/// Lines behind the data.
pub const GRID: RGBColor = RGBColor(0xD8, 0xDE, 0xE4);
/// What is in the background of the data: single clients.
pub const PALE: RGBColor = RGBColor(0x8C, 0x95, 0x9F);

/// Okabe and Ito's colours, without black and the yellow that white paper swallows.
pub const COLOURS: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x56, 0xB4, 0xE9),
];

/// DejaVu Sans, which the program carries; a reader's machine may have one that is like it.
pub const FONT: &str = "DejaVu Sans, Verdana, sans-serif";

/// The colour of the series with this number.
#[must_use]
pub fn colour(number: usize) -> RGBColor {
    COLOURS[number % COLOURS.len()]
}

/// Whether the curve with this number is dashed: from the seventh on, colours repeat.
#[must_use]
pub fn dashed(number: usize) -> bool {
    number >= COLOURS.len()
}

/// Makes the typeface known to the library that measures texts; once is enough.
///
/// # Errors
/// If the font cannot be read.
fn load_font() -> anyhow::Result<()> {
    static LOADED: OnceLock<bool> = OnceLock::new();
    let load = || register_font(FONT, FontStyle::Normal, dejavu::sans::regular()).is_ok();
    if *LOADED.get_or_init(load) {
        Ok(())
    } else {
        Err(anyhow!("the font that the program carries cannot be read"))
    }
}

/// Text of a size.
#[must_use]
pub fn text(size: u32) -> TextStyle<'static> {
    TextStyle::from((FONT, size * UNITS).into_font()).color(&INK)
}

/// Width of a text of a size in points, in units of drawing.
#[must_use]
pub fn width_of(what: &str, size: u32) -> i32 {
    let measured = (FONT, size * UNITS).into_font().layout_box(what);
    measured.map_or(0, |((left, _), (right, _))| right - left)
}

/// A linear axis with ticks at given places. Where it begins may be above where it ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// Its start and its end.
    pub range: (f64, f64),
    /// Its ticks.
    pub ticks: Vec<f64>,
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let (from, to) = self.range;
        // What is far outside stays outside, and where it can be counted.
        let share = ((value - from) / (to - from)).clamp(-1.0, 2.0);
        first + (share * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.range.0..self.range.1
    }
}

/// An axis with its labels.
pub struct Labelled<'a> {
    /// The axis.
    pub axis: Axis,
    /// Its quantity, with the unit.
    pub title: &'a str,
    /// A tick's text.
    pub label: &'a dyn Fn(f64) -> String,
}

/// A chart with its axes drawn, and lines behind the data at the ticks of the upward one.
///
/// # Errors
/// If it cannot be drawn.
pub fn frame<'a>(
    area: &Area<'a>,
    x: Labelled<'_>,
    y: Labelled<'_>,
) -> anyhow::Result<ChartContext<'a, SVGBackend<'a>, Cartesian2d<Axis, Axis>>> {
    let labels = y.axis.ticks.iter().map(|tick| (y.label)(*tick));
    let widest = labels.map(|label| width_of(&label, 12)).max();
    let mut chart = ChartBuilder::on(area)
        .margin_left(pt(6))
        .margin_right(pt(16))
        .margin_top(pt(8))
        .x_label_area_size(pt(44))
        .y_label_area_size(widest.unwrap_or(0) + pt(32))
        .build_cartesian_2d(x.axis, y.axis)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .max_light_lines(0)
        .bold_line_style(stroke(GRID, 1))
        .axis_style(stroke(INK, 1))
        .set_all_tick_mark_size(pt(4))
        .x_desc(x.title)
        .y_desc(y.title)
        .label_style(text(12))
        .axis_desc_style(text(13))
        .x_label_formatter(&|value| (x.label)(*value))
        .y_label_formatter(&|value| (y.label)(*value))
        .draw()?;
    Ok(chart)
}

/// A sample of a series in a legend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sample {
    /// A line.
    Line(RGBAColor),
    /// A line with gaps.
    Dashes(RGBAColor),
    /// A filled box.
    Fill(RGBAColor),
    /// See [`mark`].
    Mark(Shape),
}

/// Shapes of marks, distinguishable without colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A triangle that points down.
    Triangle,
    /// A cross.
    Cross,
    /// A ring.
    Ring,
}

/// Height of one line of a legend, in points.
pub const LEGEND_POINTS: u32 = 20;
/// The same in the canvas's units.
pub const LEGEND_LINE: i32 = pt(LEGEND_POINTS as i32);
/// Width of a sample.
const SAMPLE: i32 = pt(22);

/// Draws a title, and returns the area below it.
///
/// # Errors
/// If it cannot be drawn.
pub fn title<'a>(area: &Area<'a>, title: &str) -> anyhow::Result<Area<'a>> {
    if title.is_empty() {
        return Ok(area.clone());
    }
    area.draw(&Text::new(title.to_owned(), (pt(8), pt(4)), text(13)))?;
    Ok(area.split_vertically(LEGEND_LINE).1)
}

/// Draws a legend in lines from the top, and returns the area below it.
///
/// # Errors
/// If it cannot be drawn.
pub fn legend<'a>(area: &Area<'a>, entries: &[(String, Sample)]) -> anyhow::Result<Area<'a>> {
    let wide = area.dim_in_pixel().0;
    let places = legend_places(wide, entries);
    for ((name, sample), (x, y)) in entries.iter().zip(places) {
        draw_sample(area, *sample, (x, y + pt(5)))?;
        let text = Text::new(name.clone(), (x + SAMPLE + pt(6), y), text(12));
        area.draw(&text)?;
    }
    Ok(area.split_vertically(legend_height(wide, entries)).1)
}

/// How high a legend is in an area of that width.
fn legend_height(wide: u32, entries: &[(String, Sample)]) -> i32 {
    let places = legend_places(wide, entries);
    places.last().map_or(0, |(_, y)| y + LEGEND_LINE)
}

/// The lines of a legend in a figure of the full width.
///
/// # Errors
/// If the font cannot be read.
pub fn legend_lines(entries: &[(String, Sample)]) -> anyhow::Result<u32> {
    load_font()?;
    Ok((legend_height(WIDTH * UNITS, entries) / LEGEND_LINE) as u32)
}

/// Where a legend's entries are, in lines.
fn legend_places(wide: u32, entries: &[(String, Sample)]) -> Vec<(i32, i32)> {
    let end = wide as i32 - pt(8);
    let (mut x, mut y) = (pt(8), pt(4));
    let place = |(name, _): &(String, Sample)| {
        let width = SAMPLE + pt(6) + width_of(name, 12) + pt(16);
        if x > pt(8) && x + width > end {
            (x, y) = (pt(8), y + LEGEND_LINE);
        }
        let place = (x, y);
        x += width;
        place
    };
    entries.iter().map(place).collect()
}

fn draw_sample(area: &Area<'_>, sample: Sample, (x, y): (i32, i32)) -> anyhow::Result<()> {
    match sample {
        Sample::Line(colour) => {
            let line = vec![(x, y), (x + SAMPLE, y)];
            area.draw(&PathElement::new(line, stroke(colour, 2)))?;
        }
        Sample::Dashes(colour) => {
            for start in [x, x + pt(8), x + pt(16)] {
                let dash = vec![(start, y), (start + pt(5), y)];
                area.draw(&PathElement::new(dash, stroke(colour, 2)))?;
            }
        }
        Sample::Fill(colour) => {
            area.draw(&Rectangle::new(
                [(x + pt(4), y - pt(5)), (x + SAMPLE, y + pt(5))],
                colour.filled(),
            ))?;
        }
        Sample::Mark(shape) => mark(area, shape, (x + SAMPLE - pt(8), y), pt(4))?,
    }
    Ok(())
}

/// A line N points wide.
pub fn stroke(colour: impl Color, points: i32) -> ShapeStyle {
    colour.stroke_width(pt(points) as u32)
}

/// Draws a mark.
///
/// # Errors
/// If it cannot be drawn.
pub fn mark(area: &Area<'_>, shape: Shape, (x, y): (i32, i32), size: i32) -> anyhow::Result<()> {
    match shape {
        Shape::Triangle => {
            let corners = vec![(x - size, y - size), (x + size, y - size), (x, y + size)];
            area.draw(&Polygon::new(corners, INK.filled()))?;
        }
        Shape::Cross => {
            for (left, right) in [(y - size, y + size), (y + size, y - size)] {
                let line = vec![(x - size, left), (x + size, right)];
                area.draw(&PathElement::new(line, stroke(INK, 2)))?;
            }
        }
        Shape::Ring => area.draw(&Circle::new((x, y), size, stroke(INK, 1)))?,
    }
    Ok(())
}

/// Round numbers at equal distances that cover a range, about N of them: steps of 1, 2 or 5 times a
/// power of ten, and none smaller than `least`.
#[must_use]
pub fn ticks(from: f64, to: f64, about: usize, least: f64) -> Vec<f64> {
    let step = step(from, to, about).max(least);
    if !step.is_finite() {
        return Vec::new();
    }
    let first = (from / step - 1e-9).ceil() as i64;
    let last = (to / step + 1e-9).floor() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

/// The distance of [`ticks`].
#[must_use]
pub fn step(from: f64, to: f64, about: usize) -> f64 {
    let rough = ((to - from) / about.max(1) as f64).max(f64::MIN_POSITIVE);
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter();
    let fits = factor.map(|factor| factor * power);
    fits.into_iter()
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(power)
}

/// A number with the digits that its ticks need.
#[must_use]
pub fn label(value: f64, step: f64) -> String {
    let digits = (-step.log10().floor()).max(0.0) as usize;
    match digits {
        0..=6 => format!("{value:.digits$}"),
        _ => format!("{value:.1e}"),
    }
}

/// A unit in which a stretch of virtual time reads well: its name and its seconds.
#[must_use]
pub fn time_unit(seconds: f64) -> (&'static str, f64) {
    match seconds {
        s if s <= 600.0 => ("s", 1.0),
        s if s <= 3.0 * 3600.0 => ("min", 60.0),
        s if s <= 72.0 * 3600.0 => ("h", 3600.0),
        _ => ("days", 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_range() {
        assert_eq!(
            ticks(0.0, 1.0, 5, 0.0),
            [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]
        );
        assert_eq!(ticks(1.0, 5.0, 10, 1.0), [1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(ticks(1.0, 20.0, 10, 1.0)[0], 2.0);
        assert_eq!(label(0.6000000000000001, 0.2), "0.6");
        assert_eq!(label(2.5e-18, 5e-19), "2.5e-18");
    }

    #[test]
    fn the_font_measures_texts() {
        load_font().unwrap();
        assert!(width_of("wide text", 12) > width_of("text", 12));
    }
}
