//! From the broadcast to the last update: virtual time meets what the machine has done.

use super::state::{Due, InFlightJob, JobState, LastParticipation};
use super::{Command, Phase, Scheduler};
use crate::event::Event;
use crate::learner::{ClientId, LaneId};
use crate::message::{JobId, ServerCommand, UpdateInfo, Work};
use crate::plan::ClockMode;
use crate::policy::Late;
use crate::record::{ClientRecord, Outcome};
use crate::run::RunError;

impl Scheduler {
    pub(super) fn receive(&mut self, stamp: JobId, receipt: UpdateInfo) {
        if self.state.is_busy(stamp) {
            self.settle(stamp, JobState::Done(receipt));
        } else {
            self.stale(stamp);
            self.ask_server(ServerCommand::Discard { stamp });
        }
    }

    pub(super) fn job_failed(
        &mut self,
        stamp: JobId,
        lane: Option<LaneId>,
        reason: String,
        work: Work,
    ) {
        let Some(flight) = self.state.flight(stamp) else {
            return self.stale(stamp);
        };
        if flight.strikes.cut.is_none() {
            let (client, round) = (stamp.client, stamp.round);
            let on = lane.map_or_else(String::new, |lane| format!(" on lane {}", lane.0));
            tracing::warn!("client {client}'s job of round {round} failed{on}: {reason}");
        }
        if self.state.is_busy(stamp) {
            self.settle(stamp, JobState::Failed { reason, work });
        } else {
            self.stale(stamp);
        }
    }

    pub(super) fn client_died(&mut self, client: ClientId, job: Option<(JobId, Work)>) {
        self.commands.push(Command::Restart(client));
        if let Some((stamp, work)) = job
            && self.state.is_busy(stamp)
        {
            let reason = "the client crashed".into();
            self.settle(stamp, JobState::Failed { reason, work });
        }
    }

    fn stale(&mut self, stamp: JobId) {
        self.emit(Event::StaleReply {
            round: stamp.round,
            client: stamp.client,
        });
    }

    /// The machine is done with a job.
    fn settle(&mut self, stamp: JobId, machine: JobState) {
        let Some(flight) = self.state.flight(stamp) else {
            return;
        };
        flight.machine = machine;
        if let ClockMode::Wall { .. } = self.plan.clock {
            self.schedule_measured(stamp);
        }
        match self.phase {
            Phase::Collecting => self.advance(),
            Phase::Settling => self.save_when_settled(),
            _ => {}
        }
    }

    /// With the wall's clock a job takes as long as it took, and a straggler's longer.
    fn schedule_measured(&mut self, stamp: JobId) {
        let now = self.state.clock.now();
        let Some(flight) = self.state.flight(stamp) else {
            return;
        };
        let took = now.seconds() - flight.asked.seconds();
        let slowdown = flight.strikes.slowdown.max(1.0);
        let cut = flight.strikes.cut.is_some();
        let due = flight.asked.after(took * slowdown);
        let what = if cut {
            Due::Left(stamp)
        } else {
            Due::Trained(stamp)
        };
        self.state.clock.schedule(due, what);
    }

