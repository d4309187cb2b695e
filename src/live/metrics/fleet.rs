//! The clients' metrics: a series for each where they are few, the worst of them where they are
//! many, and their quantiles and sums in any case.

use std::collections::BTreeMap;

use regatta_actors::ids::ClientId;
use regatta_actors::plan::fault::FaultName;
use regatta_actors::protocol::client_state::ClientState;
use regatta_actors::protocol::event::{ClientInfo, Event};
use regatta_actors::protocol::round_record::{ClientRecord, Outcome};

use crate::base::time::unix_seconds;
use crate::live::metrics::catalog as c;
use crate::live::metrics::ranking::{comparable, set_quantiles};
use crate::runs::history::clients::RunStats;
use crate::runs::history::participation::{Participation, ParticipationEnd, ParticipationEvent};

/// The state of the clients.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// The maximum number of clients, or worst clients, with separate series.
    limit: usize,
    /// What the events tell of the run and of its clients.
    stats: RunStats,
    clients: BTreeMap<ClientId, ClientSeries>,
}

#[derive(Debug)]
struct ClientSeries {
    name: String,
    state: ClientState,
    loss: Option<f64>,
    step_seconds: Option<f64>,
    seen: f64,
}

impl Fleet {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            stats: RunStats::default(),
            clients: BTreeMap::new(),
        }
    }

    /// Brings every series into being, so that its first increase is seen as one.
    pub fn start(&mut self, clients: &[ClientInfo]) {
        let client = |info: &ClientInfo| ClientSeries {
            name: info.name.clone(),
            state: ClientState::Idle,
            loss: None,
            step_seconds: None,
            seen: unix_seconds(),
        };
        self.clients = clients
            .iter()
            .map(|info| (info.client, client(info)))
            .collect();
        c::STALE_UPDATES.add([], 0);
        c::RESTARTS.add([], 0);
        for fault in FaultName::ALL {
            c::FAULTS.add([fault.as_str()], 0);
        }
        for outcome in OUTCOMES {
            c::UPDATES.add([outcome_name(outcome)], 0);
        }
        for direction in DIRECTIONS {
            c::BYTES_MOVED.add([direction], 0);
        }
        c::JOB_SECONDS.begin([]);
        c::UPDATE_VIRTUAL_SECONDS.begin([]);
        if self.each() {
            self.clients.values().for_each(ClientSeries::start);
        }
        self.count_states();
    }

    /// Whether each client has a separate series.
    fn each(&self) -> bool {
        self.clients.len() <= self.limit
    }

    fn count_states(&self) {
        for state in ClientState::ALL {
            let count = self.clients.values().filter(|c| c.state == state).count();
            c::CLIENTS.set([state.as_str()], count as f64);
        }
    }

    /// Takes an event in: sets what follows from participations.
    pub fn take(&mut self, event: &Event) {
        let happened = self.stats.take(event);
        happened.iter().for_each(|event| self.participate(event));
    }

    fn participate(&mut self, event: &ParticipationEvent) {
        match event {
            ParticipationEvent::FaultInjected(_, fault) => c::FAULTS.add([fault.as_str()], 1),
            ParticipationEvent::Ended(participation) => match participation.end {
                ParticipationEnd::Arrived => self.update(participation),
                ParticipationEnd::Stale => self.stale_update(participation.client),
                ParticipationEnd::Failed { back_at: Some(_) } => self.restart(participation.client),
                _ => {}
            },
            ParticipationEvent::Selected(_) | ParticipationEvent::Late(_) => {}
        }
    }

    pub fn change_state(&mut self, client: ClientId, state: ClientState) {
        let Some((each, client)) = self.seen(client) else {
            return;
        };
        let before = std::mem::replace(&mut client.state, state);
        if each {
            c::CLIENT_STATE.set([&client.name], code(state));
        }
        if state != before {
            c::CLIENTS.shift([before.as_str()], -1.0);
            c::CLIENTS.shift([state.as_str()], 1.0);
        }
    }

    fn restart(&mut self, client: ClientId) {
        c::RESTARTS.add([], 1);
        if let Some((true, client)) = self.seen(client) {
            c::CLIENT_RESTARTS.add([&client.name], 1);
        }
    }

    pub fn progress(&mut self, client: ClientId, loss: Option<f64>) {
        if let Some((each, client)) = self.seen(client)
            && let Some(loss) = loss
        {
            client.loss = Some(loss);
            if each {
                c::CLIENT_TRAIN_LOSS.set([&client.name], loss);
            }
        }
    }

    fn update(&mut self, participation: &Participation) {
        let Some(job) = participation.job else { return };
        self.progress(participation.client, Some(job.loss));
        let Some((each, client)) = self.seen(participation.client) else {
            return;
        };
        let step_seconds = job.seconds / job.steps.max(1) as f64;
        // A client that was selected before the run was resumed has waited since its start.
        let selected = participation.selected.unwrap_or(0.0);
        let waited = (participation.ended - selected).max(0.0);
        client.step_seconds = Some(step_seconds);
        c::JOB_SECONDS.record([], job.seconds);
        c::UPDATE_VIRTUAL_SECONDS.record([], waited);
        if each {
            let name = [client.name.as_str()];
            c::CLIENT_ROUND_SECONDS.set(name, job.seconds);
            c::CLIENT_STEP_SECONDS.set(name, step_seconds);
            c::CLIENT_VIRTUAL_SECONDS.set(name, waited);
            c::CLIENT_LAST_UPDATE.set(name, unix_seconds());
        }
    }

    pub fn stale_update(&mut self, client: ClientId) {
        c::STALE_UPDATES.add([], 1);
        if let Some((true, client)) = self.seen(client) {
            c::CLIENT_STALE_UPDATES.add([&client.name], 1);
        }
    }

    pub fn finish_round(&self, records: &[ClientRecord]) {
        let each = self.each();
        for record in records {
            let reason = outcome_name(record.outcome);
            c::UPDATES.add([reason], 1);
            c::BYTES_MOVED.add(["up"], record.bytes_up);
            c::BYTES_MOVED.add(["down"], record.bytes_down);
            if each {
                let name = record.name.as_str();
                c::CLIENT_EXAMPLES.add([name], record.examples);
                c::CLIENT_STEPS.add([name], record.steps);
                c::CLIENT_BYTES.add([name, "up"], record.bytes_up);
                c::CLIENT_BYTES.add([name, "down"], record.bytes_down);
            }
            if each && record.outcome != Outcome::Aggregated {
                c::CLIENT_MISSED_ROUNDS.add([&record.name, reason], 1);
            }
        }
    }

    /// Quantiles, and in a large fleet the worst clients.
    pub fn summarise(&self) {
        let clients = || self.clients.values();
        set_quantiles(&c::FLEET_TRAIN_LOSS, clients().filter_map(|c| c.loss));
        set_quantiles(
            &c::FLEET_STEP_SECONDS,
            clients().filter_map(|c| c.step_seconds),
        );
        if self.each() {
            return;
        }
        let high = |value: f64| (value, value);
        self.set_worst("train_loss", |_, client| client.loss.map(high));
        self.set_worst("step_seconds", |_, client| client.step_seconds.map(high));
        self.set_worst("missed_rounds", |number, _| {
            let missed = self.stats.clients.get(&number)?.missed();
            Some(high(f64::from(missed)))
        });
        // Worst is who was heard of longest ago.
        self.set_worst("last_seen", |_, client| {
            (client.state == ClientState::Training).then_some((-client.seen, client.seen))
        });
    }

    /// The worst clients, by how bad they are (first) and what is shown of it (second). Ranks that
    /// nobody takes are not a number.
    fn set_worst(&self, by: &str, badness: impl Fn(ClientId, &ClientSeries) -> Option<(f64, f64)>) {
        let clients = self.clients.iter();
        let mut worst: Vec<(f64, f64, ClientId)> = clients
            .filter_map(|(number, client)| {
                let (bad, shown) = badness(*number, client)?;
                Some((comparable(bad), shown, *number))
            })
            .collect();
        worst.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.2.cmp(&b.2)));
        for rank in 0..self.limit {
            let taken = worst.get(rank);
            let labels = [by, &(rank + 1).to_string()];
            c::WORST_CLIENT_VALUE.set(labels, taken.map_or(f64::NAN, |t| t.1));
            c::WORST_CLIENT_NUMBER.set(labels, taken.map_or(f64::NAN, |t| f64::from(t.2.0)));
        }
    }

    /// The client, marked as seen now, and whether it has a separate series.
    fn seen(&mut self, client: ClientId) -> Option<(bool, &mut ClientSeries)> {
        let each = self.each();
        let client = self.clients.get_mut(&client)?;
        client.seen = unix_seconds();
        if each {
            c::CLIENT_LAST_SEEN.set([&client.name], client.seen);
        }
        Some((each, client))
    }
}

