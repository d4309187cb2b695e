//! Control commands survive what happens to the run that took them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{self, Record, Toy, Trouble, kill_resumed};
use proptest::prelude::*;
use regatta_actors::Run;
use regatta_actors::control;
use regatta_actors::ids::ClientId;
use regatta_actors::observe::Observer;
use regatta_actors::observe::control::{ControlHandle, Unconfirmed};
use regatta_actors::plan::FederationPlan;
use regatta_actors::plan::fault::{Fault, FaultKind};
use regatta_actors::protocol::control::ControlCommand;
use regatta_actors::protocol::event::Event;

const PATIENCE: Duration = Duration::from_secs(30);

fn drop_client(client: u32) -> ControlCommand {
    let client = ClientId(client);
    ControlCommand::DropClient { client }
}

fn slow_client(client: u32, factor: f64) -> ControlCommand {
    let client = ClientId(client);
    ControlCommand::SlowClient { client, factor }
}

/// A run with some late and some lost updates, and a crash of the server.
fn plan(rounds: u32, every: u32) -> FederationPlan {
    let mut plan = common::plan(5, rounds, 2);
    plan.faults = vec![
        Fault::new(FaultKind::LostUpdate).with_probability(0.1),
        Fault::new(FaultKind::ServerCrash { downtime: 2.0 }).in_rounds(9, 9),
    ];
    plan.checkpoints.every = every;
    plan
}

/// Gives orders when rounds begin, each confirmed before anything else is seen; then, at the
/// `at`-th event, takes a copy of the record as a kill would leave it.
struct Steer {
    orders: Vec<(u32, ControlCommand)>,
    handle: ControlHandle,
    kill: Option<usize>,
    record: Arc<Record>,
    left: Arc<Mutex<Option<Record>>>,
}

impl Observer for Steer {
    fn on_event(&mut self, event: &Event) {
        if let Event::RoundStarted { round, .. } = event {
            let due = self.orders.extract_if(.., |(when, _)| when == round);
            for (_, command) in due.collect::<Vec<_>>() {
                self.handle.order(command, PATIENCE).unwrap();
            }
        }
        if event.is_recorded() && self.orders.is_empty() {
            if self.kill == Some(0) {
                *self.left.lock().unwrap() = Some(self.record.copy());
            }
            self.kill = self.kill.and_then(|left| left.checked_sub(1));
        }
    }
}

/// What a kill leaves of a run that was steered, some events after the last order was confirmed.
fn steered_and_killed(
    plan: &FederationPlan,
    orders: &[(u32, ControlCommand)],
    kill: usize,
) -> Record {
    let (handle, line) = control();
    let (record, left) = (Arc::new(Record::new()), Arc::default());
    let steer = Steer {
        orders: orders.to_vec(),
        handle,
        kill: Some(kill),
        record: record.clone(),
        left: Arc::clone(&left),
    };
    // The orders are to come before the run's end.
    let toy = Arc::new(Toy {
        jitter: 300,
        ..Toy::default()
    });
    let files = record.files();
    Run::new(plan.clone(), toy)
        .observed_by(vec![Box::new(steer)])
        .controlled_by(line)
        .recorded_in(&files)
        .start()
        .unwrap();
    let left = left.lock().unwrap().take();
    left.expect("the run ended before")
}

fn interventions(record: &Record) -> usize {
    record
        .ledger()
        .matches("\"event\":\"intervention\"")
        .count()
}

/// The ledger that a copy of this record ends with when it is resumed for good.
fn resumed_once(left: &Record, plan: &FederationPlan) -> String {
    let copy = left.copy();
    copy.resume(plan.clone()).unwrap();
    assert!(copy.replay(plan.clone()).is_ok());
    copy.ledger()
}

/// What happens to a run after its first kill.
#[derive(Debug, Clone, Copy)]
enum Mishap {
    /// It is resumed and killed again after N events.
    Killed(usize),
    /// It is resumed where no lane can start.
    NoLane,
    /// It is resumed where the server cannot start.
    NoServer,
}

fn mishap() -> impl Strategy<Value = Mishap> {
    prop_oneof![
        4 => (0..60_usize).prop_map(Mishap::Killed),
        1 => Just(Mishap::NoLane),
        1 => Just(Mishap::NoServer),
    ]
}

