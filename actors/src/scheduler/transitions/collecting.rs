//! The transitions of a collection: from the opening of a round to its last update.

use std::collections::BTreeMap;

use crate::ids::{ClientId, JobId, LaneId};
use crate::protocol::command::Command;
use crate::protocol::job::{UpdateInfo, Work};
use crate::protocol::outcome::RunError;
use crate::scheduler::in_flight::{Due, JobState};
use crate::scheduler::phases::collect::{Next, Review};
use crate::scheduler::phases::{collect, launch, leave, upload};
use crate::scheduler::round::Round;
use crate::scheduler::{Phase, Scheduler};

impl Scheduler {
    pub(in crate::scheduler) fn open_next_round(&mut self) {
        self.phase = Phase::Opening;
        self.state.round += 1;
        let number = self.state.round;
        self.lifecycle.reached = self.lifecycle.reached.max(number);
        self.round = Round::new(self.lifecycle.run, number, self.output.wall);
        launch::open_round(&self.state, &mut self.output);
    }

    pub(in crate::scheduler) fn round_opened(
        &mut self,
        round: u32,
        bytes_down: BTreeMap<Option<u32>, u64>,
    ) {
        if !self.expects(Phase::Opening, round) {
            return;
        }
        self.phase = Phase::Collecting;
        self.round.bytes_down = bytes_down;
        launch::broadcast(
            &self.plan,
            &mut self.environment,
            &mut self.state,
            &mut self.round,
            &mut self.output,
        );
        self.review();
        self.advance();
    }

    pub(in crate::scheduler) fn update_received(&mut self, id: JobId, info: UpdateInfo) {
        if self.state.in_flight.is_busy(id) {
            self.finish_job(id, JobState::Done(info));
        } else {
            collect::report_stale_reply(&mut self.state, &mut self.output, id);
            self.output.discard(id);
        }
    }

    pub(in crate::scheduler) fn job_failed(
        &mut self,
        id: JobId,
        lane: Option<LaneId>,
        reason: String,
        work: Work,
    ) {
        collect::warn_of_failure(&self.state.in_flight, id, lane, &reason);
        if self.state.in_flight.is_busy(id) {
            self.finish_job(id, JobState::Failed { reason, work });
        } else {
            collect::report_stale_reply(&mut self.state, &mut self.output, id);
        }
    }

    /// A client's actor died, and its job with it. A job that was on its way to the actor, which no
    /// longer took it, goes to the next one: whether it was too late must not change the outcome.
    /// An actor that died without a job died of the one that it was sent, which fails.
    pub(in crate::scheduler) fn client_died(
        &mut self,
        client: ClientId,
        job: Option<(JobId, Work)>,
    ) {
        self.output.push(Command::Restart(client));
        let Some(waiting) = self.state.in_flight.busy_job(client) else {
            return;
        };
        let id = waiting.id;
        match job {
            Some((ended, _)) if ended != id => {
                let command = waiting.train_command(&self.plan);
                self.output.push(command);
            }
            job => {
                let work = job.map_or_else(Work::default, |(_, work)| work);
                let reason = "the client crashed".into();
                self.finish_job(id, JobState::Failed { reason, work });
            }
        }
    }

    /// The machine is done with a job.
    fn finish_job(&mut self, id: JobId, state: JobState) {
        collect::finish_job(&self.plan, &mut self.state.in_flight, id, state);
        match self.phase {
            Phase::Collecting => self.advance(),
            Phase::Settling => self.save_when_settled(),
            _ => {}
        }
    }

    /// Advances virtual time for as long as all that is needed to decide is known.
    pub(in crate::scheduler) fn advance(&mut self) {
        while self.phase == Phase::Collecting {
            match collect::next_due(&self.plan, &mut self.state.in_flight) {
                Next::Due(due) => self.handle_due(due),
                Next::After(seconds) => return self.output.push(Command::WakeAfter(seconds)),
                Next::Unknown => return,
            }
        }
    }

    fn handle_due(&mut self, due: Due) {
        match due {
            Due::Trained(id) => self.trained(id),
            Due::Left(id) => self.left(id),
            Due::Arrived(id) => self.arrived(id),
            Due::Again(id) => upload::arrive_again(&mut self.state, &mut self.output, id),
            Due::Deadline { round, attempt } => {
                if (round, attempt) == (self.round.number, self.round.attempt) {
                    self.close();
                }
            }
            Due::Wake { round } => {
                if self.round.waiting && round == self.round.number {
                    self.select_more(0);
                    self.review();
                }
            }
        }
    }

    fn trained(&mut self, id: JobId) {
        let sent = upload::begin_upload(&self.plan, &mut self.state.in_flight, id);
        if let Err(reason) = sent
            && leave::fail_client(
                &self.plan,
                &mut self.state,
                &mut self.round,
                &mut self.lifecycle,
                &mut self.output,
                id,
                reason,
            )
        {
            self.job_ended();
        }
    }

    fn left(&mut self, id: JobId) {
        if leave::leave(
            &self.plan,
            &mut self.state,
            &mut self.round,
            &mut self.lifecycle,
            &mut self.output,
            id,
        ) {
            self.job_ended();
        }
    }

    fn arrived(&mut self, id: JobId) {
        if upload::arrive(
            &self.plan,
            &mut self.state,
            &mut self.round,
            &mut self.output,
            id,
        ) {
            self.job_ended();
        }
    }

    /// A job has ended: another client starts in its place, if the policy asks for that, and the
    /// round may close.
    fn job_ended(&mut self) {
        if self.plan.policy.is_buffered() && self.round.arrived() < self.round.target {
            self.select_more(0);
        }
        self.review();
    }

    /// Selects as many clients as are missing, at least `minimum`, if they are available.
    pub(in crate::scheduler) fn select_more(&mut self, minimum: usize) {
        let missing = collect::missing(&self.plan, &self.state.in_flight, &self.round);
        launch::select_more(
            &self.plan,
            &mut self.environment,
            &mut self.state,
            &mut self.round,
            &mut self.output,
            missing.max(minimum),
        );
    }

    /// Closes the round if nothing more is to come.
    pub(in crate::scheduler) fn review(&mut self) {
        if self.phase != Phase::Collecting {
            return;
        }
        let review = collect::review(
            &self.plan,
            &mut self.environment,
            &mut self.state,
            &mut self.round,
        );
        match review {
            Review::Open => {}
            Review::Close => self.close(),
            Review::NobodyLeft => {
                let last_failure = self.lifecycle.last_failure.take();
                self.fail(RunError::NobodyLeft {
                    round: self.round.number,
                    last_failure,
                });
            }
        }
    }
}