    /// Lets virtual time go on for as long as all that is needed to decide is known.
    pub(super) fn advance(&mut self) {
        while self.phase == Phase::Collecting {
            let Some((due, what)) = self.state.clock.peek() else {
                return;
            };
            match what {
                Due::Trained(stamp) | Due::Left(stamp) if self.state.is_busy(*stamp) => return,
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
            Due::Trained(stamp) => self.begin_upload(stamp),
            Due::Left(stamp) => self.leave(stamp),
            Due::Arrived(stamp) => self.arrive(stamp),
            Due::Again(stamp) => self.emit(Event::UpdateDuplicated {
                round: stamp.round,
                client: stamp.client,
                virtual_seconds: self.now(),
            }),
            Due::Deadline { round, attempt } => {
                if (round, attempt) == (self.round.number, self.round.attempt) {
                    self.close();
                }
            }
            Due::Wake { round } => {
                if self.round.waiting && round == self.round.number {
                    self.ask_more(self.missing());
                    self.review();
                }
            }
        }
    }

    fn begin_upload(&mut self, stamp: JobId) {
        let now = self.state.clock.now();
        let profile = &self.plan.clients[stamp.client.0 as usize].profile;
        let Some(flight) = self.state.flights.get_mut(&stamp.client) else {
            return;
        };
        if flight.stamp != stamp {
            return;
        }
        match &flight.machine {
            JobState::Busy => {}
            JobState::Done(receipt) => {
                flight.sending = true;
                let way = profile.upload_seconds(receipt.bytes_up) * flight.strikes.link;
                let due = now.after(way + flight.strikes.late);
                let (due, what) = if flight.until < due {
                    (flight.until, Due::Left(stamp))
                } else {
                    (due, Due::Arrived(stamp))
                };
                self.state.clock.schedule(due, what);
            }
            JobState::Failed { reason, .. } => {
                let reason = reason.clone();
                self.client_failed(stamp, reason);
            }
        }
    }

    fn arrive(&mut self, stamp: JobId) {
        let Some(flight) = self.take_flight(stamp) else {
            return;
        };
        let JobState::Done(receipt) = &flight.machine else {
            return;
        };
        if let Some(delay) = flight.strikes.duplicate {
            let again = self.state.clock.now().after(delay);
            self.state.clock.schedule(again, Due::Again(stamp));
        }
        if flight.strikes.lost {
            self.lose(&flight);
        } else if let Some(weight) = self.weight(&flight) {
            self.accept(&flight, receipt.clone(), weight);
        } else {
            self.drop_stale(stamp);
        }
        self.ended_one();
    }

    /// What an update that arrives now weighs; `None`: nothing, it is too late.
    fn weight(&self, flight: &InFlightJob) -> Option<f64> {
        let staleness = self.round.number - flight.stamp.round;
        match self.plan.policy.late() {
            Late::Carry(by) => by.weight(staleness),
            Late::Stale | Late::Refuse => (staleness == 0 && !flight.late).then_some(1.0),
        }
    }

    fn accept(&mut self, flight: &InFlightJob, receipt: UpdateInfo, weight: f64) {
        let (stamp, now) = (flight.stamp, self.state.clock.now());
        self.state.member(stamp.client).tried = Some(LastParticipation {
            round: self.round.number,
            loss: receipt.loss,
            examples: receipt.examples,
            seconds: now.seconds() - flight.asked.seconds(),
        });
        let record = self.part(flight, Outcome::Folded);
        self.round.arrive(record, stamp, weight);
        self.emit(Event::UpdateReceived {
            round: stamp.round,
            client: stamp.client,
            loss: receipt.loss,
            examples: receipt.examples,
            steps: receipt.steps,
            bytes_up: receipt.bytes_up,
            digest: receipt.digest,
            seconds: receipt.seconds,
            virtual_seconds: now.seconds(),
        });
        self.show_idle(stamp.client);
    }

    fn lose(&mut self, flight: &InFlightJob) {
        let stamp = flight.stamp;
        self.emit(Event::UpdateLost {
            round: stamp.round,
            client: stamp.client,
            virtual_seconds: self.now(),
        });
        self.ask_server(ServerCommand::Discard { stamp });
        self.end_part(flight, Outcome::Lost);
    }

    fn drop_stale(&mut self, stamp: JobId) {
        self.emit(Event::UpdateStale {
            round: stamp.round,
            client: stamp.client,
            staleness: self.round.number - stamp.round,
            virtual_seconds: self.now(),
        });
        self.ask_server(ServerCommand::Discard { stamp });
        self.show_idle(stamp.client);
    }

    /// Ends a job; counts it off if the round still waited for it.
    pub(super) fn take_flight(&mut self, stamp: JobId) -> Option<InFlightJob> {
        self.state.flight(stamp)?;
        let flight = self.state.flights.remove(&stamp.client)?;
        if flight.stamp.round == self.round.number && !flight.late {
            self.round.pending -= 1;
        }
        Some(flight)
    }

    /// Notes how a job ended without an update that counts.
    pub(super) fn end_part(&mut self, flight: &InFlightJob, outcome: Outcome) {
        if !self.round.has(flight.stamp.client) {
            let record = self.part(flight, outcome);
            self.round.end(record);
        }
    }

    fn part(&self, flight: &InFlightJob, outcome: Outcome) -> ClientRecord {
        let client = flight.stamp.client;
        let receipt = flight.sent();
        // What the machine has done counts only where the clock has waited for it.
        let ended = matches!(outcome, Outcome::Dropped | Outcome::Failed);
        let work = match &flight.machine {
            JobState::Failed { work, .. } if ended => *work,
            _ => Work::default(),
        };
        ClientRecord {
            client,
            name: self.name(client).to_owned(),
            outcome,
            loss: receipt.map(|r| r.loss),
            examples: receipt.map_or(work.examples, |r| r.examples),
            steps: receipt.map_or(work.steps, |r| r.steps),
            bytes_up: receipt.map_or(0, |r| r.bytes_up),
            bytes_down: flight.bytes_down,
            seconds: receipt.map_or(0.0, |r| r.seconds),
        }
    }

    /// A job has ended: a client starts in its place, if the round asks for that, and the round
    /// may be over.
    pub(super) fn ended_one(&mut self) {
        if self.plan.policy.is_buffered() && self.round.arrived() < self.round.target {
            self.ask_more(self.missing());
        }
        self.review();
    }

    /// Clients to ask to have as many as the plan wants.
    pub(super) fn missing(&self) -> usize {
        let there = if self.plan.policy.is_buffered() {
            self.state.flights.len()
        } else {
            self.round.arrived() + self.round.pending
        };
        self.wanted().saturating_sub(there)
    }

    /// Closes the round if nothing more is to come, or waits for somebody to be there.
    pub(super) fn review(&mut self) {
        if self.phase != Phase::Collecting {
            return;
        }
        if self.round.arrived() >= self.round.target {
            return self.close();
        }
        let buffered = self.plan.policy.is_buffered();
        if self.round.pending > 0 || (buffered && !self.state.flights.is_empty()) {
            return;
        }
        if self.round.asked > 0 && !buffered {
            return self.close();
        }
        self.wait_for_somebody();
    }

    /// Nobody works for this round: waits for whoever comes first.
    fn wait_for_somebody(&mut self) {
        if self.round.waiting || !self.state.flights.is_empty() {
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
    pub(super) fn cancel(&mut self, flight: &InFlightJob) {
        let stamp = flight.stamp;
        match flight.machine {
            JobState::Busy => self.commands.push(Command::Cancel(stamp)),
            JobState::Done(_) => self.ask_server(ServerCommand::Discard { stamp }),
            JobState::Failed { .. } => {}
        }
    }
}
