//! SVG to PNG. Letters are drawn by their outlines: neither a font of the machine's nor a text engine
//! is needed.

use anyhow::anyhow;
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{Options, Tree};

use crate::runs::figures::outlines::outlined;

/// Pixels per point: a figure of a paper's text width has then some 300 to the inch.
const SCALE: f32 = 3.0;

/// Renders a drawing on white.
pub fn render(svg: &str) -> anyhow::Result<Vec<u8>> {
    let tree = Tree::from_str(&outlined(svg)?, &Options::default())?;
    let side = |points: f32| (points * SCALE).ceil() as u32;
    let size = tree.size();
    let mut pixels = Pixmap::new(side(size.width()), side(size.height()))
        .ok_or_else(|| anyhow!("the drawing has no size"))?;
    pixels.fill(Color::WHITE);
    let scale = Transform::from_scale(SCALE, SCALE);
    resvg::render(&tree, scale, &mut pixels.as_mut());
    Ok(pixels.encode_png()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::figures::theme::FONT;

    #[test]
    fn text_leaves_ink_without_any_system_font() {
        let svg = |what| {
            format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"60\" height=\"20\">\
                 <text x=\"2\" y=\"15\" font-size=\"12\" font-family=\"{FONT}\">{what}</text></svg>"
            )
        };
        let image = |what| {
            let pixels = Pixmap::decode_png(&render(&svg(what)).unwrap()).unwrap();
            assert_eq!((pixels.width(), pixels.height()), (180, 60));
            pixels.pixels().iter().filter(|p| p.red() < 128).count()
        };
        assert_eq!(image(""), 0);
        assert!(image("loss") > 100);
    }
}
