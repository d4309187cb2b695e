//! Runs that are killed, stopped, resumed, replayed and steered: the ledger stays the same.

use std::sync::Arc;

use crate::common::{self, Events, Record, Toy, Trouble, kill, run};
use regatta_actors::Run;
use regatta_actors::control;
use regatta_actors::ids::{ClientId, LaneId};
use regatta_actors::journal::ledger;
use regatta_actors::observe::Observer;
use regatta_actors::observe::control::ControlHandle;
use regatta_actors::plan::FederationPlan;
use regatta_actors::plan::availability::Availability;
use regatta_actors::plan::fault::{Corruption, Fault, FaultKind, Slowdown};
use regatta_actors::plan::policy::{Late, RoundPolicy, Staleness};
use regatta_actors::plan::restart::RestartPolicy;
use regatta_actors::protocol::control::ControlCommand;
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::outcome::{EndReason, RecordError, RunError, RunOutcome};

/// A fleet to which everything happens.
pub(crate) fn eventful(rounds: u32) -> FederationPlan {
    let mut plan = common::plan(6, rounds, 2);
    for client in &mut plan.clients {
        client.profile.speed = 10.0;
    }
    plan.clients[5].profile.availability = Availability::Markov {
        mean_on: 8.0,
        mean_off: 3.0,
    };
    let often = |kind| Fault::new(kind).with_probability(0.2);
    plan.faults = vec![
        often(FaultKind::Straggle {
            slowdown: Slowdown::Uniform {
                low: 2.0,
                high: 4.0,
            },
        }),
        often(FaultKind::Drop {
            at: 0.4,
            rejoin: None,
        }),
        often(FaultKind::Crash { at: 0.5 }),
        often(FaultKind::LaneFailure { at: 0.7 }),
        often(FaultKind::LostUpdate),
        often(FaultKind::DuplicateUpdate { delay: 0.3 }),
        often(FaultKind::CorruptUpdate {
            corruption: Corruption::Nan,
        }),
        Fault::new(FaultKind::ServerCrash { downtime: 2.0 }).in_rounds(5, 5),
    ];
    plan.restart.budget = 50;
    plan.policy = RoundPolicy::Deadline {
        seconds: 3.0,
        late: Late::Carry(Staleness::default()),
    };
    plan.checkpoints.every = 2;
    plan
}

/// The ledger of a run that nothing disturbs.
pub(crate) fn undisturbed(plan: &FederationPlan) -> String {
    let folder = Record::new();
    folder.record(plan.clone(), Toy::default()).unwrap();
    folder.ledger()
}

/// Runs a plan with other numbers of lanes, whose jobs are slow at random.
pub(crate) fn assert_lanes_and_delays_change_nothing(plan: &FederationPlan, expected: &str) {
    for lanes in [1, 2, 4] {
        let folder = Record::new();
        let plan = FederationPlan {
            lanes,
            ..plan.clone()
        };
        let toy = Toy {
            jitter: 300,
            ..Toy::default()
        };
        folder.record(plan, toy).unwrap();
        assert!(folder.ledger() == expected, "with {lanes} lanes");
    }
}

#[test]
fn lanes_and_delays_change_no_byte_of_the_ledger() {
    let plan = eventful(8);
    let expected = undisturbed(&plan);
    assert!(expected.lines().count() > 60);
    assert_lanes_and_delays_change_nothing(&plan, &expected);
}

#[test]
fn a_run_killed_anywhere_and_resumed_ends_with_the_same_ledger() {
    let plan = eventful(8);
    let expected = undisturbed(&plan);
    let events = expected.lines().count();
    for at in (0..events).step_by(events / 20) {
        let left = kill(&plan, at);
        let outcome = left.resume(plan.clone()).unwrap();
        assert_eq!(outcome.ending, EndReason::Complete);
        assert!(left.ledger() == expected, "killed at event {at}");
    }
}

#[test]
fn asynchronous_runs_resume_and_replay_too() {
    let mut plan = eventful(10);
    plan.policy = RoundPolicy::Buffered {
        updates: 2,
        staleness: Staleness::default(),
    };
    let expected = undisturbed(&plan);
    for at in [20, 50] {
        let left = kill(&plan, at);
        left.resume(plan.clone()).unwrap();
        assert!(left.ledger() == expected, "killed at event {at}");
        assert_eq!(
            left.replay(plan.clone()),
            Ok(expected.lines().count() as u64)
        );
    }
}

