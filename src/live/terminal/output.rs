//! Lines and progress bars on one terminal, none in the other's way.

use std::io::{self, Write};
use std::sync::LazyLock;

use indicatif::{MultiProgress, ProgressDrawTarget};

/// All progress bars of the process; they are drawn on standard error, if it is a terminal.
pub(crate) static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Shows progress bars, or none whatever standard error is.
pub fn show_bars(show: bool) {
    if !show {
        BARS.set_draw_target(ProgressDrawTarget::hidden());
    }
}

/// Prints a line on standard output, above any bars. It is not an error if nobody reads it.
pub fn print_line(line: impl std::fmt::Display) {
    BARS.suspend(|| {
        let _ = writeln!(io::stdout().lock(), "{line}");
    });
}

/// Standard error above any bars, for logs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
