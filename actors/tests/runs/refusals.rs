//! Updates that are refused, rounds in which all are, and runs in which nothing is ever aggregated.

use crate::common::{self, Events, Lie, Record, STEPS, Toy, Trouble, plan, play, run};
use regatta_actors::journal::checkpoint::CheckpointStore;
use regatta_actors::journal::ledger;
use regatta_actors::plan::FederationPlan;
use regatta_actors::plan::fault::{Corruption, Fault, FaultKind};
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::outcome::{RunError, RunOutcome};
use regatta_actors::protocol::round_record::Outcome::{self, Aggregated, Refused};

/// Every update of these rounds is corrupted.
fn corrupted(from: u32, to: u32) -> Fault {
    let corruption = Corruption::Nan;
    Fault::new(FaultKind::CorruptUpdate { corruption }).in_rounds(from, to)
}

/// Three clients, with these faults.
fn with(rounds: u32, faults: Vec<Fault>) -> FederationPlan {
    FederationPlan {
        faults,
        ..plan(3, rounds, 2)
    }
}

fn liar(lie: Lie) -> Toy {
    Toy {
        trouble: Trouble::Lies(1, lie),
        ..Toy::default()
    }
}

fn outcomes(events: &Events, round: u32) -> Vec<Outcome> {
    let outcomes = events.outcomes(round).into_iter();
    outcomes.map(|(_, outcome)| outcome).collect()
}

#[test]
fn rounds_in_which_all_is_refused_leave_the_state_and_are_counted() {
    let plan = with(5, vec![corrupted(2, 3)]);
    let (result, events) = run(plan, Toy::default());
    assert_eq!(result.unwrap().rounds_refused, 2);
    let rounds = events.rounds();
    for refused in &rounds[1..3] {
        assert!(refused.all_refused());
        assert_eq!(refused.state_digest, rounds[0].state_digest);
    }
    assert_ne!(rounds[3].state_digest, rounds[0].state_digest);
}

/// What a run of nothing but refusals ends with.
fn all_refused(rounds: u32) -> RunError {
    RunError::NothingAggregated {
        rounds,
        refused: rounds,
        last_refusal: Some("client-0: not finite".into()),
    }
}

#[test]
fn a_run_in_which_all_is_refused_ends_with_an_error_in_its_ledger_too_and_replays() {
    let plan = with(3, vec![corrupted(1, 3)]);
    let folder = Record::new();
    let result = folder.record(plan.clone(), Toy::default());
    assert_eq!(result, Err(all_refused(3)));
    let text = all_refused(3).to_string();
    assert_eq!(
        text,
        "nothing was aggregated: in 3 of 3 rounds every update was refused, lastly that of \
         client-0: not finite"
    );
    let entries = ledger::read(&folder.path().join("events.jsonl")).unwrap();
    let last = entries.map(|entry| entry.unwrap().event).last();
    let Some(Event::RunFinished {
        rounds: 3,
        ending: None,
        error: Some(error),
        ..
    }) = last
    else {
        panic!("{last:?}");
    };
    assert_eq!(error, text);
    let entries = folder.ledger().lines().count() as u64;
    assert_eq!(folder.replay(plan), Ok(entries));
}

#[test]
fn a_run_in_which_no_update_ever_comes_ends_with_an_error() {
    for fault in [Fault::drop(0.5), Fault::new(FaultKind::LostUpdate)] {
        let (result, _) = run(with(2, vec![fault]), Toy::default());
        let error = result.unwrap_err();
        assert!(
            matches!(error, RunError::NothingAggregated { refused: 0, .. }),
            "{error}"
        );
        assert_eq!(
            error.to_string(),
            "nothing was aggregated: in 2 rounds no update came"
        );
    }
}

#[test]
fn such_a_run_does_not_finish_its_folder_and_one_update_is_enough() {
    let ends = |faults| {
        let toy = Toy::default();
        let finished = toy.finished.clone();
        let (result, _) = run(with(3, faults), toy);
        (
            result.is_ok(),
            finished.load(std::sync::atomic::Ordering::SeqCst),
        )
    };
    assert_eq!(ends(vec![corrupted(1, 3)]), (false, 0));
    assert_eq!(
        ends(vec![corrupted(1, 2), corrupted(3, 3).on([0, 2])]),
        (true, 1)
    );
}

#[test]
fn it_is_resumed_from_a_sound_checkpoint_to_the_same_end() {
    let plan = with(4, vec![corrupted(1, 4)]);
    let folder = Record::new();
    folder.record(plan.clone(), Toy::default()).unwrap_err();
    let ledger = folder.ledger();
    let store = CheckpointStore::new(folder.files().checkpoints.unwrap(), &plan);
    assert_eq!(store.latest().unwrap().unwrap().round, 3);
    assert_eq!(folder.resume(plan.clone()), Err(all_refused(4)));
    assert!(folder.ledger() == ledger);

    for at in (0..ledger.lines().count()).step_by(5) {
        let left = common::kill(&plan, at);
        assert_eq!(
            left.resume(plan.clone()),
            Err(all_refused(4)),
            "killed at event {at}"
        );
        assert!(left.ledger() == ledger, "killed at event {at}");
    }
}