fn apply(left: Record, plan: &FederationPlan, mishap: Mishap) -> Record {
    let trouble = match mishap {
        Mishap::Killed(at) => return kill_resumed(&left, plan, at).unwrap_or(left),
        Mishap::NoLane => Trouble::NoTrainer(0),
        Mishap::NoServer => Trouble::NoAggregator,
    };
    let toy = Toy {
        trouble,
        ..Toy::default()
    };
    let (_handle, line) = control();
    let (plan, files) = (plan.clone(), left.files());
    Run::new(plan, Arc::new(toy))
        .controlled_by(line)
        .recorded_in(&files)
        .resume()
        .unwrap_err();
    left
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_kills_and_failed_starts_end_as_one_kill_does(
        every in prop_oneof![Just(0_u32), Just(4), Just(100)],
        rounds in prop::collection::btree_set(1..9_u32, 1..4),
        kill in 0..25_usize,
        mishaps in prop::collection::vec(mishap(), 1..5),
    ) {
        let plan = plan(60, every);
        let orders: Vec<_> = rounds.iter().zip([drop_client(1), slow_client(2, 3.0), drop_client(3)])
            .map(|(round, command)| (*round, command))
            .collect();
        let mut left = steered_and_killed(&plan, &orders, kill);
        let expected = resumed_once(&left, &plan);
        for mishap in mishaps {
            left = apply(left, &plan, mishap);
        }
        left.resume(plan.clone()).unwrap();
        prop_assert_eq!(interventions(&left), orders.len());
        prop_assert!(left.ledger() == expected, "the ledgers differ");
    }
}

#[test]
fn a_command_that_was_confirmed_takes_effect_though_the_run_was_killed_before_it_did() {
    let plan = plan(40, 0);
    // Nothing happens between the order and the kill.
    let left = steered_and_killed(&plan, &[(3, drop_client(1))], 0);
    std::fs::write(left.path().join("events.jsonl"), "").unwrap();
    left.resume(plan).unwrap();
    assert_eq!(interventions(&left), 1);
    let ledger = left.ledger();
    let taken = ledger.lines().find(|line| line.contains("intervention"));
    assert!(taken.unwrap().contains("\"after_round\":3"), "{taken:?}");
}

#[test]
fn a_new_command_before_one_that_is_still_to_come_takes_effect_first_and_both_do_once() {
    let plan = plan(60, 0);
    let left = steered_and_killed(&plan, &[(50, drop_client(1))], 10);
    let (handle, line) = control();
    let steer = Steer {
        orders: vec![(5, drop_client(2))],
        handle,
        kill: None,
        record: Arc::new(Record::new()),
        left: Arc::default(),
    };
    let toy = Arc::new(Toy {
        jitter: 300,
        ..Toy::default()
    });
    let files = left.files();
    Run::new(plan.clone(), toy)
        .observed_by(vec![Box::new(steer)])
        .controlled_by(line)
        .recorded_in(&files)
        .resume()
        .unwrap();
    let ledger = left.ledger();
    let taken: Vec<_> = ledger
        .lines()
        .filter(|line| line.contains("\"event\":\"intervention\""))
        .collect();
    assert_eq!(taken.len(), 2, "{taken:?}");
    assert!(taken[0].contains("\"client\":2") && taken[1].contains("\"client\":1"));
    assert!(taken[1].contains("\"after_round\":50"));
    assert!(left.replay(plan.clone()).is_ok());
    // Both survive another kill, though the second was written down first.
    let copy = left.copy();
    std::fs::write(copy.path().join("events.jsonl"), "").unwrap();
    copy.resume(plan).unwrap();
    assert!(copy.ledger() == ledger);
}

