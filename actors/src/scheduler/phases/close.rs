//! The end of a collection: late updates, too few updates, and what the server aggregates.

use crate::clock::VirtualTime;
use crate::plan::policy::{Late, OnTooFew, RoundPolicy};
use crate::protocol::command::ServerCommand;
use crate::protocol::event::Event;
use crate::protocol::json::finite_or_nan;
use crate::protocol::outcome::RunError;
use crate::protocol::round_record::Outcome;
use crate::scheduler::Phase;
use crate::scheduler::Scheduler;
use crate::scheduler::in_flight::Due;
use crate::workload::update::{Aggregation, Scores};

impl Scheduler {
    /// Ends the collection.
    pub(in crate::scheduler) fn close(&mut self) {
        if !self.plan.policy.is_buffered() {
            self.sort_out_late();
        }
        let updates = self.round.arrived();
        if updates >= self.needed() {
            return self.aggregate();
        }
        match self.plan.too_few.then {
            OnTooFew::Retry { attempts } if self.round.attempt < attempts => self.retry(),
            OnTooFew::Skip => self.skip(),
            OnTooFew::Retry { .. } | OnTooFew::Stop => self.fail(RunError::TooFewUpdates {
                round: self.round.number,
                updates: updates as u32,
                needed: self.needed() as u32,
            }),
        }
    }

    /// Updates without which a round has too few.
    fn needed(&self) -> usize {
        let minimum = self.plan.too_few.minimum;
        let needed = match self.plan.policy {
            RoundPolicy::Quorum { updates, .. } | RoundPolicy::Buffered { updates, .. } => {
                minimum.max(updates)
            }
            _ => minimum,
        };
        needed as usize
    }

    /// Gives up the jobs of this round that are still out, or marks them as late.
    fn sort_out_late(&mut self) {
        let number = self.round.number;
        let out = self.state.in_flight.values();
        let out = out.filter(|job| job.id.round == number && !job.late);
        let out: Vec<_> = out.map(|job| job.id).collect();
        for id in out {
            let Some(job) = self.take_job(id) else {
                continue;
            };
            self.emit(Event::UpdateLate {
                round: number,
                client: id.client,
                virtual_seconds: self.now(),
            });
            self.end_part(&job, Outcome::Late);
            if self.plan.policy.late() == Late::Cancel {
                self.cancel(&job);
                self.show_idle(id.client);
            } else {
                let mut job = job;
                job.late = true;
                self.state.in_flight.insert(id.client, job);
            }
        }
    }

    fn retry(&mut self) {
        self.round.attempt += 1;
        self.round.selected = 0;
        self.emit(Event::RoundRetried {
            round: self.round.number,
            attempt: self.round.attempt,
            updates: self.round.arrived() as u32,
            virtual_seconds: self.now(),
        });
        self.set_deadline();
        self.select_more(self.missing().max(1));
        self.review();
    }

    fn skip(&mut self) {
        let (round, updates) = (self.round.number, self.round.arrived() as u32);
        self.round.skipped = Some(format!(
            "the round was skipped: {updates} of {} updates came",
            self.needed()
        ));
        self.emit(Event::RoundSkipped {
            round,
            updates,
            virtual_seconds: self.now(),
        });
        self.aggregate();
    }

    /// Has the server aggregate what arrived, or nothing; before that it may crash.
    fn aggregate(&mut self) {
        let round = self.round.number;
        if let Some(downtime) = self.faults.server_downtime(round) {
            self.emit(Event::ServerCrashed {
                round,
                virtual_seconds: self.now(),
            });
            if self.crashed.insert(round) {
                return self.recover();
            }
            // All was done again up to here, and time goes on.
            let back: VirtualTime = self.state.clock.now().after(downtime);
            self.state.clock.advance_to(back);
            self.emit(Event::ServerRecovered {
                round,
                virtual_seconds: self.now(),
            });
        }
        self.phase = Phase::Aggregating;
        self.round.seconds.train = self.wall - self.round.began;
        self.round.began = self.wall;
        let mut updates = self.round.updates();
        if self.round.skipped.is_some() {
            for update in std::mem::take(&mut updates) {
                let id = update.id;
                self.ask_server(ServerCommand::Discard { id });
            }
        }
        self.ask_server(ServerCommand::Aggregate { round, updates });
    }

    pub(in crate::scheduler) fn aggregated(&mut self, aggregation: Aggregation) {
        let seconds = self.wall - self.round.began;
        self.round.seconds.aggregate = seconds;
        self.round.began = self.wall;
        self.emit(Event::Aggregated {
            round: self.round.number,
            aggregation: aggregation.clone(),
            seconds,
        });
        self.round.aggregation = aggregation;
        if self.evaluation_is_due() {
            self.phase = Phase::Evaluating;
            self.ask_server(ServerCommand::Evaluate {
                round: self.round.number,
            });
        } else {
            self.finish_round();
        }
    }

    pub(in crate::scheduler) fn is_last_round(&self) -> bool {
        self.state.round >= self.plan.rounds
    }

    fn evaluation_is_due(&self) -> bool {
        let every = self.plan.eval_every;
        every > 0 && (self.round.number.is_multiple_of(every) || self.is_last_round())
    }

    pub(in crate::scheduler) fn evaluated(&mut self, round: u32, scores: Scores) {
        let last = self.phase == Phase::LastEvaluation;
        if !(last || self.expects(Phase::Evaluating, round)) {
            return;
        }
        let seconds = self.wall - self.round.began;
        let scores: Scores = scores
            .into_iter()
            .map(|(name, score)| (name, finite_or_nan(score)))
            .collect();
        self.emit(Event::Evaluated {
            round,
            scores: scores.clone(),
            seconds,
        });
        if last {
            if let Some(last) = &mut self.state.last {
                last.eval = Some(scores);
            }
            self.finish();
        } else {
            self.round.seconds.evaluate = seconds;
            self.round.scores = Some(scores);
            self.finish_round();
        }
    }

    fn finish_round(&mut self) {
        let record = self.round.record(self.state.clock.now());
        self.state.note_outcome(&record);
        let is_new = self.state.recorded == self.told;
        self.emit(Event::RoundFinished(record.clone()));
        if is_new {
            self.server_failures = 0;
        }
        self.state.last = Some(record);
        self.forget_deadline();
        self.between_rounds();
    }

    /// A deadline that was not needed stands for nothing any more.
    fn forget_deadline(&mut self) {
        let number = self.round.number;
        self.state.clock.retain(|due| {
            !matches!(due, Due::Deadline { round, .. } | Due::Wake { round } if *round <= number)
        });
    }
}
