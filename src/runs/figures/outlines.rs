//! Text as the outlines of its letters, so that a drawing is rendered without a text engine.

use std::fmt::Write;

use ab_glyph::{Font, FontRef, GlyphId, OutlineCurve, Point};
use anyhow::{Context, anyhow};
use resvg::usvg::roxmltree::{Document, Node};

/// A drawing in which every text is a path: the letters of the typeface that the program carries,
/// one after the other.
///
/// # Errors
/// If the drawing is not well formed, or a text has a place or a size that is not a number.
pub fn outlined(svg: &str) -> anyhow::Result<String> {
    let font = FontRef::try_from_slice(dejavu::sans::regular())?;
    let document = Document::parse(svg)?;
    let mut drawing = String::with_capacity(2 * svg.len());
    let mut copied = 0;
    let is_text = |node: &Node<'_, '_>| node.tag_name().name() == "text";
    for text in document.descendants().filter(is_text) {
        drawing.push_str(&svg[copied..text.range().start]);
        write_path(&mut drawing, &font, text)
            .with_context(|| format!("cannot draw {}", &svg[text.range()]))?;
        copied = text.range().end;
    }
    drawing.push_str(&svg[copied..]);
    Ok(drawing)
}

fn write_path(drawing: &mut String, font: &FontRef<'_>, text: Node<'_, '_>) -> anyhow::Result<()> {
    let line = TextLine::of(font, text.text().unwrap_or_default().trim())?;
    let size = length(text, "font-size")?;
    let scale = size / line.units_per_em;
    let left = match text.attribute("text-anchor") {
        Some("middle") => line.width / 2.0,
        Some("end") => line.width,
        _ => 0.0,
    };
    let origin = Point {
        x: length(text, "x")? - left * scale,
        y: length(text, "y")? + downwards(font, text.attribute("dy"), size)?,
    };
    drawing.push_str("<path");
    for name in ["fill", "opacity", "transform"] {
        if let Some(value) = text.attribute(name) {
            write!(drawing, " {name}=\"{value}\"")?;
        }
    }
    drawing.push_str(" d=\"");
    for (glyph, advance) in line.glyphs {
        let place = |point: Point| {
            let (x, y) = (advance + point.x, point.y);
            format!("{} {}", origin.x + x * scale, origin.y - y * scale)
        };
        write_glyph(drawing, font, glyph, place)?;
    }
    drawing.push_str("\"/>");
    Ok(())
}

/// Letters in a row, in the font's units.
struct TextLine {
    /// Each letter, and its start.
    glyphs: Vec<(GlyphId, f32)>,
    width: f32,
    units_per_em: f32,
}

impl TextLine {
    fn of(font: &FontRef<'_>, text: &str) -> anyhow::Result<Self> {
        let units_per_em = font.units_per_em();
        let mut line = Self {
            glyphs: Vec::new(),
            width: 0.0,
            units_per_em: units_per_em.ok_or_else(|| anyhow!("the font has no scale"))?,
        };
        for character in text.chars() {
            let glyph = font.glyph_id(character);
            if let Some((before, _)) = line.glyphs.last() {
                line.width += font.kern_unscaled(*before, glyph);
            }
            line.glyphs.push((glyph, line.width));
            line.width += font.h_advance_unscaled(glyph);
        }
        Ok(line)
    }
}

fn write_glyph(
    drawing: &mut String,
    font: &FontRef<'_>,
    glyph: GlyphId,
    place: impl Fn(Point) -> String,
) -> anyhow::Result<()> {
    let mut pen = None;
    for curve in font.outline(glyph).iter().flat_map(|found| &found.curves) {
        let (begin, end) = match curve {
            OutlineCurve::Line(begin, end)
            | OutlineCurve::Quad(begin, _, end)
            | OutlineCurve::Cubic(begin, _, _, end) => (*begin, *end),
        };
        if pen != Some(begin) {
            write!(drawing, "M{}", place(begin))?;
        }
        match curve {
            OutlineCurve::Line(..) => write!(drawing, "L{}", place(end))?,
            OutlineCurve::Quad(_, by, _) => write!(drawing, "Q{} {}", place(*by), place(end))?,
            OutlineCurve::Cubic(_, one, two, _) => {
                write!(drawing, "C{} {} {}", place(*one), place(*two), place(end))?;
            }
        }
        pen = Some(end);
    }
    Ok(())
}

