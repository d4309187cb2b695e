//! Turns a run's events into metrics.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use regatta_actors::ids::LaneId;
use regatta_actors::observe::Observer;
use regatta_actors::plan::fault::FaultName;
use regatta_actors::protocol::event::{ClientInfo, Event};
use regatta_actors::protocol::round_record::RoundRecord;
use regatta_actors::workload::update::Scores;

use crate::base::time::unix_seconds;
use crate::live::metrics::catalog as c;
use crate::live::metrics::fleet::Fleet;
use crate::live::metrics::lanes::SharedLanes;
use crate::runs::history::totals::{Best, note_best};
use crate::tasks::metrics::set::{MetricSet, base_name};

/// How often, at most, what concerns all clients is computed between rounds.
const SUMMARY_PERIOD: Duration = Duration::from_secs(1);

/// What is run, for the labels of the two info metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunLabels {
    /// The program's version.
    pub version: &'static str,
    /// libtorch's version.
    pub libtorch: String,
    /// The GLUE task.
    pub task: String,
    /// The adapter.
    pub adapter: &'static str,
    /// The aggregation method.
    pub method: &'static str,
    /// Each lane's device.
    pub lanes: Vec<String>,
    /// The maximum number of clients with separate series.
    pub client_series: u32,
}

/// Sets the catalogue's metrics from events.
#[derive(Debug)]
pub struct MetricsObserver {
    info: RunLabels,
    metrics: MetricSet,
    fleet: Fleet,
    lanes: SharedLanes,
    /// Other hosts that train, and how many lanes each has.
    hosts: BTreeMap<String, usize>,
    best: BTreeMap<String, Best>,
    /// Scores of the rounds that an earlier process did.
    earlier: Vec<(u32, Scores)>,
    summarised: Instant,
}

impl MetricsObserver {
    /// An observer of such a run, whose task has these metrics.
    #[must_use]
    pub fn new(info: RunLabels, metrics: MetricSet) -> Self {
        let now = Instant::now();
        Self {
            fleet: Fleet::new(info.client_series as usize),
            lanes: SharedLanes::new(&info.lanes, now),
            hosts: BTreeMap::new(),
            info,
            metrics,
            best: BTreeMap::new(),
            earlier: Vec::new(),
            summarised: now,
        }
    }

    /// The same with the rounds that an earlier process did: the best score may be among them.
    #[must_use]
    pub fn recalling(mut self, rounds: impl IntoIterator<Item = RoundRecord>) -> Self {
        let scored = |record: RoundRecord| Some((record.round, record.eval?));
        self.earlier = rounds.into_iter().filter_map(scored).collect();
        self
    }

    /// The lanes, for a [`Sampler`](crate::live::metrics::sampler::Sampler).
    #[must_use]
    pub fn lanes(&self) -> SharedLanes {
        self.lanes.clone()
    }

    /// Brings every series into being, so that its first increase is seen as one.
    fn start(&mut self, after_round: u32, rounds: u32, clients: &[ClientInfo]) {
        let info = &self.info;
        c::BUILD_INFO.set([info.version, &info.libtorch], 1.0);
        c::RUN_INFO.set([&info.task, info.adapter, info.method], 1.0);
        for (round, scores) in std::mem::take(&mut self.earlier) {
            // A round after the checkpoint is done again.
            if round <= after_round {
                self.score(round, &scores);
            }
        }
        c::RUN_ACTIVE.set([], 1.0);
        c::ROUND.set([], f64::from(after_round));
        c::ROUNDS_PLANNED.set([], f64::from(rounds));
        c::VIRTUAL_SECONDS.set([], 0.0);
        for outcome in ["aggregated", "empty"] {
            c::ROUNDS.add([outcome], 0);
        }
        for phase in ["train", "aggregate", "evaluate"] {
            c::ROUND_SECONDS.begin([phase]);
        }
        c::ROUND_RETRIES.add([], 0);
        c::CHECKPOINT_TIME.set([], unix_seconds());
        c::CHECKPOINT_SIZE.set([], 0.0);
        self.fleet.start(clients);
        self.lanes.with(|lanes| lanes.publish());
    }

    fn score(&mut self, round: u32, scores: &Scores) {
        note_best(&mut self.best, round, scores, &self.metrics);
        for (name, &value) in scores {
            if let Some(name) = base_name(name) {
                c::BASE_SCORE.set([name], value);
                continue;
            }
            let best = self.best.get(name).map_or(f64::NAN, |best| best.value);
            c::SCORE.set([name], value);
            c::BEST_SCORE.set([name], best);
        }
    }

