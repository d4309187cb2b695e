//! Signals: the first Ctrl-C or SIGTERM finishes the round and saves the run's state, the second
//! Ctrl-C stops at once; SIGHUP reopens the log file. A file that may grow no more is an error
//! of whoever writes it, not the process's death.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::thread;

use regatta_actors::observe::control::ControlHandle;
use regatta_actors::protocol::control::ControlCommand;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use crate::live::log::LogFile;

/// Exit status after a second Ctrl-C, as shells have it: 128 + SIGINT.
const STOPPED_AT_ONCE: i32 = 130;

/// Passes the first Ctrl-C or SIGTERM on to the run, and lets the second Ctrl-C end the process.
///
/// What comes back hears of a signal that finds the run over: whoever waits for nothing but that
/// may go.
///
/// # Errors
/// If the system refuses the handlers.
pub fn watch(control: ControlHandle, log: Option<LogFile>) -> io::Result<mpsc::Receiver<()>> {
    let requested = Arc::new(AtomicBool::new(false));
    // In this order: the second handler arms the first for the next signal.
    flag::register_conditional_shutdown(SIGINT, STOPPED_AT_ONCE, Arc::clone(&requested))?;
    flag::register(SIGINT, requested)?;
    flag::register(SIGXFSZ, Arc::default())?;
    let (over, heard) = mpsc::channel();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    if log.is_some() {
        signals.add_signal(SIGHUP)?;
    }
    thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                if signal == SIGHUP {
                    reopen(log.as_ref());
                    continue;
                }
                if !control.send(ControlCommand::FinishRound) {
                    // Nobody listens any more when the process is at its end anyway.
                    let _ = over.send(());
                    continue;
                }
                crate::live::terminal::output::print_line(
                    "finishing the round; press Ctrl-C again to stop at once",
                );
            }
        })?;
    Ok(heard)
}

fn reopen(log: Option<&LogFile>) {
    if let Some(Err(error)) = log.map(LogFile::reopen) {
        tracing::warn!("cannot reopen the log file; still writing to the old one: {error}");
    }
}