/// How far a text's base line is shifted downwards: a multiple of the font's size or x-height.
fn downwards(font: &FontRef<'_>, shift: Option<&str>, size: f32) -> anyhow::Result<f32> {
    let Some(shift) = shift else {
        return Ok(0.0);
    };
    let of_letter = font.outline(font.glyph_id('x'));
    let x_height = match (of_letter, font.units_per_em()) {
        // The font's axis points upwards, its bounds' downwards.
        (Some(outline), Some(units)) => outline.bounds.min.y.max(outline.bounds.max.y) / units,
        _ => 0.5,
    };
    let (number, unit) = match (shift.strip_suffix("em"), shift.strip_suffix("ex")) {
        (Some(number), _) => (number, size),
        (_, Some(number)) => (number, size * x_height),
        _ => (shift, 1.0),
    };
    let number: f32 = number.parse().with_context(|| format!("dy is {shift}"))?;
    Ok(number * unit)
}

fn length(text: Node<'_, '_>, name: &str) -> anyhow::Result<f32> {
    let value = text.attribute(name);
    let value = value.ok_or_else(|| anyhow!("{name} is missing"))?;
    value.parse().with_context(|| format!("{name} is {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(attributes: &str, text: &str) -> String {
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\"><g><text {attributes}>\n{text}\n</text></g>\
             <rect x=\"1\"/></svg>"
        );
        outlined(&svg).unwrap()
    }

    /// The smallest and the largest coordinate along one axis.
    fn span(drawing: &str, axis: usize) -> (f32, f32) {
        let data = drawing.split(" d=\"").nth(1).unwrap();
        let data = data.split('"').next().unwrap();
        let numbers = data.split(|c: char| c == ' ' || c.is_ascii_uppercase());
        let numbers = numbers.filter_map(|number| number.parse::<f32>().ok());
        let along = numbers.skip(axis).step_by(2);
        along.fold((f32::MAX, f32::MIN), |(low, high), x| {
            (low.min(x), high.max(x))
        })
    }

    #[test]
    fn letters_stand_on_the_base_line_and_are_anchored_where_the_text_is() {
        let at = |anchor: &str| {
            let place = "x=\"100\" y=\"50\" font-size=\"10\"";
            path(&format!("{place} text-anchor=\"{anchor}\""), "HH")
        };
        let (top, bottom) = span(&at("start"), 1);
        assert!((bottom - 50.0).abs() < 0.01, "{bottom}");
        // DejaVu's capitals are 1493 of 2048 units high, an H is 1540 wide.
        assert!((top - (50.0 - 7.29)).abs() < 0.01, "{top}");
        let width = 2.0 * 7.52;
        let (left, right) = span(&at("start"), 0);
        assert!(left > 100.0 && right < 100.0 + width, "{left} {right}");
        let (left, right) = span(&at("end"), 0);
        assert!(left > 100.0 - width && right < 100.0, "{left} {right}");
        let (left, right) = span(&at("middle"), 0);
        assert!((left + right - 200.0).abs() < 0.1, "{left} {right}");
    }

    #[test]
    fn a_shift_is_in_sizes_of_the_font_or_heights_of_its_x() {
        let bottom = |dy: &str| {
            let drawing = path(
                &format!("x=\"0\" y=\"0\" font-size=\"10\" dy=\"{dy}\""),
                "H",
            );
            span(&drawing, 1).1
        };
        assert!((bottom("0.76em") - 7.6).abs() < 0.01);
        assert!(
            (bottom("-0.5ex") + 2.73).abs() < 0.01,
            "{}",
            bottom("-0.5ex")
        );
    }

    #[test]
    fn all_else_of_a_drawing_stays_and_a_place_that_is_no_number_is_an_error() {
        let drawing = path(
            "x=\"0\" y=\"0\" font-size=\"10\" fill=\"#123456\"",
            "a &lt; b",
        );
        assert!(
            drawing.contains("<g><path fill=\"#123456\" d=\"M"),
            "{drawing}"
        );
        assert!(
            drawing.ends_with("\"/></g><rect x=\"1\"/></svg>"),
            "{drawing}"
        );
        let broken = "<svg><text x=\"left\" y=\"0\" font-size=\"1\">a</text></svg>";
        assert!(outlined(broken).is_err());
    }
}
