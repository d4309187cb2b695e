//! Signals that end a sweep, and with it the run that it has started.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Opens the log file of this process again.
pub type ReopenLog = Box<dyn Fn() -> io::Result<()>>;

/// Listens for signals: Ctrl-C and SIGTERM end a sweep, and so does the end of its terminal
/// (SIGHUP), unless it was started to outlive that (`nohup`), or has a log file to reopen.
pub struct Stop {
    signals: Signals,
    reopen_log: Option<ReopenLog>,
    asked: bool,
}

impl Stop {
    /// Begins to listen.
    ///
    /// # Errors
    /// If the system refuses the handlers.
    pub fn listen(reopen_log: Option<ReopenLog>) -> io::Result<Self> {
        let signals = Signals::new([SIGINT, SIGTERM])?;
        if reopen_log.is_some() || !is_ignored(SIGHUP)? {
            signals.add_signal(SIGHUP)?;
        }
        Ok(Self {
            signals,
            reopen_log,
            asked: false,
        })
    }

    /// Whether the sweep is to end.
    pub fn requested(&mut self) -> bool {
        self.signals();
        self.asked
    }

    /// What came since the last look, as it is to be passed on to a run: one that is asked to stop
    /// in good order takes SIGTERM, and reopens its log at SIGHUP.
    pub(crate) fn signals(&mut self) -> Vec<i32> {
        let mut signals: Vec<i32> = self.signals.pending().collect();
        if let Some(reopen) = self
            .reopen_log
            .as_ref()
            .filter(|_| signals.contains(&SIGHUP))
        {
            signals.retain(|signal| *signal != SIGHUP);
            if let Err(error) = reopen() {
                tracing::warn!("the log file cannot be reopened: {error}");
            }
        }
        self.asked |= !signals.is_empty();
        let terminate = |signal| if signal == SIGHUP { SIGTERM } else { signal };
        signals.into_iter().map(terminate).collect()
    }
}

/// Whether this process was started to ignore a signal.
fn is_ignored(signal: i32) -> io::Result<bool> {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: it changes nothing, and writes what holds now to where there is room for it.
    let failed = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) } != 0;
    if failed {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above succeeded, and has written it.
    Ok(unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN)
}
