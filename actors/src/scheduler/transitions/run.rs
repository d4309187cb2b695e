//! The transitions of the run: its start, what comes between rounds, recovery, its end.

use crate::ids::LaneId;
use crate::protocol::command::ServerCommand;
use crate::protocol::control::ControlCommand;
use crate::protocol::event::Event;
use crate::protocol::outcome::{EndReason, RunError, ServerTask};
use crate::scheduler::environment::Environment;
use crate::scheduler::phases::{between, end, launch, leave, recover};
use crate::scheduler::state::State;
use crate::scheduler::{Phase, Scheduler};

impl Scheduler {
    /// A lane or the actors are up.
    pub(in crate::scheduler) fn part_started(&mut self) {
        let all = self.lifecycle.part_started();
        if self.phase == Phase::Starting && all {
            self.start();
        }
    }

    /// Introduces the run and opens its first round, or the one after the checkpoint.
    fn start(&mut self) {
        let resumed = self.lifecycle.resumed;
        launch::introduce_run(&self.plan, &mut self.state, &mut self.output, resumed);
        if resumed {
            self.continue_run();
        } else {
            self.open_next_round();
        }
    }

    /// A lane is gone. At the start that is an error, later only if no other is left.
    pub(in crate::scheduler) fn lane_failed(&mut self, lane: LaneId, reason: String) {
        let any_left = self.lifecycle.lane_failed();
        if self.phase == Phase::Starting || !any_left {
            return self.fail(RunError::Lane { lane, reason });
        }
        leave::report_lane_failure(&mut self.state, &mut self.output, lane, reason);
    }

    pub(in crate::scheduler) fn control(&mut self, command: ControlCommand) {
        match command {
            ControlCommand::StopNow => return self.end(Ok(EndReason::StoppedAtOnce)),
            ControlCommand::Pause => self.steering.paused = true,
            ControlCommand::Resume => self.steering.paused = false,
            ControlCommand::Checkpoint => self.steering.save_requested = true,
            _ => match self.intervention(command) {
                Ok(Some(intervention)) => self.steering.add(intervention),
                Ok(None) => {}
                Err(reason) => tracing::warn!("a command makes no sense and is left out: {reason}"),
            },
        }
        if self.phase == Phase::Paused {
            self.between_rounds();
        }
    }

    /// A round is over: the run ends, saves its state, or continues.
    pub(in crate::scheduler) fn between_rounds(&mut self) {
        if self.state.is_last_round(&self.plan) {
            match between::check_aggregated(&mut self.state) {
                Ok(()) => self.finish(),
                Err(error) => self.fail(error),
            }
        } else if between::save_is_due(&self.plan, &self.state, &self.steering, &self.lifecycle) {
            self.phase = Phase::Settling;
            self.save_when_settled();
        } else {
            self.continue_run();
        }
    }

    /// Saves once the machine is done with all jobs: their updates are saved too.
    pub(in crate::scheduler) fn save_when_settled(&mut self) {
        if !self.state.in_flight.is_settled() {
            return;
        }
        self.phase = Phase::Saving;
        let saving = between::save(&self.state, &mut self.steering, &mut self.output);
        if let Err(error) = saving {
            self.fail(error);
        }
    }

    pub(in crate::scheduler) fn saved(&mut self, round: u32, bytes: u64) {
        self.lifecycle.saved = Some(round);
        let event = Event::Checkpointed { round, bytes };
        self.output.emit(&mut self.state, event);
        if self.phase == Phase::Saving {
            self.continue_run();
        }
    }

    /// Follows the commands that are due, then stops, pauses, or opens the next round.
    fn continue_run(&mut self) {
        between::intervene(
            &mut self.state,
            &mut self.steering,
            &self.round,
            &mut self.output,
        );
        if self.steering.stop_requested {
            self.stop();
        } else if self.steering.paused {
            self.phase = Phase::Paused;
            let round = self.state.round;
            self.output.emit(&mut self.state, Event::Paused { round });
        } else {
            self.open_next_round();
        }
    }

    /// Told to stop: scores the state if the round did not, and leaves everything written.
    fn stop(&mut self) {
        if !between::lacks_evaluation(&self.plan, &self.state) {
            return self.finish();
        }
        self.phase = Phase::LastEvaluation;
        self.round.began = self.output.wall;
        let round = self.state.round;
        self.output
            .send_to_server(ServerCommand::Evaluate { round });
    }

    /// Has the server write what the run leaves behind.
    pub(in crate::scheduler) fn finish(&mut self) {
        self.phase = Phase::Finishing;
        let round = self.state.round;
        self.output.send_to_server(ServerCommand::Finish { round });
    }

    pub(in crate::scheduler) fn finished(&mut self) {
        if self.phase == Phase::Finishing {
            self.end(Ok(if self.state.is_last_round(&self.plan) {
                EndReason::Complete
            } else {
                EndReason::StoppedAfterRound
            }));
        }
    }

    /// Has the server built again, and waits for it.
    pub(in crate::scheduler) fn recover(&mut self) {
        self.phase = Phase::Recovering;
        recover::rebuild_server(
            &mut self.state.in_flight,
            &mut self.lifecycle,
            &mut self.output,
        );
    }

    /// The server is built again: continues from the state in its checkpoint, or from the start.
    pub(in crate::scheduler) fn recovered(&mut self, state: Option<Vec<u8>>) {
        if self.phase != Phase::Recovering {
            return;
        }
        let run = self.lifecycle.run;
        let restored = match state {
            Some(bytes) => recover::restore(&self.plan, &self.steering, run, &bytes),
            None => Ok(State::new(self.plan.clients.len())),
        };
        match restored {
            Ok(state) => self.state = state,
            Err(reason) => {
                let reason = format!("the checkpoint of the scheduler's state: {reason}");
                return self.fail(RunError::Broken(reason));
            }
        }
        self.environment = Environment::new(&self.plan);
        if self.state.round == 0 {
            self.lifecycle.resumed = false;
            self.start();
        } else {
            self.continue_run();
        }
    }

    /// The server failed, though not as planned; it is built again if that is allowed.
    pub(in crate::scheduler) fn server_failed(
        &mut self,
        round: u32,
        task: ServerTask,
        reason: String,
    ) {
        if !self.lifecycle.allows_recovery(&self.plan, task) {
            return self.fail(RunError::Server {
                round,
                task,
                reason,
            });
        }
        self.lifecycle.server_failures += 1;
        tracing::warn!("the server failed to {task} in round {round} and is built again: {reason}");
        let event = Event::ServerFailed { round, reason };
        self.output.emit(&mut self.state, event);
        self.recover();
    }

    pub(in crate::scheduler) fn fail(&mut self, error: RunError) {
        self.end(Err(error));
    }

    fn end(&mut self, result: Result<EndReason, RunError>) {
        self.phase = Phase::Over;
        end::end_run(&mut self.state, &mut self.output, result);
    }
}