#[test]
fn a_torn_line_and_a_damaged_checkpoint_do_no_harm() {
    let plan = eventful(8);
    let expected = undisturbed(&plan);
    let left = kill(&plan, expected.lines().count() - 5);
    let checkpoints = std::fs::read_dir(left.path().join("checkpoints")).unwrap();
    let mut paths: Vec<_> = checkpoints.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let newest = paths.last().unwrap();
    let bytes = std::fs::read(newest).unwrap();
    std::fs::write(newest, &bytes[..bytes.len() / 2]).unwrap();
    let ledger = left.path().join("events.jsonl");
    std::fs::write(&ledger, left.ledger() + "{\"sequence\":9").unwrap();
    left.resume(plan).unwrap();
    assert!(left.ledger() == expected);
}

/// A record of a run that was killed late; its ledger's path, and how it ends when undisturbed.
fn killed_late(plan: &FederationPlan) -> (Record, std::path::PathBuf, String) {
    let expected = undisturbed(plan);
    let left = kill(plan, expected.lines().count() - 5);
    let path = left.path().join("events.jsonl");
    (left, path, expected)
}

#[test]
fn a_ledger_that_was_changed_before_the_checkpoint_is_refused_by_name_and_left_as_it_is() {
    let plan = eventful(8);
    let (left, path, expected) = killed_late(&plan);
    let original = std::fs::read(&path).unwrap();
    let other_digit = |at: usize| {
        let mut bytes = original.clone();
        bytes[at] ^= 1;
        bytes
    };
    let line = original.iter().position(|b| *b == b'\n').unwrap() + 1;
    let windows = String::from_utf8(original.clone()).unwrap();
    for (changed, what) in [
        (other_digit(0), "have changed since the checkpoint"),
        (
            other_digit(original.len() / 2),
            "have changed since the checkpoint",
        ),
        (
            original[line..].to_vec(),
            "have changed since the checkpoint",
        ),
        (
            [b"\xef\xbb\xbf", &original[..]].concat(),
            "have changed since the checkpoint",
        ),
        (
            windows.replace('\n', "\r\n").into_bytes(),
            "have changed since the checkpoint",
        ),
        (original[..line].to_vec(), "but the checkpoint was taken at"),
        (Vec::new(), "but the checkpoint was taken at"),
    ] {
        std::fs::write(&path, &changed).unwrap();
        let error = left.resume(plan.clone()).unwrap_err().to_string();
        assert!(
            error.contains("events.jsonl") && error.contains(what),
            "{error}"
        );
        assert!(std::fs::read(&path).unwrap() == changed);
    }
    std::fs::write(&path, &original).unwrap();
    left.resume(plan).unwrap();
    assert!(left.ledger() == expected);
}

#[test]
fn whatever_a_power_cut_leaves_behind_the_checkpoint_the_run_goes_on() {
    let plan = eventful(8);
    let (left, path, expected) = killed_late(&plan);
    let original = std::fs::read(&path).unwrap();
    let torn = "{\"event\":\"intervention\",\"client\":\"Z\u{fc}rich".as_bytes();
    for rest in [
        &[0_u8; 5000][..],
        &torn[..torn.len() - 5],
        b"\n",
        b"\xef\xbb",
        b"\r\n\0",
    ] {
        let copy = left.copy();
        let bytes = [&original[..], rest].concat();
        std::fs::write(copy.path().join("events.jsonl"), bytes).unwrap();
        copy.resume(plan.clone()).unwrap();
        assert!(copy.ledger() == expected, "{rest:?}");
    }
    // Damage with lines behind it may hide a command.
    let (damaged, next) = (b"{\"event\":\"interv\n", b"{\"event\":1}\n");
    std::fs::write(&path, [&original[..], damaged, next].concat()).unwrap();
    let error = left.resume(plan).unwrap_err().to_string();
    let number = original.iter().filter(|b| **b == b'\n').count() + 1;
    assert!(
        error.contains(&format!("understand line {number} of ")),
        "{error}"
    );
}

#[test]
fn a_ledger_with_a_line_missing_or_damaged_is_read_up_to_there() {
    let folder = Record::new();
    folder.record(eventful(3), Toy::default()).unwrap();
    let path = folder.path().join("events.jsonl");
    let text = folder.ledger();
    let lines: Vec<_> = text.lines().collect();
    let without = |at: usize| [&lines[..at], &lines[at + 1..]].concat().join("\n");
    let with = |at: usize, line: &str| {
        [&lines[..at], &[line], &lines[at + 1..]]
            .concat()
            .join("\n")
    };
    for (text, number) in [
        (without(4), 5),
        (with(6, ""), 7),
        (with(7, "\0\0\0"), 8),
        (with(0, &lines[0][1..]), 1),
    ] {
        std::fs::write(&path, text).unwrap();
        let read: Vec<_> = ledger::read(&path).unwrap().collect();
        let error = read[number - 1].as_ref().unwrap_err().to_string();
        assert!(error.contains(&format!("line {number} of ")), "{error}");
    }
}