    fn finish_round(&mut self, record: &RoundRecord) {
        let outcome = if record.aggregated() > 0 {
            "aggregated"
        } else {
            "empty"
        };
        c::ROUNDS.add([outcome], 1);
        c::VIRTUAL_SECONDS.set([], record.virtual_seconds);
        c::ROUND_SECONDS.record(["train"], record.seconds.train);
        c::ROUND_SECONDS.record(["aggregate"], record.seconds.aggregate);
        if record.eval.is_some() {
            c::ROUND_SECONDS.record(["evaluate"], record.seconds.evaluate);
        }
        if let Some(loss) = record.train_loss {
            c::TRAIN_LOSS.set([], loss);
        }
        if let Some(error) = record.exactness_error {
            c::EXACTNESS_ERROR.set([self.info.method], error);
        }
        self.fleet.finish_round(&record.clients);
        self.fleet.summarise();
    }

    fn finish(&mut self) {
        c::RUN_ACTIVE.set([], 0.0);
        self.fleet.summarise();
        self.lanes.with(|lanes| lanes.stop());
        if !self.hosts.is_empty() {
            self.hosts.clear();
            self.count_hosts();
        }
    }

    /// What is counted of hosts exists from when there may be any.
    fn reach_broker(&self) {
        c::BROKER_CONNECTED.set([], 1.0);
        c::HOSTS_LOST.add([], 0);
        c::JOBS_REDONE.add([], 0);
        c::JOBS_VERIFIED.add([], 0);
        c::HOSTS_WRONG.add([], 0);
        for direction in ["sent", "received"] {
            c::HOST_BYTES.add([direction], 0);
        }
        self.count_hosts();
    }

    fn count_hosts(&self) {
        c::HOSTS.set([], self.hosts.len() as f64);
        c::HOST_LANES.set([], self.hosts.values().sum::<usize>() as f64);
    }

    fn add_host(&mut self, host: &str, lanes: &[LaneId]) {
        self.hosts.insert(host.to_owned(), lanes.len());
        self.count_hosts();
        let now = Instant::now();
        self.lanes.with(|all| {
            for lane in lanes {
                all.add(*lane, host, now);
            }
            all.publish();
        });
    }

    fn remove_host(&mut self, host: &str, lost: bool) {
        self.hosts.remove(host);
        self.count_hosts();
        c::HOSTS_LOST.add([], u64::from(lost));
    }

    /// The activity of one client.
    fn on_client_event(&mut self, event: &Event) {
        match event {
            Event::ClientState {
                client,
                state,
                lane,
                ..
            } => {
                let now = Instant::now();
                self.lanes.with(|lanes| lanes.occupy(*client, *lane, now));
                self.fleet.change_state(*client, *state);
            }
            Event::Progress {
                client,
                lane,
                progress,
                ..
            } => {
                self.lanes.with(|lanes| lanes.progress(*lane, progress));
                self.fleet.progress(*client, progress.loss);
            }
            Event::StaleReply { client, .. } => self.fleet.stale_update(*client),
            Event::HostJoined { host, lanes, .. } => self.add_host(host, lanes),
            Event::HostLeft { host, lost, .. } => self.remove_host(host, *lost),
            Event::BrokerReached => self.reach_broker(),
            Event::BrokerAway { .. } => c::BROKER_CONNECTED.set([], 0.0),
            Event::JobRedone { .. } => c::JOBS_REDONE.add([], 1),
            Event::JobVerified { wrong, .. } => {
                c::JOBS_VERIFIED.add([], 1);
                c::HOSTS_WRONG.add([], wrong.len() as u64);
            }
            _ => {}
        }
        if self.summarised.elapsed() >= SUMMARY_PERIOD {
            self.fleet.summarise();
            self.summarised = Instant::now();
        }
    }
}

impl Observer for MetricsObserver {
    fn on_event(&mut self, event: &Event) {
        self.fleet.take(event);
        match event {
            Event::RunStarted {
                rounds, clients, ..
            } => self.start(0, *rounds, clients),
            Event::RunResumed {
                after_round,
                rounds,
                clients,
                ..
            } => self.start(*after_round, *rounds, clients),
            Event::RoundStarted {
                round,
                virtual_seconds,
                ..
            } => {
                c::RUN_ACTIVE.set([], 1.0);
                c::ROUND.set([], f64::from(*round));
                c::VIRTUAL_SECONDS.set([], *virtual_seconds);
            }
            Event::RoundRetried { .. } => c::ROUND_RETRIES.add([], 1),
            Event::ServerCrashed { .. } => {
                c::FAULTS.add([FaultName::ServerCrash.as_str()], 1);
            }
            Event::Checkpointed { bytes, .. } => {
                c::CHECKPOINT_TIME.set([], unix_seconds());
                c::CHECKPOINT_SIZE.set([], *bytes as f64);
            }
            Event::Paused { .. } => c::RUN_ACTIVE.set([], 0.0),
            Event::Evaluated { round, scores, .. } => self.score(*round, scores),
            Event::RoundFinished(record) => self.finish_round(record),
            Event::RunFinished { .. } => self.finish(),
            client => self.on_client_event(client),
        }
    }
}
