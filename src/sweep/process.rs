//! A run in a process of its own: a crash of one leaves the others alone.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Planned;
use crate::record::{RunFolder, RunState};

/// How often signals are looked for while a run goes on.
const PERIOD: Duration = Duration::from_millis(50);

/// How a run of a sweep stands in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It was complete before.
    Kept,
    /// It is complete now.
    Complete,
    /// It was told to stop, and can go on.
    Stopped,
    /// It failed.
    Failed(String),
}

/// Signals that end a sweep; they are passed on to the run that goes on.
#[derive(Debug)]
pub struct Stop {
    signals: Signals,
    asked: bool,
}

impl Stop {
    /// Listens for Ctrl-C and SIGTERM.
    ///
    /// # Errors
    /// When the system refuses the handlers.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            signals: Signals::new([SIGINT, SIGTERM])?,
            asked: false,
        })
    }

    /// Whether the sweep is to end.
    pub fn asked(&mut self) -> bool {
        self.asked |= self.signals.pending().next().is_some();
        self.asked
    }

    /// Waits for a child, and passes signals on to it.
    fn wait(&mut self, child: &mut Child) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            for signal in self.signals.pending() {
                self.asked = true;
                pass_on(child, signal);
            }
            std::thread::sleep(PERIOD);
        }
    }
}

fn pass_on(child: &Child, signal: i32) {
    let Ok(id) = libc::pid_t::try_from(child.id()) else {
        return;
    };
    // SAFETY: it touches no memory; the child was not waited for, so the number is still its own.
    unsafe { libc::kill(id, signal) };
}

/// Runs what is missing of a run.
///
/// # Errors
/// When no process can be started, or the folder not be read.
pub fn carry_out(run: &Planned, program: &Path, stop: &mut Stop) -> io::Result<Ended> {
    let folder = RunFolder::at(&run.folder);
    let arguments = if !folder.scenario().exists() {
        run.arguments.clone()
    } else if folder.has_begun() {
        match folder.state()? {
            RunState::Complete => return Ok(Ended::Kept),
            RunState::Running => {
                return Ok(Ended::Failed("another process is at it".to_owned()));
            }
            _ => resume(&run.folder),
        }
    } else {
        // It was killed before anything had happened.
        std::fs::remove_file(folder.scenario())?;
        match std::fs::remove_file(folder.rounds()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => run.arguments.clone(),
        }
    };
    // A group of its own: the terminal's Ctrl-C comes once, from here.
    let mut child = Command::new(program)
        .args(arguments)
        .process_group(0)
        .spawn()?;
    let status = stop.wait(&mut child)?;
    Ok(ended(&folder, status))
}

fn resume(folder: &Path) -> Vec<OsString> {
    vec!["resume".into(), folder.into()]
}

/// What a process's end means, with what it left behind.
fn ended(folder: &RunFolder, status: ExitStatus) -> Ended {
    if let Some(signal) = status.signal() {
        return Ended::Failed(format!("its process was killed by signal {signal}"));
    }
    match folder.state() {
        Ok(RunState::Complete) if status.success() => Ended::Complete,
        Ok(RunState::Stopped) => Ended::Stopped,
        Ok(RunState::Failed(error)) => Ended::Failed(error),
        _ => Ended::Failed(format!(
            "its process ended with status {}",
            status.code().unwrap_or(-1)
        )),
    }
}
