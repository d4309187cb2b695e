//! How a server is to run.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::error::SupervisorError;
use crate::config::is_local;

/// How to run a server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder of its files: secrets, certificate, what it keeps. On a local disk.
    pub folder: PathBuf,
    /// Where it listens. The port must not be 0.
    pub listen: SocketAddr,
    /// Names and addresses by which other machines reach this one. The first goes into the cluster
    /// files; empty: the address that it listens at.
    pub names: Vec<String>,
    /// Whether connections are encrypted. Beyond this machine they must be.
    pub tls: bool,
    /// The server; `None`: the one that set-up fetched, or else one that is installed.
    pub program: Option<PathBuf>,
    /// A folder that all machines share, for blobs.
    pub blobs: Option<PathBuf>,
    /// Memory that it tries to stay below, in bytes.
    pub memory: u64,
    /// Disk that it may use, in bytes.
    pub disk: u64,
    /// The largest message in bytes.
    pub max_payload: u32,
}

impl Settings {
    /// The usual settings: with TLS unless it listens on this machine alone, 1 GiB of memory, 64 GiB
    /// of disk, messages of 8 MiB.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        Self {
            folder: folder.into(),
            listen,
            names: Vec::new(),
            tls: !is_local(listen.ip()),
            program: None,
            blobs: None,
            memory: 1 << 30,
            disk: 64 << 30,
            max_payload: 8 << 20,
        }
    }

    /// Refuses what would be open to others, or unreachable for them.
    pub(super) fn check(&self) -> Result<(), SupervisorError> {
        if !self.tls && !is_local(self.listen.ip()) {
            return Err(SupervisorError::Open(self.listen));
        }
        if self.names.is_empty() && self.listen.ip().is_unspecified() {
            return Err(SupervisorError::NoName(self.listen));
        }
        Ok(())
    }
}
