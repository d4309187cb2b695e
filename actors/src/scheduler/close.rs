//! The end of a collection: late updates, too few updates, and what the server folds.

use super::state::Due;
use super::{Phase, Scheduler};
use crate::clock::VirtualTime;
use crate::event::Event;
use crate::learner::{Aggregation, Scores};
use crate::lenient::finite_or_nan;
use crate::message::ServerCommand;
use crate::policy::{Late, OnTooFew, RoundPolicy};
use crate::record::Outcome;
use crate::run::RunError;

impl Scheduler {
    /// Ends the collection.
    pub(super) fn close(&mut self) {
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
        let out = self.state.flights.values();
        let out = out.filter(|flight| flight.stamp.round == number && !flight.late);
        let out: Vec<_> = out.map(|flight| flight.stamp).collect();
        for stamp in out {
            let Some(flight) = self.take_flight(stamp) else {
                continue;
            };
            self.emit(Event::UpdateLate {
                round: number,
                client: stamp.client,
                virtual_seconds: self.now(),
            });
            self.end_part(&flight, Outcome::Late);
            if self.plan.policy.late() == Late::Refuse {
                self.cancel(&flight);
                self.show_idle(stamp.client);
            } else {
                let mut flight = flight;
                flight.late = true;
                self.state.flights.insert(stamp.client, flight);
            }
        }
    }

    fn retry(&mut self) {
        self.round.attempt += 1;
        self.round.asked = 0;
        self.emit(Event::RoundRetried {
            round: self.round.number,
            attempt: self.round.attempt,
            updates: self.round.arrived() as u32,
            virtual_seconds: self.now(),
        });
        self.set_deadline();
        self.ask_more(self.missing().max(1));
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

    /// Has the server fold what arrived, or nothing; before that it may crash.
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
        let mut take = self.round.takes();
        if self.round.skipped.is_some() {
            for take in std::mem::take(&mut take) {
                let stamp = take.stamp;
                self.ask_server(ServerCommand::Discard { stamp });
            }
        }
        self.ask_server(ServerCommand::Aggregate { round, take });
    }

    pub(super) fn aggregated(&mut self, aggregation: Aggregation) {
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

    pub(super) fn is_last_round(&self) -> bool {
        self.state.round >= self.plan.rounds
    }

    fn evaluation_is_due(&self) -> bool {
        let every = self.plan.eval_every;
        every > 0 && (self.round.number.is_multiple_of(every) || self.is_last_round())
    }

    pub(super) fn evaluated(&mut self, round: u32, scores: Scores) {
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
        self.state.tell_apart(&record);
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
