//! The transitions at the end of a round: too few updates, aggregation, evaluation.

use crate::protocol::command::ServerCommand;
use crate::scheduler::phases::close::Closing;
use crate::scheduler::phases::{close, launch, recover};
use crate::scheduler::{Phase, Scheduler};
use crate::workload::update::{Aggregation, Scores};

impl Scheduler {
    /// Ends the collection.
    pub(in crate::scheduler) fn close(&mut self) {
        close::end_late_jobs(
            &self.plan,
            &mut self.state,
            &mut self.round,
            &mut self.output,
        );
        match close::decide(&self.plan, &self.round) {
            Closing::Aggregate => self.aggregate(),
            Closing::Retry => self.retry(),
            Closing::Skip => {
                close::skip(
                    &self.plan,
                    &mut self.state,
                    &mut self.round,
                    &mut self.output,
                );
                self.aggregate();
            }
            Closing::Fail(error) => self.fail(error),
        }
    }

    fn retry(&mut self) {
        close::begin_attempt(&mut self.state, &mut self.round, &mut self.output);
        launch::set_deadline(&self.plan, &self.round, &mut self.state.in_flight);
        self.select_more(1);
        self.review();
    }

    /// Has the server aggregate; before that it may crash as planned.
    fn aggregate(&mut self) {
        let round = self.round.number;
        if let Some(downtime) = self.environment.server_downtime(round) {
            recover::report_crash(&mut self.state, &mut self.output);
            if self.lifecycle.crash_server(round) {
                return self.recover();
            }
            recover::end_crash(&mut self.state, &mut self.output, downtime);
        }
        self.phase = Phase::Aggregating;
        close::aggregate(&mut self.round, &mut self.output);
    }

    pub(in crate::scheduler) fn aggregated(&mut self, round: u32, aggregation: Aggregation) {
        if !self.expects(Phase::Aggregating, round) {
            return;
        }
        close::note_aggregation(
            &mut self.state,
            &mut self.round,
            &mut self.output,
            aggregation,
        );
        if close::evaluation_is_due(&self.plan, &self.state) {
            self.phase = Phase::Evaluating;
            self.output
                .send_to_server(ServerCommand::Evaluate { round });
        } else {
            self.finish_round();
        }
    }

    pub(in crate::scheduler) fn evaluated(&mut self, round: u32, scores: Scores) {
        let is_last = self.phase == Phase::LastEvaluation;
        if !(is_last || self.expects(Phase::Evaluating, round)) {
            return;
        }
        let seconds = self.output.wall - self.round.began;
        let scores =
            close::report_scores(&mut self.state, &mut self.output, round, scores, seconds);
        if is_last {
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
        close::finish_round(
            &mut self.state,
            &self.round,
            &mut self.lifecycle,
            &mut self.output,
        );
        self.between_rounds();
    }
}
