//! Figures as SVG, and as PNG from the same drawing.

pub mod chart;
pub mod curves;
pub mod fleet;
pub mod measures;
pub(crate) mod outlines;
pub(crate) mod png;
pub mod theme;
pub mod timeline;

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::base::files;

/// A drawing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// Its name, and its files'.
    pub name: String,
    /// Its caption.
    pub caption: String,
    /// The drawing, without a background.
    pub svg: String,
}

/// Writes each figure as SVG and as PNG into a folder, which is made if it is not there; gives
/// the files.
///
/// # Errors
/// If a figure cannot be rendered, or a file not be written.
pub fn write(figures: &[Figure], folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    files::make_folder(folder)?;
    let mut written = Vec::new();
    for figure in figures {
        let image = png::render(&figure.svg)
            .with_context(|| format!("cannot render the figure {}", figure.name))?;
        for (ending, bytes) in [("svg", figure.svg.as_bytes()), ("png", &image)] {
            let path = folder.join(format!("{}.{ending}", figure.name));
            files::write_atomically(&path, bytes)?;
            written.push(path);
        }
    }
    Ok(written)
}
