//! A server of a test's own, and brokers that are connected to it.

#![allow(dead_code, reason = "each test program uses a part of this")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use regatta_actors::ids::{ClientId, JobId, RunId};
use regatta_actors::lanes::broker::BrokerError;
use regatta_cluster::{ClusterFile, NatsBroker, Options, Settings, Supervisor};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Long enough for what must come, on a machine that others use too.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A lease that ends soon.
pub const SHORT_LEASE: Duration = Duration::from_millis(400);

/// The server's path; `None`, with a word, where there is none.
pub fn program() -> Option<PathBuf> {
    let fetched = "../third_party/nats-server/nats-server";
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join(fetched);
    let program = match std::env::var_os("REGATTA_NATS_SERVER") {
        Some(path) => PathBuf::from(path),
        None => fetched,
    };
    if program.is_file() {
        return Some(program);
    }
    println!("skipped: there is no nats-server; `make setup NATS=1` fetches one");
    None
}

/// Settings of a server on this machine, at a free port.
pub fn settings(folder: &Path) -> Option<Settings> {
    let mut settings = Settings::new(folder, free_address());
    settings.program = Some(program()?);
    Some(settings)
}

pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// A server that runs as `regatta broker` has it.
pub struct Server {
    folder: TempDir,
    pub settings: Settings,
    pub first_process: u32,
    end: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

impl Server {
    /// One with usual settings; `None` where there is no program.
    pub async fn start() -> Option<Self> {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Settings)) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(folder.path())?;
        change(&mut settings);
        let supervisor = Supervisor::start(&settings).await.unwrap();
        let first_process = supervisor.process_id().unwrap();
        let (end, ended) = oneshot::channel();
        let running = tokio::spawn(async move {
            let end = async {
                let _ = ended.await;
            };
            supervisor.run_until(end).await.unwrap();
        });
        Some(Self {
            folder,
            settings,
            first_process,
            end: Some(end),
            running,
        })
    }

    pub fn coordinator_file(&self) -> ClusterFile {
        ClusterFile::load(&self.folder.path().join("cluster.toml")).unwrap()
    }

    pub fn worker_file(&self) -> ClusterFile {
        ClusterFile::load(&self.folder.path().join("worker.toml")).unwrap()
    }

    /// A coordinator's broker of the run `r`, prepared.
    pub async fn coordinator(&self) -> NatsBroker {
        use regatta_actors::lanes::broker::Broker;

        let broker = connect(&self.coordinator_file(), options()).await;
        broker.prepare().await.unwrap();
        broker
    }

    /// A host's broker of the run `r`.
    pub async fn worker(&self) -> NatsBroker {
        connect(&self.worker_file(), options()).await
    }

    /// Kills the server's first process without a warning.
    pub fn kill(&self) {
        let id = rustix::process::Pid::from_raw(self.first_process.cast_signed()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
    }

    pub async fn stop(mut self) {
        self.end.take().unwrap().send(()).unwrap();
        self.running.await.unwrap();
    }
}

pub fn options() -> Options {
    let mut options = Options::new("r", "test");
    options.wait = Duration::from_secs(5);
    options
}

pub async fn connect(file: &ClusterFile, options: Options) -> NatsBroker {
    NatsBroker::connect(file, options, |_| {}).await.unwrap()
}

pub fn job(client: u32) -> JobId {
    JobId {
        run: RunId(7),
        round: 2,
        client: ClientId(client),
        attempt: 0,
    }
}

/// The next message, which must come.
pub async fn next<T>(messages: &mut mpsc::Receiver<T>) -> T {
    let next = tokio::time::timeout(PATIENCE, messages.recv());
    next.await
        .expect("nothing came")
        .expect("the channel ended")
}

/// Tries until the broker is there and has what it needs.
pub async fn retried<T, F>(mut action: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, BrokerError>>,
{
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        match action().await {
            Ok(value) => return value,
            Err(error) if tokio::time::Instant::now() > end => panic!("still {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

pub fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}
