//! Clients that do nothing, on lanes of this process or of others: what is left is the cost of the
//! cluster.
//!
//! ```text
//! noop broker FOLDER [tls]                                 a broker, until SIGTERM
//! noop worker WORKER.toml NAME LANES BYTES MILLISECONDS     a host, until the run is over
//! noop run CLUSTER.toml|local CLIENTS ROUNDS LANES BYTES MILLISECONDS
//! ```
//!
//! A client sends back an update of BYTES bytes, written each time, after MILLISECONDS of sleep. The
//! state that clients start from is as large, and another in each round. The broker prints the
//! number of its server's process and the paths of its cluster files; a run prints each event that
//! has a time of its own, with that time: seconds since 1970.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, BufWriter, Stdout, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use regatta_actors::Run;
use regatta_actors::lanes::Lanes;
use regatta_actors::lanes::broker::BrokerError;
use regatta_actors::lanes::remote::settings::RemoteSettings;
use regatta_actors::lanes::remote::verify::VerifiedShare;
use regatta_actors::lanes::timing::Timing;
use regatta_actors::lanes::wire::Invitation;
use regatta_actors::lanes::worker::{PreparedWorkload, WorkerSettings, serve};
use regatta_actors::observe::Observer;
use regatta_actors::plan::{ClientPlan, FederationPlan};
use regatta_actors::prelude::*;
use regatta_actors::protocol::event::Event;
use regatta_cluster::{ClusterFile, ConnectError, NatsBroker, Options, Settings, Supervisor};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// What coordinator and hosts must have in common.
const BUILD: &str = "noop";
/// How long to wait for a run, each time.
const ANSWER: Duration = Duration::from_millis(500);

type AnyError = Box<dyn Error + Send + Sync>;

/// What travels, both ways.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Values(Vec<u8>);

impl Payload for Values {
    fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }

    fn to_pieces(&self) -> Result<Vec<Bytes>, BoxError> {
        Ok(vec![Bytes::copy_from_slice(&self.0)])
    }

    fn from_pieces(pieces: &[Bytes]) -> Result<Self, BoxError> {
        Ok(Self(pieces.concat()))
    }
}

/// Clients that sleep, and a server that goes on from the update of the first.
#[derive(Debug, Clone, Copy)]
struct NoOp {
    bytes: usize,
    sleep: Duration,
}

impl Workload for NoOp {
    type State = Values;
    type Update = Values;
    type Trainer = Self;

    fn trainer(&self, _: LaneId) -> Result<Self, BoxError> {
        Ok(*self)
    }
}

impl ClientTrainer<Self> for NoOp {
    fn train(&mut self, task: &TrainTask<Values>, _: &mut dyn JobContext) -> TrainResult<Values> {
        if !self.sleep.is_zero() {
            thread::sleep(self.sleep);
        }
        let mut update = task.state.0.clone();
        let stamp = [task.client.0.to_le_bytes(), task.round.to_le_bytes()].concat();
        let pairs = update.iter_mut().zip(stamp);
        pairs.for_each(|(value, stamped)| *value = stamped);
        Ok(Trained::new(Values(update), 0.0, 1, 1))
    }
}

impl ServerWorkload for NoOp {
    type Aggregator = Server;

    fn aggregator(&self) -> Result<Server, BoxError> {
        Ok(Server(Arc::new(Values(vec![7; self.bytes]))))
    }
}

/// The state of the server.
struct Server(Arc<Values>);

impl ServerAggregator<NoOp> for Server {
    fn state(&self) -> Arc<Values> {
        self.0.clone()
    }

    fn aggregate(&mut self, _: u32, updates: Vec<Contribution<Values>>) -> AggregateResult {
        if let Some(first) = updates.into_iter().next() {
            self.0 = Arc::new(first.update);
        }
        Ok(Aggregation::of(&*self.0))
    }
}

/// Prints events with their times. What was printed is seen when the run has begun, and at its end.
struct Printer(BufWriter<Stdout>);

impl Observer for Printer {
    fn on_event(&mut self, event: &Event) {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let wanted = matches!(
            event,
            Event::RunStarted { .. }
                | Event::RoundStarted { .. }
                | Event::ClientState { .. }
                | Event::HostJoined { .. }
                | Event::RunFinished { .. }
        );
        if !wanted {
            return;
        }
        let line = serde_json::to_string(&(now.as_secs_f64(), event)).unwrap_or_default();
        let written = writeln!(self.0, "{line}").and_then(|()| match event {
            Event::RunStarted { .. } | Event::RunFinished { .. } => self.0.flush(),
            _ => Ok(()),
        });
        // Whoever started this has gone.
        written.expect("events are printed");
    }
}

