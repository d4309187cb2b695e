//! A run in a separate process: a crash of one leaves the others alone.
//!
//! Whoever carries out a run holds its folder's lock from before anything is looked at until the
//! run's process has ended, and that process holds it too: no run is ever in two processes, also
//! not when the sweep is killed and started again at once.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use crate::base::files::make_folder;
use crate::runs::folder::RunFolder;
use crate::runs::folder::artifact::Artifact;
use crate::runs::folder::state::RunState;
use crate::runs::sweep::planned::Planned;
use crate::runs::sweep::stop::Stop;

/// How often signals are looked for during a run.
const PERIOD: Duration = Duration::from_millis(50);

/// How often a folder's lock is tried that another process has.
const WAIT: Duration = Duration::from_millis(250);

/// The final state of a run of a sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It was complete before.
    Kept,
    /// It is complete now.
    Complete,
    /// It was stopped, and can be resumed.
    Stopped,
    /// Another process was running it until this one was asked to stop.
    Elsewhere,
    /// It failed.
    Failed(String),
}

/// How processes of runs are started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// This program.
    pub program: PathBuf,
    /// What `regatta run` and `regatta resume` are told besides the run: where clients are trained.
    pub arguments: Vec<OsString>,
}

/// Runs what is missing of a run. If another process is running it, `wait` is called, and its end
/// is waited for.
///
/// # Errors
/// If no process can be started, or the folder not be read or written.
pub fn execute(
    run: &Planned,
    launch: &Launch,
    stop: &mut Stop,
    wait: impl FnOnce(&io::Error),
) -> io::Result<Ended> {
    if is_complete(&RunFolder::at(&run.folder))? {
        // Nothing needs to be written, which may be forbidden now.
        return Ok(Ended::Kept);
    }
    let Some(folder) = locked(&run.folder, stop, wait)? else {
        return Ok(Ended::Elsewhere);
    };
    if is_complete(&folder)? {
        return Ok(Ended::Kept);
    }
    let mut arguments = if folder.has_begun() {
        vec!["resume".into(), "--".into(), run.folder.clone().into()]
    } else {
        folder.clear()?;
        run.arguments.clone()
    };
    // Behind the subcommand.
    arguments.splice(1..1, launch.arguments.iter().cloned());
    let mut child = start(&launch.program, &arguments, &folder)?;
    let status = stop.wait(&mut child)?;
    ended(&folder, status, stop.requested())
}

fn is_complete(folder: &RunFolder) -> io::Result<bool> {
    Ok(folder.path_of(Artifact::Scenario).exists() && folder.state()? == RunState::Complete)
}

/// A run's folder with its lock; `None` when the sweep is to end before another process gave it
/// back.
fn locked(
    path: &Path,
    stop: &mut Stop,
    wait: impl FnOnce(&io::Error),
) -> io::Result<Option<RunFolder>> {
    let mut wait = Some(wait);
    loop {
        make_folder(path)?;
        match RunFolder::at(path).locked() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if let Some(wait) = wait.take() {
                    wait(&error);
                }
            }
            taken => return taken.map(Some),
        }
        if stop.requested() {
            return Ok(None);
        }
        std::thread::sleep(WAIT);
    }
}

/// Starts a run that has its folder's lock too, and that ends with this process.
fn start(program: &Path, arguments: &[OsString], folder: &RunFolder) -> io::Result<Child> {
    let mut command = Command::new(program);
    // A separate group: the terminal's Ctrl-C comes once, from here.
    command
        .args(arguments)
        .stdin(folder.hand_down()?)
        .process_group(0);
    let parent = std::process::id();
    // SAFETY: between fork and exec, it makes two system calls and allocates nothing.
    unsafe { command.pre_exec(move || end_with(parent)) };
    command.spawn()
}

/// Has this process stopped when its parent ends, however that ends.
fn end_with(parent: u32) -> io::Result<()> {
    // SAFETY: it touches no memory.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // A parent that had ended before the call above gives no signal.
    if std::os::unix::process::parent_id() != parent {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(())
}

impl Stop {
    /// Waits for a child, and passes signals on to it.
    fn wait(&mut self, child: &mut Child) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            for signal in self.signals() {
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

/// The meaning of a process's end, given its files and whether it was asked to stop.
fn ended(folder: &RunFolder, status: ExitStatus, stopped: bool) -> io::Result<Ended> {
    let state = match folder.path_of(Artifact::Scenario).exists() {
        true => Some(folder.state()?),
        false => None,
    };
    Ok(match (state, status.signal()) {
        (Some(RunState::Complete), None) if status.success() => Ended::Complete,
        (Some(RunState::Stopped), None) => Ended::Stopped,
        (Some(RunState::Failed(error)), None) => Ended::Failed(error),
        _ if stopped => Ended::Stopped,
        (_, Some(signal)) => Ended::Failed(format!("its process was killed by signal {signal}")),
        _ => Ended::Failed(format!(
            "its process ended with status {}",
            status.code().unwrap_or(-1)
        )),
    })
}
