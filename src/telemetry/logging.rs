//! Logs, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Starts logging: warnings, or more with each `-v`. `RUST_LOG` overrides both. `writer` makes
/// what the lines go to, so that they do not disturb progress bars.
pub fn start<W>(verbose: u8, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let default = match verbose {
        0 => "warn",
        1 => "warn,regatta=info,regatta_actors=info",
        2 => "info,regatta=debug,regatta_actors=debug",
        _ => "debug,regatta=trace,regatta_actors=trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // Only a second start could fail, and then there is a log already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(writer)
        .try_init();
}
