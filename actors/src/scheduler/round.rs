//! The current round: who was selected, and how each client's part ended.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::VirtualTime;
use crate::ids::{ClientId, Digest, JobId, RunId};
use crate::plan::FederationPlan;
use crate::protocol::command::SelectedUpdate;
use crate::protocol::json::finite_or_nan;
use crate::protocol::round_record::{ClientRecord, Outcome, PhaseSeconds, RoundRecord};
use crate::scheduler::in_flight::{InFlight, InFlightJob};
use crate::workload::update::{Aggregation, Measures, Refusal, Scores};

/// What is known of the current round.
#[derive(Debug)]
pub(super) struct Round {
    /// The run that its jobs belong to.
    run: RunId,
    /// From 1; 0 before the first.
    pub number: u32,
    pub attempt: u32,
    /// Wall time when the current phase began.
    pub began: f64,
    pub seconds: PhaseSeconds,
    pub scores: Option<Scores>,
    pub aggregation: Aggregation,
    /// Bytes to download for the round's state, by the round whose state a client holds.
    pub bytes_down: BTreeMap<Option<u32>, u64>,
    /// Updates that close the round.
    pub target: usize,
    /// Clients that this attempt selected.
    pub selected: usize,
    /// Jobs of this round that are under way and not late.
    pub pending: usize,
    /// Whether it waits for a client to become available.
    pub waiting: bool,
    /// Why the updates that arrived are not aggregated, if they are not.
    pub skipped: Option<String>,
    parts: BTreeMap<ClientId, Part>,
    arrived: usize,
}

/// One client's part, ended.
#[derive(Debug)]
struct Part {
    record: ClientRecord,
    /// Its update, if that arrived.
    update: Option<SelectedUpdate>,
}

impl Round {
    /// A round that begins at `began` wall seconds.
    pub fn new(run: RunId, number: u32, began: f64) -> Self {
        Self {
            run,
            number,
            attempt: 0,
            began,
            seconds: PhaseSeconds::default(),
            scores: None,
            bytes_down: BTreeMap::new(),
            target: usize::MAX,
            selected: 0,
            pending: 0,
            waiting: false,
            skipped: None,
            parts: BTreeMap::new(),
            arrived: 0,
            aggregation: Aggregation {
                exactness_error: None,
                measures: Measures::new(),
                state_digest: Digest(String::new()),
                refused: Vec::new(),
            },
        }
    }

    /// The id of a client's job in the current attempt.
    pub fn job_id(&self, client: ClientId) -> JobId {
        JobId {
            run: self.run,
            round: self.number,
            client,
            attempt: self.attempt,
        }
    }

    /// Takes a job out of those under way; counts it off if the round still waited for it.
    pub fn take_job(&mut self, in_flight: &mut InFlight, id: JobId) -> Option<InFlightJob> {
        let job = in_flight.remove(id)?;
        if job.id.round == self.number && !job.late {
            self.pending -= 1;
        }
        Some(job)
    }

    /// Notes how a job ended without an update that counts, unless one of its client does.
    pub fn end_part(&mut self, plan: &FederationPlan, job: &InFlightJob, outcome: Outcome) {
        if !self.has(job.id.client) {
            self.add_part(plan, job, outcome, None);
        }
    }

    /// Notes that a job's update arrived, and what it weighs.
    pub fn add_update(&mut self, plan: &FederationPlan, job: &InFlightJob, weight: f64) {
        let update = SelectedUpdate { id: job.id, weight };
        self.add_part(plan, job, Outcome::Aggregated, Some(update));
        self.arrived += 1;
    }

    fn add_part(
        &mut self,
        plan: &FederationPlan,
        job: &InFlightJob,
        outcome: Outcome,
        update: Option<SelectedUpdate>,
    ) {
        let client = job.id.client;
        let name = &plan.clients[client.0 as usize].name;
        let record = job.record(name, outcome);
        self.parts.insert(client, Part { record, update });
    }

    /// Whether an update of this client arrived.
    pub fn has(&self, client: ClientId) -> bool {
        self.parts
            .get(&client)
            .is_some_and(|part| part.update.is_some())
    }

    /// Updates that arrived.
    pub fn arrived(&self) -> usize {
        self.arrived
    }

    /// The updates that arrived, in client order.
    pub fn updates(&self) -> Vec<SelectedUpdate> {
        self.parts.values().filter_map(|part| part.update).collect()
    }

    /// The finished round.
    pub fn record(&self, now: VirtualTime) -> RoundRecord {
        let refused = self.refused();
        let clients: BTreeSet<_> = refused.iter().map(|r| r.client).collect();
        let with_outcome = |part: &Part| {
            let mut record = part.record.clone();
            if clients.contains(&record.client) {
                record.outcome = Outcome::Refused;
            }
            record
        };
        RoundRecord {
            round: self.number,
            train_loss: self.train_loss(),
            clients: self.parts.values().map(with_outcome).collect(),
            eval: self.scores.clone(),
            exactness_error: self.aggregation.exactness_error,
            measures: self.aggregation.measures.clone(),
            virtual_seconds: now.seconds(),
            seconds: self.seconds,
            state_digest: self.aggregation.state_digest.clone(),
            refused,
        }
    }

    fn refused(&self) -> Vec<Refusal> {
        let Some(reason) = &self.skipped else {
            return self.aggregation.refused.clone();
        };
        let refuse = |update: SelectedUpdate| Refusal {
            client: update.id.client,
            reason: reason.clone(),
        };
        self.updates().into_iter().map(refuse).collect()
    }

    /// Mean of the losses of the updates that arrived, weighted by examples, summed in client
    /// order. A loss that is not a number counts only if all are.
    fn train_loss(&self) -> Option<f64> {
        let arrived = self.parts.values().filter(|part| part.update.is_some());
        let arrived = arrived.filter(|part| part.record.examples > 0);
        let (mut examples, mut total, mut came) = (0, 0.0, false);
        for ClientRecord {
            loss,
            examples: own,
            ..
        } in arrived.map(|part| &part.record)
        {
            came = true;
            if let Some(loss) = loss.filter(|loss| loss.is_finite()) {
                examples += own;
                total += loss * *own as f64;
            }
        }
        // The sum of finite losses may be infinite.
        came.then(|| finite_or_nan(total / examples as f64))
    }
}