impl ClientSeries {
    fn start(&self) {
        let name = self.name.as_str();
        c::CLIENT_STATE.set([name], code(self.state));
        c::CLIENT_LAST_SEEN.set([name], self.seen);
        c::CLIENT_LAST_UPDATE.set([name], 0.0);
        for counter in [
            &c::CLIENT_EXAMPLES,
            &c::CLIENT_STEPS,
            &c::CLIENT_STALE_UPDATES,
            &c::CLIENT_RESTARTS,
        ] {
            counter.add([name], 0);
        }
        for direction in DIRECTIONS {
            c::CLIENT_BYTES.add([name, direction], 0);
        }
        for reason in OUTCOMES.into_iter().filter(|o| *o != Outcome::Aggregated) {
            c::CLIENT_MISSED_ROUNDS.add([name, outcome_name(reason)], 0);
        }
    }
}

const DIRECTIONS: [&str; 2] = ["up", "down"];

/// Every outcome of a client's round.
const OUTCOMES: [Outcome; 6] = [
    Outcome::Aggregated,
    Outcome::Refused,
    Outcome::Dropped,
    Outcome::Late,
    Outcome::Lost,
    Outcome::Failed,
];

/// The outcome's name as in `rounds.jsonl`.
fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Aggregated => "aggregated",
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
