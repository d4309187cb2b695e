//! One process of the server.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::error::SupervisorError;

/// Garbage that it may let grow before it collects, in percent of what it uses: most of that is
/// buffers of messages, which cost more to get again than to keep.
const GARBAGE: &str = "400";
/// What comes before the path of its configuration when it is started.
pub(super) const CONFIG: &str = "--config";
/// Lines of its log that are kept for when it dies.
const LAST_WORDS: usize = 12;
/// How long it may take to accept connections. It reads what it kept before that.
const START_TIME: Duration = Duration::from_secs(60);
/// How long it may take to end by itself.
const END_TIME: Duration = Duration::from_secs(10);
/// Of passwords in its configuration, which no other user can read. Others than plain ones would
/// cost every connection a tenth of a second.
const EXPECTED_WARNING: &str = "Plaintext passwords detected";

/// How to start the server.
#[derive(Debug)]
pub(super) struct Spawn {
    pub(super) program: PathBuf,
    pub(super) configuration: PathBuf,
    /// Memory that it tries to stay below, in bytes.
    pub(super) memory: u64,
}

/// The server's process.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    log: Log,
}

impl Spawn {
    /// Starts the server, and returns when it accepts connections.
    pub(super) async fn start(&self) -> Result<Process, SupervisorError> {
        let mut command = Command::new(&self.program);
        command
            .arg(CONFIG)
            .arg(&self.configuration)
            .env("GOMEMLIMIT", self.memory.to_string())
            .env("GOGC", GARBAGE)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // A terminal's Ctrl-C is for the supervisor, which ends the server in order.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| SupervisorError::Unfit {
            program: self.program.clone(),
            reason: format!("it cannot be run ({error})"),
        })?;
        let log = Log::default();
        if let Some(errors) = child.stderr.take() {
            tokio::spawn(log.clone().follow(errors));
        }
        let ready = log.clone();
        let mut process = Process { child, log };
        let started = tokio::select! {
            biased;
            how = process.died() => Err(how),
            accepts = timeout(START_TIME, ready.ready()) => {
                accepts.map_err(|_| format!("accepts no connection in {} s", START_TIME.as_secs()))
            }
        };
        match started {
            Ok(()) => Ok(process),
            Err(what) => {
                let log = process.last_words();
                Err(SupervisorError::Dead { what, log })
            }
        }
    }
}

impl Process {
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until it is dead, and says how it died.
    pub(super) async fn died(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => {
                // Its last words are on their way.
                self.log.ended().await;
                words(status)
            }
            Err(error) => format!("cannot be waited for ({error})"),
        }
    }

    /// Asks it to end, and kills it if it does not.
    pub(super) async fn stop(&mut self) {
        let id = self
            .child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()));
        // Without a number it is dead.
        if let Some(id) = id
            && kill_process(id, Signal::TERM).is_ok()
            && timeout(END_TIME, self.child.wait()).await.is_ok()
        {
            return;
        }
        if let Err(error) = self.child.kill().await {
            tracing::warn!("nats-server cannot be ended: {error}");
        }
    }

    /// The last lines of its log.
    pub(super) fn last_words(&self) -> String {
        let lines = self
            .log
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        lines.join("\n")
    }
}

fn words(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("ended with status {code}"),
        None => format!("was killed ({status})"),
    }
}

/// What the server writes.
#[derive(Debug, Clone, Default)]
struct Log {
    lines: Arc<Mutex<VecDeque<String>>>,
    ready: Arc<tokio::sync::Notify>,
    ended: Arc<tokio::sync::Notify>,
}

impl Log {
    /// Reads to its end; warnings and errors go to our own log.
    async fn follow(self, errors: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(errors).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            pass_on(&line);
            if line.contains("Server is ready") {
                self.ready.notify_one();
            }
            let mut kept = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == LAST_WORDS {
                kept.pop_front();
            }
            kept.push_back(line);
        }
        self.ended.notify_one();
    }

    /// Waits until the server says that it is ready, which it does once it listens. A connection would
    /// not tell: it may be another's that has the port, and the server takes one that does not go on
    /// to TLS for a failure.
    async fn ready(&self) {
        self.ready.notified().await;
    }

    async fn ended(&self) {
        // Another process may have got hold of its output.
        let _ = timeout(Duration::from_secs(1), self.ended.notified()).await;
    }
}

/// Passes a line on that is of interest to people: `[pid] date time [WRN] text`.
fn pass_on(line: &str) {
    for (mark, is_error) in [("[WRN] ", false), ("[ERR] ", true), ("[FTL] ", true)] {
        let Some((_, text)) = line.split_once(mark) else {
            continue;
        };
        if is_error {
            tracing::error!("nats-server: {text}");
        } else if !text.contains(EXPECTED_WARNING) {
            tracing::warn!("nats-server: {text}");
        }
    }
}
