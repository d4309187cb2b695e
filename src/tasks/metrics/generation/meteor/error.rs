//! What keeps METEOR from scoring.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why there is no METEOR.
#[derive(Debug, thiserror::Error)]
pub enum MeteorError {
    /// The jar is not there.
    #[error("{} is not there; METEOR needs the file meteor-1.5.jar with its folder data beside it", .0.display())]
    NoJar(PathBuf),
    /// Java does not start.
    #[error("{} does not start ({source}); METEOR needs Java", java.display())]
    NoJava {
        /// The command.
        java: PathBuf,
        /// The error from the operating system.
        source: io::Error,
    },
    /// The program ended before it had answered.
    #[error("METEOR ended before its scores were there ({status}): {complaint}")]
    Ended {
        /// How it ended.
        status: String,
        /// The end of what it wrote to its standard error.
        complaint: String,
    },
    /// The program did not answer in time.
    #[error("METEOR did not answer within {} s", .0.as_secs_f64())]
    Silent(Duration),
    /// An answer is not a score.
    #[error("METEOR answered {0:?} where a score from 0 to 1 belongs")]
    NoScore(String),
}
