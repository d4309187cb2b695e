//! The page's files, compiled in.

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// A file of the page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asset {
    /// The path that serves it.
    pub path: &'static str,
    /// Its type.
    pub kind: &'static str,
    /// Its content.
    pub content: &'static str,
}

macro_rules! page {
    ($kind:expr, $path:literal, $file:literal) => {
        Asset {
            path: $path,
            kind: $kind,
            content: include_str!(concat!("client/", $file)),
        }
    };
}

/// Files that `make setup` fetched; build.rs copies them.
macro_rules! fetched {
    ($kind:expr, $path:literal, $file:literal) => {
        Asset {
            path: $path,
            kind: $kind,
            content: include_str!(concat!(env!("OUT_DIR"), "/uplot/", $file)),
        }
    };
}

/// All of them.
pub(crate) const ASSETS: &[Asset] = &[
    page!(HTML, "/", "index.html"),
    page!(PICTURE, "/icon.svg", "icon.svg"),
    page!(STYLE, "/theme.css", "theme.css"),
    page!(STYLE, "/page.css", "page.css"),
    page!(STYLE, "/fleet.css", "fleet.css"),
    page!(STYLE, "/hosts.css", "hosts.css"),
    page!(STYLE, "/texts.css", "texts.css"),
    page!(SCRIPT, "/app.js", "app.js"),
    page!(SCRIPT, "/model.js", "model.js"),
    page!(SCRIPT, "/stream.js", "stream.js"),
    page!(SCRIPT, "/format.js", "format.js"),
    page!(SCRIPT, "/colors.js", "colors.js"),
    page!(SCRIPT, "/chart.js", "chart.js"),
    page!(SCRIPT, "/charts.js", "charts.js"),
    page!(SCRIPT, "/header.js", "header.js"),
    page!(SCRIPT, "/fleet.js", "fleet.js"),
    page!(SCRIPT, "/hosts.js", "hosts.js"),
    page!(SCRIPT, "/timeline.js", "timeline.js"),
    page!(SCRIPT, "/texts.js", "texts.js"),
    page!(SCRIPT, "/events.js", "events.js"),
    page!(SCRIPT, "/client.js", "client.js"),
    page!(SCRIPT, "/control.js", "control.js"),
    page!(SCRIPT, "/dom.js", "dom.js"),
    fetched!(SCRIPT, "/uplot.js", "uPlot.iife.min.js"),
    fetched!(STYLE, "/uplot.css", "uPlot.min.css"),
];
