//! Runs that are asked to stop.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use crate::common::{Events, Toy, Trouble, plan, wait_until};
use regatta_actors::Run;
use regatta_actors::control;
use regatta_actors::ids::ClientId;
use regatta_actors::observe::Observer;
use regatta_actors::observe::control::ControlHandle;
use regatta_actors::protocol::client_state::ClientState;
use regatta_actors::protocol::control::ControlCommand;
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::outcome::{EndReason, RunOutcome};

/// Sends a command when a round starts.
struct StopIn {
    round: u32,
    command: ControlCommand,
    handle: ControlHandle,
}

impl Observer for StopIn {
    fn on_event(&mut self, event: &Event) {
        if matches!(event, Event::RoundStarted { round, .. } if *round == self.round) {
            assert!(self.handle.send(self.command));
        }
    }
}

fn run_and_stop(toy: Toy, round: u32, command: ControlCommand) -> (RunOutcome, Events) {
    let (handle, line) = control();
    let events = Events::default();
    let stop = StopIn {
        round,
        command,
        handle,
    };
    let observers: Vec<Box<dyn Observer>> = vec![Box::new(stop), Box::new(events.clone())];
    let outcome = Run::new(plan(3, 1_000_000, 2), Arc::new(toy))
        .observed_by(observers)
        .controlled_by(line)
        .start();
    (outcome.expect("it stops"), events)
}

#[test]
fn the_first_stop_finishes_a_round_and_leaves_everything_written() {
    let toy = Toy {
        jitter: 100,
        ..Toy::default()
    };
    let finished = toy.finished.clone();
    let (outcome, events) = run_and_stop(toy, 3, ControlCommand::FinishRound);
    assert_eq!(outcome.ending, EndReason::StoppedAfterRound);
    assert!(outcome.rounds >= 3);
    assert_eq!(events.rounds().len(), outcome.rounds as usize);
    assert_eq!(outcome.last.map(|last| last.eval.is_some()), Some(true));
    assert_eq!(finished.load(Ordering::SeqCst), 1);
}

#[test]
fn stopping_at_once_cancels_jobs_that_would_never_end() {
    let toy = Toy {
        trouble: Trouble::Endless,
        jitter: 100,
        ..Toy::default()
    };
    let finished = toy.finished.clone();
    let alive = toy.alive.clone();
    let (outcome, events) = run_and_stop(toy, 1, ControlCommand::StopNow);
    assert_eq!(outcome.ending, EndReason::StoppedAtOnce);
    assert_eq!((outcome.rounds, outcome.last), (0, None));
    assert!(matches!(
        events.all().last(),
        Some(Event::RunFinished { rounds: 0, .. })
    ));
    assert_eq!(finished.load(Ordering::SeqCst), 0);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn the_board_shows_the_fleet_at_work() {
    let toy = Toy {
        trouble: Trouble::Endless,
        jitter: 100,
        ..Toy::default()
    };
    let (handle, line) = control();
    let running = thread::spawn(move || {
        Run::new(plan(3, 1, 1), Arc::new(toy))
            .controlled_by(line)
            .start()
    });
    let board = handle.board().clone();
    let in_state = |state| {
        let all = board.snapshot();
        all.iter()
            .filter(|(_, status)| status.state == state)
            .count()
    };
    wait_until("one client trains, two wait", || {
        in_state(ClientState::Training) == 1 && in_state(ClientState::Queued) == 2
    });
    wait_until("its progress shows", || {
        let all = board.snapshot();
        all.iter()
            .any(|(_, s)| s.progress.is_some_and(|p| p.steps_done > 3))
    });
    assert_eq!(board.get(ClientId(0)).map(|s| s.round), Some(1));
    assert!(handle.send(ControlCommand::StopNow));
    let outcome = running.join().unwrap().unwrap();
    assert!(outcome.stopped_early());
    assert!(!handle.send(ControlCommand::StopNow), "nobody is there");
}
