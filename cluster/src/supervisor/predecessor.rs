//! What an earlier supervisor of the same folder left: it may still run, or have been killed without
//! having ended its server.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::configuration;
use super::error::SupervisorError;

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

/// Ends the server whose number is in the folder, if it runs with this configuration.
pub(super) async fn end_server(number: &Path, configuration: &Path) {
    let Some(id) = read_id(number).filter(|id| runs(*id, configuration)) else {
        return;
    };
    tracing::warn!("ending the nats-server that a killed supervisor left");
    // It may end in between, which is as well.
    let _ = kill_process(id, Signal::TERM);
    let ended = async {
        while runs(id, configuration) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(END_TIME, ended).await.is_err() {
        let _ = kill_process(id, Signal::KILL);
    }
}

fn read_id(path: &Path) -> Option<Pid> {
    Pid::from_raw(std::fs::read_to_string(path).ok()?.trim().parse().ok()?)
}

/// Whether a process was started with this configuration; its number may by now be another's.
fn runs(id: Pid, configuration: &Path) -> bool {
    let path = format!("/proc/{}/cmdline", id.as_raw_nonzero());
    let arguments = std::fs::read(path).unwrap_or_default();
    let wanted = configuration.as_os_str().as_encoded_bytes();
    arguments
        .split(|byte| *byte == 0)
        .any(|argument| argument == wanted)
}