#[test]
fn a_ledger_that_was_deleted_or_replaced_under_a_run_ends_it() {
    for replace in [false, true] {
        let folder = Record::new();
        let path = folder.path().join("events.jsonl");
        let meddled = path.clone();
        let meddle = move |event: &Event| {
            if let Event::RoundStarted { round: 2, .. } = event {
                std::fs::remove_file(&meddled).unwrap();
                if replace {
                    std::fs::write(&meddled, "mine").unwrap();
                }
            }
        };
        let (_handle, line) = control();
        let observers: Vec<Box<dyn Observer>> = vec![Box::new(meddle)];
        let toy = Arc::new(Toy {
            jitter: 50,
            ..Toy::default()
        });
        let plan = eventful(2000);
        let result = Run::new(plan, toy)
            .observed_by(observers)
            .controlled_by(line)
            .recorded_in(&folder.files())
            .start();
        let error = result.unwrap_err().to_string();
        let what = if replace { "replaced" } else { "deleted" };
        assert!(
            error.contains("events.jsonl") && error.contains(what),
            "{error}"
        );
        let now = std::fs::read_to_string(&path).ok();
        assert_eq!(now.as_deref(), replace.then_some("mine"));
    }
}

#[test]
fn without_a_checkpoint_a_run_resumes_from_its_beginning() {
    let mut plan = eventful(4);
    plan.checkpoints.every = 0;
    let expected = undisturbed(&plan);
    let left = kill(&plan, 30);
    left.resume(plan).unwrap();
    assert!(left.ledger() == expected);
}

#[test]
fn a_run_killed_before_it_wrote_anything_resumes_as_a_new_one() {
    let plan = eventful(3);
    let folder = Record::new();
    folder.resume(plan.clone()).unwrap();
    assert!(folder.ledger() == undisturbed(&plan));
}

#[test]
fn observers_of_a_resumed_run_hear_where_it_goes_on() {
    let plan = eventful(8);
    let left = kill(&plan, 80);
    let events = Events::default();
    let (_handle, line) = control();
    let observers: Vec<Box<dyn Observer>> = vec![Box::new(events.clone())];
    Run::new(plan, Arc::new(Toy::default()))
        .observed_by(observers)
        .controlled_by(line)
        .recorded_in(&left.files())
        .resume()
        .unwrap();
    let first = events.all().into_iter().next();
    let Some(Event::RunResumed { after_round, .. }) = first else {
        panic!("{first:?}");
    };
    assert!(after_round >= 2);
    assert_eq!(events.rounds()[0].round, after_round + 1);
}

#[test]
fn the_same_plan_replays_and_another_one_is_told_apart_with_both_versions() {
    let plan = eventful(6);
    let folder = Record::new();
    folder.record(plan.clone(), Toy::default()).unwrap();
    let entries = folder.ledger().lines().count() as u64;
    assert_eq!(folder.replay(plan.clone()), Ok(entries));
    let mut other = plan;
    other.faults[0].probability = 0.9;
    let Err(RunError::Record(RecordError::Diverged {
        sequence,
        expected,
        found,
    })) = folder.replay(other)
    else {
        panic!("it is the same");
    };
    assert!(sequence > 1 && expected != found);
    assert_eq!(
        folder.ledger().lines().nth(sequence as usize - 1),
        Some(&*expected)
    );
    assert!(found.contains("straggle"), "{found}");
}

#[test]
fn a_replay_goes_back_to_its_own_checkpoints_where_the_server_crashes() {
    let plan = eventful(8);
    let folder = Record::new();
    folder.record(plan.clone(), Toy::default()).unwrap();
    let jobs = |checkpoints: Option<&std::path::Path>| {
        let toy = Toy::default();
        let places = toy.places.clone();
        folder.replay_with(plan.clone(), toy, checkpoints).unwrap();
        let places = places.lock().unwrap();
        places.len()
    };
    let scratch = tempfile::tempdir().unwrap();
    assert!(jobs(Some(scratch.path())) < jobs(None));
}

