//! From the broadcast to the last update: virtual time meets what the machine has done.

use crate::ids::{ClientId, JobId, LaneId};
use crate::plan::ClockMode;
use crate::plan::policy::Late;
use crate::protocol::command::{Command, ServerCommand};
use crate::protocol::event::Event;
use crate::protocol::job::{UpdateInfo, Work};
use crate::protocol::outcome::RunError;
use crate::protocol::round_record::{ClientRecord, Outcome};
use crate::scheduler::Phase;
use crate::scheduler::Scheduler;
use crate::scheduler::fleet::LastParticipation;
use crate::scheduler::in_flight::{Due, InFlightJob, JobState};

impl Scheduler {
    pub(in crate::scheduler) fn receive(&mut self, id: JobId, info: UpdateInfo) {
        if self.state.is_busy(id) {
            self.settle(id, JobState::Done(info));
        } else {
            self.stale(id);
            self.ask_server(ServerCommand::Discard { id });
        }
    }

    pub(in crate::scheduler) fn job_failed(
        &mut self,
        id: JobId,
        lane: Option<LaneId>,
        reason: String,
        work: Work,
    ) {
        let Some(job) = self.state.job(id) else {
            return self.stale(id);
        };
        if job.injected.interruption.is_none() {
            let (client, round) = (id.client, id.round);
            let on = lane.map_or_else(String::new, |lane| format!(" on lane {}", lane.0));
            tracing::warn!("client {client}'s job of round {round} failed{on}: {reason}");
        }
        if self.state.is_busy(id) {
            self.settle(id, JobState::Failed { reason, work });
        } else {
            self.stale(id);
        }
    }

    pub(in crate::scheduler) fn client_died(
        &mut self,
        client: ClientId,
        job: Option<(JobId, Work)>,
    ) {
        self.commands.push(Command::Restart(client));
        if let Some((id, work)) = job
            && self.state.is_busy(id)
        {
            let reason = "the client crashed".into();
            self.settle(id, JobState::Failed { reason, work });
        }
    }

    fn stale(&mut self, id: JobId) {
        self.emit(Event::StaleReply {
            round: id.round,
            client: id.client,
        });
    }

    /// The machine is done with a job.
    fn settle(&mut self, id: JobId, state: JobState) {
        let Some(job) = self.state.job(id) else {
            return;
        };
        job.state = state;
        if let ClockMode::Wall { .. } = self.plan.clock {
            self.schedule_measured(id);
        }
        match self.phase {
            Phase::Collecting => self.advance(),
            Phase::Settling => self.save_when_settled(),
            _ => {}
        }
    }

    /// With the wall's clock a job takes as long as it took, and a straggler's longer.
    fn schedule_measured(&mut self, id: JobId) {
        let now = self.state.clock.now();
        let Some(job) = self.state.job(id) else {
            return;
        };
        let took = now.seconds() - job.selected_at.seconds();
        let slowdown = job.injected.slowdown.max(1.0);
        let interruption = job.injected.interruption.is_some();
        let due = job.selected_at.after(took * slowdown);
        let what = if interruption {
            Due::Left(id)
        } else {
            Due::Trained(id)
        };
        self.state.clock.schedule(due, what);
    }

    /// Lets virtual time go on for as long as all that is needed to decide is known.
    pub(in crate::scheduler) fn advance(&mut self) {
        while self.phase == Phase::Collecting {
            let Some((due, what)) = self.state.clock.peek() else {
                return;
            };
            match what {
                Due::Trained(id) | Due::Left(id) if self.state.is_busy(*id) => return,
                _ => {}
            }
            if let ClockMode::Wall { scale } = self.plan.clock
                && due > self.state.clock.now()
            {
                let seconds = (due.seconds() - self.now()) / scale;
                return self.commands.push(Command::WakeAfter(seconds));
            }
            if let Some(what) = self.state.clock.pop() {
                self.happen(what);
            }
        }
    }

    fn happen(&mut self, what: Due) {
        match what {
            Due::Trained(id) => self.begin_upload(id),
            Due::Left(id) => self.leave(id),
            Due::Arrived(id) => self.arrive(id),
            Due::Again(id) => self.emit(Event::UpdateDuplicated {
                round: id.round,
                client: id.client,
                virtual_seconds: self.now(),
            }),
            Due::Deadline { round, attempt } => {
                if (round, attempt) == (self.round.number, self.round.attempt) {
                    self.close();
                }
            }
            Due::Wake { round } => {
                if self.round.waiting && round == self.round.number {
                    self.select_more(self.missing());
                    self.review();
                }
            }
        }
    }

    fn begin_upload(&mut self, id: JobId) {
        let now = self.state.clock.now();
        let profile = &self.plan.clients[id.client.0 as usize].profile;
        let Some(job) = self.state.in_flight.get_mut(&id.client) else {
            return;
        };
        if job.id != id {
            return;
        }
        match &job.state {
            JobState::Busy => {}
            JobState::Done(info) => {
                job.sending = true;
                let way = profile.upload_seconds(info.bytes_up) * job.injected.link;
                let due = now.after(way + job.injected.late);
                let (due, what) = if job.until < due {
                    (job.until, Due::Left(id))
                } else {
                    (due, Due::Arrived(id))
                };
                self.state.clock.schedule(due, what);
            }
            JobState::Failed { reason, .. } => {
                let reason = reason.clone();
                self.client_failed(id, reason);
            }
        }
    }

    fn arrive(&mut self, id: JobId) {
        let Some(job) = self.take_job(id) else {
            return;
        };
        let JobState::Done(info) = &job.state else {
            return;
        };
        if let Some(delay) = job.injected.duplicate {
            let again = self.state.clock.now().after(delay);
            self.state.clock.schedule(again, Due::Again(id));
        }
        if job.injected.lost {
            self.lose(&job);
        } else if let Some(weight) = self.weight(&job) {
            self.accept(&job, info.clone(), weight);
        } else {
            self.drop_stale(id);
        }
        self.ended_one();
    }