fn main() -> Result<(), AnyError> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["broker", folder] => broker(folder, false),
        ["broker", folder, "tls"] => broker(folder, true),
        ["worker", file, name, lanes, bytes, sleep] => {
            worker(file, name, lanes.parse()?, no_op(bytes, sleep)?)
        }
        ["run", place, clients, rounds, lanes, bytes, sleep] => {
            let fleet = 0..clients.parse::<u32>()?;
            let fleet = fleet.map(|i| ClientPlan::new(format!("client-{i}"), 1));
            let plan = FederationPlan {
                rounds: rounds.parse()?,
                lanes: lanes.parse()?,
                eval_every: 0,
                ..FederationPlan::new("noop", 1, fleet.collect())
            };
            run(place, plan, no_op(bytes, sleep)?)
        }
        _ => Err("see the comment on top of this program's source for its arguments".into()),
    }
}

fn no_op(bytes: &str, milliseconds: &str) -> Result<NoOp, AnyError> {
    Ok(NoOp {
        bytes: bytes.parse()?,
        sleep: Duration::from_millis(milliseconds.parse()?),
    })
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// As `regatta broker`, at a free port of this machine.
fn broker(folder: &str, tls: bool) -> Result<(), AnyError> {
    let settings = Settings {
        tls,
        ..Settings::new(folder, free_address()?)
    };
    runtime()?.block_on(async {
        let mut end = signal(SignalKind::terminate())?;
        let broker = Supervisor::start(&settings).await?;
        let (cluster, worker) = (broker.cluster_file(), broker.worker_file());
        let process = broker.process_id();
        println!("{}", serde_json::json!([process, cluster, worker]));
        let ended = async {
            end.recv().await;
        };
        Ok(broker.run_until(ended).await?)
    })
}

/// As `regatta worker`.
fn worker(file: &str, name: &str, lanes: u32, workload: NoOp) -> Result<(), AnyError> {
    let file = ClusterFile::load(Path::new(file))?;
    let name = name.to_owned();
    let settings = WorkerSettings {
        name: name.clone(),
        build: BUILD.into(),
        description: String::new(),
        watchdog: None,
        timing: Timing::default(),
    };
    let connect = || async move {
        let run = loop {
            let found = NatsBroker::find_run(&file, &name, ANSWER).await;
            if let Some(run) = found.map_err(broker_error)? {
                break run;
            }
        };
        connect(&file, &run, &name).await
    };
    let prepare = move |_: &Invitation| {
        Ok(PreparedWorkload {
            workload: Arc::new(workload),
            fingerprint: BTreeMap::new(),
            lanes,
        })
    };
    let (_stop, stopped) = watch::channel(false);
    serve(connect, settings, prepare, stopped)?;
    Ok(())
}

/// As `regatta run`.
fn run(place: &str, plan: FederationPlan, workload: NoOp) -> Result<(), AnyError> {
    let printer = Printer(BufWriter::new(io::stdout()));
    let run = Run::new(plan, Arc::new(workload)).observed_by(vec![Box::new(printer)]);
    let run = match place {
        "local" => run,
        path => {
            let file = ClusterFile::load(Path::new(path))?;
            let since = SystemTime::UNIX_EPOCH.elapsed()?;
            let id = format!("noop-{:x}", since.as_nanos());
            let connect = move || async move {
                let broker = connect(&file, &id, "coordinator").await?;
                broker.invite();
                Ok(broker)
            };
            let settings = RemoteSettings {
                name: "noop".into(),
                description: String::new(),
                invitation: Invitation {
                    build: BUILD.into(),
                    run: String::new(),
                },
                fingerprint: BTreeMap::new(),
                canary: Digest::of(&[]),
                verified: VerifiedShare::NONE,
                largest_update: 1 << 30,
                timing: Timing::default(),
            };
            run.on(Lanes::remote(connect, settings))
        }
    };
    run.start()?;
    Ok(())
}

async fn connect(file: &ClusterFile, run: &str, name: &str) -> Result<NatsBroker, BrokerError> {
    let connected = NatsBroker::connect(file, Options::new(run, name), |_| {}).await;
    connected.map_err(broker_error)
}

fn broker_error(error: ConnectError) -> BrokerError {
    BrokerError::Away(error.to_string())
}