#[test]
fn what_was_aggregated_and_refused_before_a_kill_is_remembered() {
    // Only the first round aggregates anything.
    let plan = with(4, vec![corrupted(2, 4)]);
    let whole = Record::new().record(plan.clone(), Toy::default()).unwrap();
    assert_eq!(whole.rounds_refused, 3);
    let events = play(plan.clone()).recorded().len();
    for at in (0..events).step_by(5) {
        let RunOutcome { rounds_refused, .. } =
            common::kill(&plan, at).resume(plan.clone()).unwrap();
        assert_eq!(rounds_refused, 3, "killed at event {at}");
    }
}

#[test]
fn a_server_that_crashes_remembers_it_too() {
    let crash = FaultKind::ServerCrash { downtime: 1.0 };
    let crash = Fault::new(crash).in_rounds(3, 3);
    let (result, _) = run(
        with(3, vec![corrupted(1, 3), crash.clone()]),
        Toy::default(),
    );
    assert_eq!(result, Err(all_refused(3)));
    let (result, _) = run(with(3, vec![corrupted(2, 3), crash]), Toy::default());
    assert_eq!(result.unwrap().rounds_refused, 2);
}

#[test]
fn a_client_that_misstates_its_work_is_refused_by_name_and_weighs_nothing() {
    let honest = run(with(1, vec![]), Toy::default()).1;
    let losses = |events: &Events| events.rounds()[0].train_loss.unwrap();
    // Client 1 has 11 examples, and goes through them once.
    for (lie, claim) in [
        (
            Lie::Examples(0),
            "it claims 0 examples, and its shard gives from 1 to 11",
        ),
        (Lie::Examples(12), "it claims 12 examples, "),
        (
            Lie::Examples(u64::MAX),
            "it claims 18446744073709551615 examples, ",
        ),
        (Lie::Steps(0), "it claims 0 steps on 5 examples"),
        (Lie::Steps(6), "it claims 6 steps on 5 examples"),
        (Lie::Steps(u64::MAX), "it claims 18446744073709551615 steps"),
    ] {
        let (result, events) = run(with(1, vec![]), liar(lie));
        result.unwrap();
        assert_eq!(
            outcomes(&events, 1),
            [Aggregated, Refused, Aggregated],
            "{lie:?}"
        );
        let record = &events.rounds()[0];
        assert_eq!(record.refused[0].client.0, 1);
        assert!(
            record.refused[0].reason.starts_with(claim),
            "{:?}",
            record.refused
        );
        // The reported numbers stay within their range.
        assert!(record.clients[1].examples <= 11 && record.clients[1].steps <= 11);
        assert!(losses(&events).is_finite());
        assert_ne!(record.state_digest, honest.rounds()[0].state_digest);
    }
    // What is just possible is not refused.
    for lie in [
        Lie::Examples(11),
        Lie::Examples(STEPS),
        Lie::Steps(STEPS),
        Lie::Steps(1),
    ] {
        let (_, events) = run(with(1, vec![]), liar(lie));
        assert_eq!(outcomes(&events, 1), [Aggregated; 3], "{lie:?}");
    }
}

#[test]
fn examples_seen_in_several_epochs_count_as_often() {
    let mut plan = with(1, vec![]);
    plan.clients[1].epochs = 3;
    let of = |examples| run(plan.clone(), liar(Lie::Examples(examples))).1;
    assert_eq!(outcomes(&of(33), 1), [Aggregated; 3]);
    assert_eq!(outcomes(&of(34), 1), [Aggregated, Refused, Aggregated]);
}

#[test]
fn a_loss_that_is_no_number_gets_into_no_mean_and_no_ledger() {
    for loss in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, -1e300] {
        let (result, events) = run(with(2, vec![]), liar(Lie::loss(loss)));
        result.unwrap();
        for record in events.rounds() {
            assert!(record.clients[1].loss.unwrap().is_nan(), "{loss}");
            let others = [0, 2].map(|i| record.clients[i].loss.unwrap());
            // They saw as many examples.
            let mean = others.iter().sum::<f64>() / 2.0;
            assert!((record.train_loss.unwrap() - mean).abs() < 1e-12, "{loss}");
        }
        let folder = Record::new();
        let plan = with(2, vec![]);
        folder.record(plan.clone(), liar(Lie::loss(loss))).unwrap();
        let entries = folder.ledger().lines().count() as u64;
        let replayed = folder.replay_with(plan, liar(Lie::loss(loss)), None);
        assert_eq!(replayed, Ok(entries), "{loss}");
    }
}

#[test]
fn where_no_loss_is_a_number_neither_is_the_mean() {
    let toy = Toy {
        trouble: Trouble::Lies(0, Lie::loss(f64::NAN)),
        ..Toy::default()
    };
    let (_, events) = run(plan(1, 1, 1), toy);
    assert!(events.rounds()[0].train_loss.unwrap().is_nan());
}
