//! The server that `regatta broker` runs: found, configured, started, and started again when it dies.

mod certificate;
mod configuration;
mod error;
mod predecessor;
mod process;
mod program;
mod settings;

use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

pub use error::SupervisorError;
pub use settings::Settings;

use configuration::Configuration;
use process::{Process, Spawn};

/// Starts in a row of a server that does not live for [`LONG`].
const MOST_STARTS: u32 = 5;
/// A server that lived so long did start.
const LONG: Duration = Duration::from_secs(30);

/// A server that runs, and is started again when it dies. It ends with this.
#[derive(Debug)]
pub struct Supervisor {
    process: Process,
    spawn: Spawn,
    since: Instant,
    /// Deaths in a row after a short life, or none.
    early_deaths: u32,
    cluster_file: PathBuf,
    worker_file: PathBuf,
    /// Lasts as long as this, or its process.
    _lock: File,
}

impl Supervisor {
    /// Starts a server, and returns when it accepts connections. Secrets that are in its folder from
    /// before stay valid, and what it kept is there again. Its warnings and errors go to the log.
    ///
    /// # Errors
    ///
    /// When the settings do not go together, there is no server that will do, or it does not start.
    pub async fn start(settings: &Settings) -> Result<Self, SupervisorError> {
        settings.check()?;
        let program = program::find(settings.program.as_deref()).await?;
        let folder = configuration::make_folder(&settings.folder)?;
        let lock = predecessor::lock(&folder)?;
        let configuration = Configuration::write(settings, &folder)?;
        predecessor::end_servers(&configuration.path).await;
        let spawn = Spawn {
            program,
            configuration: configuration.path,
            memory: settings.memory,
        };
        let process = spawn.start().await?;
        Ok(Self {
            process,
            spawn,
            since: Instant::now(),
            early_deaths: 0,
            _lock: lock,
            cluster_file: configuration.cluster_file,
            worker_file: configuration.worker_file,
        })
    }

    /// The path of the coordinator's cluster file.
    #[must_use]
    pub fn cluster_file(&self) -> &Path {
        &self.cluster_file
    }

    /// The path of the hosts' cluster file.
    #[must_use]
    pub fn worker_file(&self) -> &Path {
        &self.worker_file
    }

    /// The number of the server's process, while it lives.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Keeps a server running until `end`, then ends it.
    ///
    /// # Errors
    ///
    /// When it dies again and again.
    pub async fn run_until(mut self, end: impl Future<Output = ()>) -> Result<(), SupervisorError> {
        tokio::pin!(end);
        loop {
            tokio::select! {
                biased;
                () = &mut end => break,
                how = self.process.died() => {
                    tokio::select! {
                        biased;
                        () = &mut end => break,
                        again = self.start_again(how) => again?,
                    }
                }
            }
        }
        self.process.stop().await;
        Ok(())
    }

    /// Ends the server.
    pub async fn stop(mut self) {
        self.process.stop().await;
    }

    async fn start_again(&mut self, how: String) -> Result<(), SupervisorError> {
        if self.since.elapsed() >= LONG {
            self.early_deaths = 0;
        }
        if self.early_deaths >= MOST_STARTS {
            let what = format!("{how}, as the {MOST_STARTS} times before");
            let log = self.process.last_words();
            return Err(SupervisorError::Dead { what, log });
        }
        tracing::warn!("nats-server {how}; starting it again");
        loop {
            if self.early_deaths > 0 {
                tokio::time::sleep(Duration::from_millis(100 << self.early_deaths)).await;
            }
            self.early_deaths += 1;
            match self.spawn.start().await {
                Ok(process) => {
                    self.process = process;
                    self.since = Instant::now();
                    return Ok(());
                }
                Err(error) if self.early_deaths >= MOST_STARTS => return Err(error),
                Err(error) => tracing::warn!("{error}"),
            }
        }
    }
}
