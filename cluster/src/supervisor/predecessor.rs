//! What an earlier supervisor of the same folder left: it may still run, or have been killed without
//! having ended its server.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::configuration;
use super::error::SupervisorError;
use super::process::CONFIG;

/// How long a server may take to end by itself.
const END_TIME: Duration = Duration::from_secs(10);

/// Keeps other supervisors from the folder, as long as it lives.
pub(super) fn lock(folder: &Path) -> Result<File, SupervisorError> {
    let path = folder.join("lock");
    let file = File::create(&path).map_err(|error| configuration::file_error(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SupervisorError::InUse {
            folder: folder.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(configuration::file_error(&path, error)),
    }
}

/// Ends the servers that run with this configuration. They are looked for among all processes: one
/// whose supervisor was killed at once has left no note, and two on one folder damage what it keeps.
pub(super) async fn end_servers(configuration: &Path) {
    if servers(configuration).is_empty() {
        return;
    }
    tracing::warn!("ending the nats-server that a killed supervisor left");
    for signal in [Signal::TERM, Signal::KILL] {
        for id in servers(configuration) {
            // It may end in between, which is as well.
            let _ = kill_process(id, signal);
        }
        let ended = async {
            while !servers(configuration).is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(END_TIME, ended).await.is_ok() {
            return;
        }
    }
}

/// The processes that were started with this configuration. While the folder is locked no other is on
/// its way: until it becomes the server, a supervisor's child holds the lock, too.
fn servers(configuration: &Path) -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(Pid::from_raw)
        .filter(|id| is_server(*id, configuration))
        .collect()
}

fn is_server(id: Pid, configuration: &Path) -> bool {
    let path = format!("/proc/{}/cmdline", id.as_raw_nonzero());
    let arguments = std::fs::read(path).unwrap_or_default();
    let mut arguments = arguments.split(|byte| *byte == 0);
    arguments.any(|argument| argument == CONFIG.as_bytes())
        && arguments.next() == Some(configuration.as_os_str().as_encoded_bytes())
}
