//! Turns a run's events into metrics.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use regatta_actors::event::{ClientInfo, ClientState, Event, Observer};
use regatta_actors::learner::{ClientId, Scores};
use regatta_actors::record::{ClientRecord, Outcome, RoundRecord};

use super::catalog as c;

/// What is run, for the labels of the two info metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunInfo {
    /// The program's version.
    pub version: &'static str,
    /// libtorch's version.
    pub libtorch: String,
    /// The GLUE task.
    pub task: &'static str,
    /// The adapter.
    pub adapter: &'static str,
    /// The aggregation method.
    pub method: &'static str,
}

/// Sets the catalogue's metrics from events.
#[derive(Debug)]
pub struct MetricsObserver {
    info: RunInfo,
    names: BTreeMap<ClientId, String>,
    states: BTreeMap<ClientId, ClientState>,
    best: Scores,
}

impl MetricsObserver {
    /// An observer of such a run.
    #[must_use]
    pub fn new(info: RunInfo) -> Self {
        Self {
            info,
            names: BTreeMap::new(),
            states: BTreeMap::new(),
            best: Scores::new(),
        }
    }

    /// Brings every series into being, so that its first increase is seen as one.
    fn start(&mut self, rounds: u32, clients: &[ClientInfo]) {
        let info = &self.info;
        c::BUILD_INFO.set([info.version, &info.libtorch], 1.0);
        c::RUN_INFO.set([info.task, info.adapter, info.method], 1.0);
        c::ROUND.set([], 0.0);
        c::ROUNDS_PLANNED.set([], f64::from(rounds));
        c::VIRTUAL_SECONDS.set([], 0.0);
        c::STALE_REPLIES.add([], 0);
        for outcome in ["folded", "empty"] {
            c::ROUNDS.add([outcome], 0);
        }
        for outcome in OUTCOMES {
            c::UPDATES.add([outcome_name(outcome)], 0);
        }
        for client in clients {
            self.names.insert(client.client, client.name.clone());
            self.states.insert(client.client, ClientState::Idle);
            start_client(&client.name);
        }
        self.count_states();
    }

    fn name(&self, client: ClientId) -> &str {
        self.names.get(&client).map_or("unknown", String::as_str)
    }

    fn count_states(&self) {
        for state in ClientState::ALL {
            let count = self.states.values().filter(|s| **s == state).count();
            c::CLIENTS.set([state.as_str()], count as f64);
        }
    }

    fn change_state(&mut self, client: ClientId, state: ClientState) {
        self.states.insert(client, state);
        c::CLIENT_STATE.set([self.name(client)], code(state));
        self.count_states();
    }

    fn score(&mut self, scores: &Scores) {
        for (name, &value) in scores {
            let best = self.best.entry(name.clone()).or_insert(value);
            *best = if name == "loss" {
                best.min(value)
            } else {
                best.max(value)
            };
            c::SCORE.set([name], value);
            c::BEST_SCORE.set([name], *best);
        }
    }

    fn finish_round(&self, record: &RoundRecord) {
        let folded = record
            .clients
            .iter()
            .any(|client| client.outcome == Outcome::Folded);
        c::ROUNDS.add([if folded { "folded" } else { "empty" }], 1);
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
        record.clients.iter().for_each(finish_client);
    }
}

impl Observer for MetricsObserver {
    fn on_event(&mut self, event: &Event) {
        match event {
            Event::RunStarted {
                rounds, clients, ..
            } => self.start(*rounds, clients),
            Event::RoundStarted {
                round,
                virtual_seconds,
                ..
            } => {
                c::ROUND.set([], f64::from(*round));
                c::VIRTUAL_SECONDS.set([], *virtual_seconds);
            }
            Event::ClientState { client, state, .. } => self.change_state(*client, *state),
            Event::Progress {
                client, progress, ..
            } => {
                if let Some(loss) = progress.loss {
                    c::CLIENT_TRAIN_LOSS.set([self.name(*client)], loss);
                }
            }
            Event::UpdateReceived { client, loss, .. } => {
                c::CLIENT_TRAIN_LOSS.set([self.name(*client)], *loss);
                c::CLIENT_LAST_UPDATE.set([self.name(*client)], unix_seconds());
            }
            Event::StaleReply { .. } => c::STALE_REPLIES.add([], 1),
            Event::Evaluated { scores, .. } => self.score(scores),
            Event::RoundFinished(record) => self.finish_round(record),
            _ => {}
        }
    }
}

/// Every outcome of a client's round.
const OUTCOMES: [Outcome; 6] = [
    Outcome::Folded,
    Outcome::Refused,
    Outcome::Dropped,
    Outcome::Late,
    Outcome::Lost,
    Outcome::Failed,
];

fn start_client(name: &str) {
    c::CLIENT_STATE.set([name], code(ClientState::Idle));
    c::CLIENT_LAST_UPDATE.set([name], 0.0);
    c::CLIENT_EXAMPLES.add([name], 0);
    c::CLIENT_STEPS.add([name], 0);
    c::CLIENT_MISSED_ROUNDS.add([name], 0);
    for direction in ["up", "down"] {
        c::CLIENT_BYTES.add([name, direction], 0);
    }
}

fn finish_client(client: &ClientRecord) {
    let name = client.name.as_str();
    c::UPDATES.add([outcome_name(client.outcome)], 1);
    c::CLIENT_EXAMPLES.add([name], client.examples);
    c::CLIENT_STEPS.add([name], client.steps);
    c::CLIENT_BYTES.add([name, "up"], client.bytes_up);
    c::CLIENT_BYTES.add([name, "down"], client.bytes_down);
    c::CLIENT_ROUND_SECONDS.set([name], client.seconds);
    if client.outcome != Outcome::Folded {
        c::CLIENT_MISSED_ROUNDS.add([name], 1);
    }
}

/// The outcome's name as in `rounds.jsonl`.
fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Folded => "folded",
        Outcome::Refused => "refused",
        Outcome::Dropped => "dropped",
        Outcome::Late => "late",
        Outcome::Lost => "lost",
        Outcome::Failed => "failed",
    }
}

/// The state's number, as the help of [`c::CLIENT_STATE`] explains it.
fn code(state: ClientState) -> f64 {
    ClientState::ALL
        .iter()
        .position(|s| *s == state)
        .map_or(f64::NAN, |code| code as f64)
}

fn unix_seconds() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
