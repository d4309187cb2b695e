//! Why there is no server.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::ConfigError;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// It would send secrets readably over a network.
    #[error(
        "other machines reach {0}, so the broker needs TLS there; leave TLS on, or listen at 127.0.0.1"
    )]
    Open(SocketAddr),
    /// Other machines would not know where it is.
    #[error("a broker that listens at {0} needs the name by which other machines reach it")]
    NoName(SocketAddr),
    /// There is no server to start.
    #[error(
        "there is no nats-server in {searched}; `make setup NATS=1` fetches one, or name yours with \
         its path"
    )]
    NotFound {
        /// Where it was looked for.
        searched: String,
    },
    /// The server is too old or cannot be run.
    #[error("{}: {reason}; nats-server 2.11 or newer is needed, and `make setup NATS=1` fetches one", program.display())]
    Unfit {
        /// Its path.
        program: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Its files cannot be read or written.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its certificate cannot be made.
    #[error("a certificate for {names} cannot be made: {reason}")]
    Certificate {
        /// What it was to be for.
        names: String,
        /// What is wrong.
        reason: String,
    },
    /// Another supervisor has the folder.
    #[error("another `regatta broker` runs in {}; end it, or use another folder", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// It does not start, or dies again and again.
    #[error("nats-server {what}; its last words:\n{log}")]
    Dead {
        /// What it does.
        what: String,
        /// The last lines of its log.
        log: String,
    },
}