#[test]
fn a_ledger_reads_back_as_events_whose_time_never_goes_back() {
    let folder = Record::new();
    folder.record(eventful(6), Toy::default()).unwrap();
    let path = folder.path().join("events.jsonl");
    let entries: Result<Vec<_>, _> = ledger::read(&path).unwrap().collect();
    let entries = entries.unwrap();
    assert!(entries.windows(2).all(|e| e[0].time <= e[1].time));
    let numbers = entries.iter().map(|e| e.sequence);
    assert!(numbers.eq(1..=entries.len() as u64));
    assert!(matches!(
        entries[0].event,
        Event::RunStarted { lanes: 0, .. }
    ));
}

/// Sends commands when rounds start.
struct Steer {
    orders: Vec<(u32, ControlCommand)>,
    handle: ControlHandle,
}

impl Observer for Steer {
    fn on_event(&mut self, event: &Event) {
        if let Event::RoundStarted { round, .. } = event {
            for (when, command) in &self.orders {
                if when == round {
                    self.handle.send(*command);
                }
            }
        }
    }
}

fn steer(
    folder: &Record,
    plan: &FederationPlan,
    orders: Vec<(u32, ControlCommand)>,
) -> (Result<RunOutcome, RunError>, Events) {
    let (handle, line) = control();
    let events = Events::default();
    let steer = Steer { orders, handle };
    let observers: Vec<Box<dyn Observer>> = vec![Box::new(steer), Box::new(events.clone())];
    let toy = Arc::new(Toy {
        jitter: 50,
        ..Toy::default()
    });
    let result = Run::new(plan.clone(), toy)
        .observed_by(observers)
        .controlled_by(line)
        .recorded_in(&folder.files())
        .start();
    (result, events)
}

#[test]
fn a_run_with_interventions_replays_and_resumes() {
    let mut plan = eventful(200);
    plan.checkpoints.every = 40;
    let client = ClientId(0);
    let folder = Record::new();
    let orders = vec![
        (2, ControlCommand::DropClient { client }),
        (10, ControlCommand::RestoreClient { client }),
        (
            15,
            ControlCommand::SlowClient {
                client,
                factor: 1.5,
            },
        ),
        (
            15,
            ControlCommand::DropClient {
                client: ClientId(99),
            },
        ),
        (120, ControlCommand::FinishRound),
    ];
    let (result, events) = steer(&folder, &plan, orders);
    let outcome = result.unwrap();
    assert_eq!(outcome.ending, EndReason::StoppedAfterRound);
    let intervened = |e: &Event| matches!(e, Event::Intervention(_));
    assert_eq!(events.all().iter().filter(|e| intervened(e)).count(), 4);
    let ledger = folder.ledger();
    assert_eq!(
        folder.replay(plan.clone()),
        Ok(ledger.lines().count() as u64)
    );
    // What is lost with a kill after the last checkpoint is done again, commands and all: the
    // resumed run agrees with the stopped one up to the command to stop.
    for _ in 0..2 {
        let last = std::fs::read_dir(folder.path().join("checkpoints")).unwrap();
        let newest = last.map(|e| e.unwrap().path()).max().unwrap();
        std::fs::remove_file(newest).unwrap();
    }
    folder.resume(plan.clone()).unwrap();
    let stop = ledger.find("finish_round").unwrap();
    let before = &ledger[..ledger[..stop].rfind('\n').unwrap()];
    assert!(folder.ledger().starts_with(before));
    let rounds = |e: &str| e.matches("round_finished").count();
    assert_eq!(rounds(&folder.ledger()), 200);
    assert!(folder.replay(plan).is_ok());
}

#[test]
fn a_run_stopped_after_a_round_and_resumed_is_as_one_never_stopped() {
    let plan = eventful(60);
    let expected = undisturbed(&plan);
    let folder = Record::new();
    let (result, _) = steer(&folder, &plan, vec![(3, ControlCommand::FinishRound)]);
    let stopped = result.unwrap();
    assert_eq!(stopped.ending, EndReason::StoppedAfterRound);
    assert!(stopped.last.unwrap().eval.is_some());
    folder.resume(plan).unwrap();
    assert!(folder.ledger() == expected);
}