    /// What an update that arrives now weighs; `None`: nothing, it is too late.
    fn weight(&self, job: &InFlightJob) -> Option<f64> {
        let staleness = self.round.number - job.id.round;
        match self.plan.policy.late() {
            Late::Carry(by) => by.weight(staleness),
            Late::Discard | Late::Cancel => (staleness == 0 && !job.late).then_some(1.0),
        }
    }

    fn accept(&mut self, job: &InFlightJob, info: UpdateInfo, weight: f64) {
        let (id, now) = (job.id, self.state.clock.now());
        self.state.client(id.client).last = Some(LastParticipation {
            round: self.round.number,
            loss: info.loss,
            examples: info.examples,
            seconds: now.seconds() - job.selected_at.seconds(),
        });
        let record = self.part(job, Outcome::Aggregated);
        self.round.arrive(record, id, weight);
        self.emit(Event::UpdateReceived {
            round: id.round,
            client: id.client,
            loss: info.loss,
            examples: info.examples,
            steps: info.steps,
            bytes_up: info.bytes_up,
            digest: info.digest,
            seconds: info.seconds,
            virtual_seconds: now.seconds(),
        });
        self.show_idle(id.client);
    }

    fn lose(&mut self, job: &InFlightJob) {
        let id = job.id;
        self.emit(Event::UpdateLost {
            round: id.round,
            client: id.client,
            virtual_seconds: self.now(),
        });
        self.ask_server(ServerCommand::Discard { id });
        self.end_part(job, Outcome::Lost);
    }

    fn drop_stale(&mut self, id: JobId) {
        self.emit(Event::UpdateStale {
            round: id.round,
            client: id.client,
            staleness: self.round.number - id.round,
            virtual_seconds: self.now(),
        });
        self.ask_server(ServerCommand::Discard { id });
        self.show_idle(id.client);
    }

    /// Ends a job; counts it off if the round still waited for it.
    pub(in crate::scheduler) fn take_job(&mut self, id: JobId) -> Option<InFlightJob> {
        self.state.job(id)?;
        let job = self.state.in_flight.remove(&id.client)?;
        if job.id.round == self.round.number && !job.late {
            self.round.pending -= 1;
        }
        Some(job)
    }

    /// Notes how a job ended without an update that counts.
    pub(in crate::scheduler) fn end_part(&mut self, job: &InFlightJob, outcome: Outcome) {
        if !self.round.has(job.id.client) {
            let record = self.part(job, outcome);
            self.round.end(record);
        }
    }

    fn part(&self, job: &InFlightJob, outcome: Outcome) -> ClientRecord {
        let client = job.id.client;
        let info = job.sent();
        // What the machine has done counts only where the clock has waited for it.
        let ended = matches!(outcome, Outcome::Dropped | Outcome::Failed);
        let work = match &job.state {
            JobState::Failed { work, .. } if ended => *work,
            _ => Work::default(),
        };
        ClientRecord {
            client,
            name: self.name(client).to_owned(),
            outcome,
            loss: info.map(|r| r.loss),
            examples: info.map_or(work.examples, |r| r.examples),
            steps: info.map_or(work.steps, |r| r.steps),
            bytes_up: info.map_or(0, |r| r.bytes_up),
            bytes_down: job.bytes_down,
            seconds: info.map_or(0.0, |r| r.seconds),
        }
    }

    /// A job has ended: a client starts in its place, if the round asks for that, and the round
    /// may be over.
    pub(in crate::scheduler) fn ended_one(&mut self) {
        if self.plan.policy.is_buffered() && self.round.arrived() < self.round.target {
            self.select_more(self.missing());
        }
        self.review();
    }

    /// Clients to ask to have as many as the plan wants.
    pub(in crate::scheduler) fn missing(&self) -> usize {
        let there = if self.plan.policy.is_buffered() {
            self.state.in_flight.len()
        } else {
            self.round.arrived() + self.round.pending
        };
        self.wanted().saturating_sub(there)
    }

    /// Closes the round if nothing more is to come, or waits for somebody to be there.
    pub(in crate::scheduler) fn review(&mut self) {
        if self.phase != Phase::Collecting {
            return;
        }
        if self.round.arrived() >= self.round.target {
            return self.close();
        }
        let buffered = self.plan.policy.is_buffered();
        if self.round.pending > 0 || (buffered && !self.state.in_flight.is_empty()) {
            return;
        }
        if self.round.selected > 0 && !buffered {
            return self.close();
        }
        self.wait_for_somebody();
    }

    /// Nobody works for this round: waits for whoever comes first.
    fn wait_for_somebody(&mut self) {
        if self.round.waiting || !self.state.in_flight.is_empty() {
            return;
        }
        let (round, now) = (self.round.number, self.state.clock.now());
        match self.next_there() {
            Some(due) if due > now => {
                self.round.waiting = true;
                self.state.clock.schedule(due, Due::Wake { round });
            }
            _ if self.round.arrived() > 0 || self.anybody_left() => self.close(),
            _ => {
                let last_failure = self.last_failure.take();
                self.fail(RunError::NobodyLeft {
                    round,
                    last_failure,
                });
            }
        }
    }

    /// Gives a job up.
    pub(in crate::scheduler) fn cancel(&mut self, job: &InFlightJob) {
        let id = job.id;
        match job.state {
            JobState::Busy => self.commands.push(Command::Cancel(id)),
            JobState::Done(_) => self.ask_server(ServerCommand::Discard { id }),
            JobState::Failed { .. } => {}
        }
    }
}
