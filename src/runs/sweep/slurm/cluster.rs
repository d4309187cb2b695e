//! The limits of the cluster.

use std::fmt;
use std::io::{self, Read};
use std::num::NonZeroU32;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Slurm's own default of `MaxArraySize`.
const DEFAULT: NonZeroU32 = NonZeroU32::new(1001).unwrap();

/// How long `scontrol` may take, which itself waits for a controller that does not answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The maximum number of tasks of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArrayLimit {
    /// The number of tasks: their indices are below it.
    pub tasks: NonZeroU32,
    /// Whether no cluster could be queried, and this is Slurm's default.
    pub is_assumed: bool,
}

impl ArrayLimit {
    /// Slurm's default.
    pub const ASSUMED: Self = Self {
        tasks: DEFAULT,
        is_assumed: true,
    };
}

impl fmt::Display for ArrayLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tasks, is_assumed } = self;
        match is_assumed {
            true => write!(
                f,
                "{tasks} tasks (Slurm's default of MaxArraySize; no cluster reported its own)"
            ),
            false => write!(f, "{tasks} tasks (this cluster's MaxArraySize)"),
        }
    }
}

/// The reason that no array is possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// The cluster has none.
    #[error(
        "this cluster has no job arrays (its MaxArraySize is 0); run `regatta sweep` without \
         --slurm in one job"
    )]
    NoArrays,
}

/// Asks the cluster, if `scontrol` is there and its controller answers.
///
/// # Errors
/// If the cluster has no arrays.
pub fn array_limit() -> Result<ArrayLimit, LimitError> {
    let mut scontrol = Command::new("scontrol");
    scontrol.args(["show", "config"]);
    match output_of(scontrol, PATIENCE) {
        Ok(text) => limit_in(&text),
        Err(error) => {
            tracing::info!("scontrol does not report MaxArraySize: {error}");
            Ok(ArrayLimit::ASSUMED)
        }
    }
}

/// The limit that `scontrol show config` tells.
pub(crate) fn limit_in(config: &str) -> Result<ArrayLimit, LimitError> {
    let value = config.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "MaxArraySize").then(|| value.trim().parse::<u32>().ok())?
    });
    let Some(value) = value else {
        return Ok(ArrayLimit::ASSUMED);
    };
    Ok(ArrayLimit {
        tasks: NonZeroU32::new(value).ok_or(LimitError::NoArrays)?,
        is_assumed: false,
    })
}

/// What a program prints, if it ends well and in time.
pub(crate) fn output_of(mut command: Command, patience: Duration) -> io::Result<String> {
    let command = command.stdin(Stdio::null()).stderr(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take();
    let (done, read) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let result = stdout.map_or(Ok(0), |mut stdout| stdout.read_to_end(&mut bytes));
        // Whoever waited for it may have lost patience.
        let _ = done.send(result.map(|_| bytes));
    });
    let Ok(bytes) = read.recv_timeout(patience) else {
        child.kill()?;
        child.wait()?;
        return Err(io::ErrorKind::TimedOut.into());
    };
    let status = child.wait()?;
    let bytes = bytes?;
    match status.success() {
        true => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        false => Err(io::Error::other(status.to_string())),
    }
}