#[test]
fn a_paused_run_waits_until_it_is_told_to_go_on() {
    let plan = eventful(30);
    let folder = Record::new();
    let (handle, line) = control();
    let orders = vec![(1, ControlCommand::Pause)];
    let steer = Steer {
        orders,
        handle: handle.clone(),
    };
    let (files, the_plan) = (folder.files(), plan.clone());
    let running = std::thread::spawn(move || {
        let observers: Vec<Box<dyn Observer>> = vec![Box::new(steer)];
        let toy = Toy {
            jitter: 50,
            ..Toy::default()
        };
        Run::new(the_plan, Arc::new(toy))
            .observed_by(observers)
            .controlled_by(line)
            .recorded_in(&files)
            .start()
    });
    common::wait_until("it pauses", || handle.status().paused);
    let round = handle.status().round;
    assert!(handle.send(ControlCommand::Checkpoint));
    let name = format!("checkpoints/round-{round:08}.checkpoint");
    let saved = folder.path().join(name);
    common::wait_until("it saves while it waits", || saved.exists());
    assert_eq!(handle.status().round, round);
    assert!(handle.send(ControlCommand::Resume));
    running.join().unwrap().unwrap();
    assert!(handle.status().over);
    assert!(folder.ledger() == undisturbed(&plan));
}

#[test]
fn a_record_that_cannot_be_written_stops_the_run_and_leaves_the_last_good_checkpoint() {
    let plan = eventful(8);
    let folder = Record::new();
    let blocked = folder.path().join("checkpoints/round-00000006.partial");
    std::fs::create_dir_all(&blocked).unwrap();
    let error = folder.record(plan.clone(), Toy::default()).unwrap_err();
    let error = error.to_string();
    assert!(
        error.starts_with("cannot write ") && error.contains("round-00000006"),
        "{error}"
    );
    assert!(
        folder
            .ledger()
            .lines()
            .last()
            .unwrap()
            .contains("round-00000006")
    );
    std::fs::remove_dir(&blocked).unwrap();
    folder.resume(plan.clone()).unwrap();
    assert!(folder.ledger() == undisturbed(&plan));
}

#[test]
fn a_ledger_is_never_overwritten() {
    let folder = Record::new();
    folder.record(eventful(2), Toy::default()).unwrap();
    let error = folder.record(eventful(2), Toy::default()).unwrap_err();
    assert!(error.to_string().starts_with("cannot create "), "{error}");
}

#[test]
fn a_server_that_fails_unplanned_recovers_from_its_checkpoint() {
    let plan = eventful(8);
    let folder = Record::new();
    let toy = Toy {
        trouble: Trouble::AggregatePanicsOnce(6),
        ..Toy::default()
    };
    folder.record(plan.clone(), toy).unwrap();
    assert!(folder.ledger() == undisturbed(&plan));
    let folder = Record::new();
    let toy = Toy {
        trouble: Trouble::AggregatePanics(6),
        ..Toy::default()
    };
    let error = folder.record(plan, toy).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server failed to aggregate in round 6: panicked: shapes differ"
    );
}

#[test]
fn a_lane_that_dies_leaves_its_work_to_the_others() {
    let toy = Toy {
        trouble: Trouble::LaneDies(1, 2),
        ..Toy::default()
    };
    // Long enough for the lane to be missed before the end.
    let (result, events) = run(common::plan(3, 2000, 2), toy);
    assert_eq!(result.map(|o| o.rounds), Ok(2000));
    let gone = |e: &Event| matches!(e, Event::LaneFailed { .. });
    assert_eq!(events.all().iter().filter(|e| gone(e)).count(), 1);
    let toy = Toy {
        trouble: Trouble::LaneDies(1, 2),
        ..Toy::default()
    };
    let (result, _) = run(common::plan(3, 4, 1), toy);
    let reason = "no such device any more".to_owned();
    let lane = LaneId(0);
    assert_eq!(result, Err(RunError::Lane { lane, reason }));
}

#[test]
fn a_client_that_crashes_too_often_is_retired_and_the_others_go_on() {
    let mut plan = common::plan(3, 12, 2);
    plan.faults = vec![Fault::new(FaultKind::Crash { at: 0.5 }).on([1])];
    plan.restart = RestartPolicy {
        budget: 2,
        window: 1000.0,
        backoff: 0.3,
        max_backoff: 10.0,
    };
    let (result, events) = run(plan, Toy::default());
    assert_eq!(result.map(|o| o.rounds), Ok(12));
    let back = events.all().into_iter().filter_map(|event| match event {
        Event::ClientFailed {
            back_at,
            virtual_seconds,
            ..
        } => Some(back_at.map(|back| ((back - virtual_seconds) * 10.0).round())),
        _ => None,
    });
    let back: Vec<_> = back.collect();
    assert_eq!(back, [Some(3.0), Some(6.0), None]);
    assert_eq!(events.outcomes(12).len(), 2);
}