#[test]
fn a_command_while_rounds_are_done_again_after_a_crash_of_the_server_is_in_the_ledger() {
    let mut plan = plan(30, 4);
    plan.faults = Vec::new();
    let (handle, line) = control();
    let record = Record::new();
    let steer = {
        let handle = handle.clone();
        let mut again = false;
        move |event: &Event| match event {
            Event::ServerFailed { .. } => again = true,
            Event::ClientState { round: 5, .. } if again => {
                again = false;
                handle.order(drop_client(1), PATIENCE).unwrap();
            }
            _ => {}
        }
    };
    let toy = Arc::new(Toy {
        trouble: Trouble::AggregatePanicsOnce(7),
        jitter: 300,
        ..Toy::default()
    });
    let files = record.files();
    let observers: Vec<Box<dyn Observer>> = vec![Box::new(steer)];
    Run::new(plan.clone(), toy)
        .observed_by(observers)
        .controlled_by(line)
        .recorded_in(&files)
        .start()
        .unwrap();
    assert_eq!(interventions(&record), 1);
    let ledger = record.ledger();
    assert_eq!(record.replay(plan), Ok(ledger.lines().count() as u64));
}

#[test]
fn without_a_ledger_commands_survive_too() {
    let plan = plan(40, 10);
    let run = |files| {
        let (handle, line) = control();
        let steer = move |event: &Event| {
            if let Event::RoundStarted { round: 3, .. } = event {
                handle.order(drop_client(1), PATIENCE).unwrap();
            }
        };
        let events = common::Events::default();
        let observers: Vec<Box<dyn Observer>> = vec![Box::new(steer), Box::new(events.clone())];
        let toy = Arc::new(Toy {
            jitter: 300,
            ..Toy::default()
        });
        let run = Run::new(plan.clone(), toy).observed_by(observers);
        run.controlled_by(line).recorded_in(files).start().unwrap();
        events
    };
    let record = Record::new();
    let files = regatta_actors::runtime::RunFiles {
        ledger: None,
        ..record.files()
    };
    let whole = run(&files);
    // As if it had been killed before its first checkpoint.
    for entry in std::fs::read_dir(record.path().join("checkpoints")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().unwrap() == "checkpoint" {
            std::fs::remove_file(path).unwrap();
        }
    }
    let events = common::Events::default();
    let (_handle, line) = control();
    let observers: Vec<Box<dyn Observer>> = vec![Box::new(events.clone())];
    Run::new(plan.clone(), Arc::new(Toy::default()))
        .observed_by(observers)
        .controlled_by(line)
        .recorded_in(&files)
        .resume()
        .unwrap();
    assert_eq!(events.rounds(), whole.rounds());
}

#[test]
fn a_command_that_makes_no_sense_or_cannot_be_written_down_is_refused() {
    let plan = plan(2000, 0);
    let record = Record::new();
    // Even root cannot make a folder where a file is.
    std::fs::write(record.path().join("checkpoints"), "").unwrap();
    let (handle, line) = control();
    let steered = handle.clone();
    let (sender, answers) = std::sync::mpsc::channel();
    let steer = move |event: &Event| {
        if let Event::RoundStarted { round: 2, .. } = event {
            for command in [
                drop_client(99),
                slow_client(1, f64::NAN),
                slow_client(1, -1.0),
                drop_client(1),
                ControlCommand::FinishRound,
            ] {
                sender.send(steered.order(command, PATIENCE)).unwrap();
            }
        }
    };
    let observers: Vec<Box<dyn Observer>> = vec![Box::new(steer)];
    let toy = Arc::new(Toy::default());
    let files = record.files();
    // The run cannot be saved either, which is what it ends with when it is to stop.
    assert!(
        Run::new(plan, toy)
            .observed_by(observers)
            .controlled_by(line)
            .recorded_in(&files)
            .start()
            .is_err()
    );
    let answers: Vec<_> = answers.iter().collect();
    for (answer, what) in answers
        .iter()
        .zip(["no client 99", "NaN", "-1", "interventions.jsonl"])
    {
        let Err(Unconfirmed::Refused(reason)) = answer else {
            panic!("{answer:?}");
        };
        assert!(reason.contains(what), "{reason}");
    }
    assert_eq!(answers[4], Ok(()));
    assert_eq!(interventions(&record), 0);
    assert_eq!(
        handle.order(drop_client(1), PATIENCE),
        Err(Unconfirmed::Over)
    );
}

#[test]
fn a_run_that_does_not_answer_in_time_has_not_confirmed() {
    let (handle, _line) = control();
    let patience = Duration::ZERO;
    let late = handle.order(drop_client(1), patience);
    assert_eq!(late, Err(Unconfirmed::Late(patience)));
}
