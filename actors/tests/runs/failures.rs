//! Runs in which something fails: the run ends with an error that says what and where, and
//! nothing is left running.

use crate::common::{Events, Toy, Trouble, plan, run};
use regatta_actors::Run;
use regatta_actors::control;
use regatta_actors::ids::LaneId;
use regatta_actors::observe::Observer;
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::outcome::RunError;
use regatta_actors::protocol::round_record::Outcome;

fn fail(trouble: Trouble, lanes: u32) -> (RunError, Events) {
    let toy = Toy {
        trouble,
        ..Toy::default()
    };
    let (result, events) = run(plan(3, 3, lanes), toy);
    let error = result.expect_err("it should fail");
    let last = events.all().pop();
    let Some(Event::RunFinished {
        error: reported, ..
    }) = last
    else {
        panic!("the last event is {last:?}");
    };
    assert_eq!(reported, Some(error.to_string()));
    (error, events)
}

/// The run continues without the client whose job fails; returns what is reported of that.
fn survive(trouble: Trouble, lanes: u32) -> Vec<(u32, u32, String)> {
    let toy = Toy {
        trouble,
        ..Toy::default()
    };
    let (result, events) = run(plan(3, 3, lanes), toy);
    assert_eq!(result.map(|outcome| outcome.rounds), Ok(3));
    let failures = events.all().into_iter().filter_map(|event| match event {
        Event::ClientFailed {
            round,
            client,
            reason,
            back_at,
            ..
        } => {
            assert!(back_at.is_some());
            Some((client.0, round, reason))
        }
        _ => None,
    });
    let failures: Vec<_> = failures.collect();
    for record in events.rounds() {
        for client in record.clients {
            let failed = failures
                .iter()
                .any(|f| (f.0, f.1) == (client.client.0, record.round));
            let outcome = if failed {
                Outcome::Failed
            } else {
                Outcome::Aggregated
            };
            assert_eq!(client.outcome, outcome);
        }
    }
    failures
}

#[test]
fn a_failed_job_costs_its_client_the_round_and_no_other() {
    let failures = survive(Trouble::JobFails(1, 2), 1);
    assert_eq!(failures, [(1, 2, "bad shard".to_owned())]);
}

#[test]
fn a_panicking_trainer_is_a_failed_job_and_the_lane_goes_on() {
    let failures = survive(Trouble::JobPanics(2, 1), 1);
    let reason = "panicked: index out of range".to_owned();
    assert_eq!(failures, [(2, 1, reason)]);
}

#[test]
fn when_everybody_failed_too_often_the_run_ends_and_says_why() {
    let mut plan = plan(1, 9, 1);
    plan.restart.budget = 0;
    let toy = Toy {
        trouble: Trouble::JobFails(0, 2),
        ..Toy::default()
    };
    let (result, events) = run(plan, toy);
    assert_eq!(
        result.unwrap_err().to_string(),
        "nobody is left to take part in round 3; client 0 (client-0) failed in round 2: bad shard"
    );
    assert_eq!(events.rounds().len(), 2);
}

#[test]
fn a_job_out_of_memory_is_tried_once_more_with_less() {
    let toy = Toy {
        trouble: Trouble::OutOfMemory(0, 1),
        ..Toy::default()
    };
    let (result, events) = run(plan(3, 1, 1), toy);
    result.unwrap();
    let (_, undisturbed) = run(plan(3, 1, 1), Toy::default());
    assert_eq!(events.rounds(), undisturbed.rounds());
}

#[test]
fn a_lost_device_ends_the_run_and_no_client_is_blamed() {
    for lanes in [1, 2] {
        let (error, events) = fail(Trouble::DeviceLost(0, 2), lanes);
        let RunError::DeviceLost(reason) = error else {
            panic!("{error}");
        };
        assert!(
            reason.ends_with("the device is lost: illegal memory access"),
            "{reason}"
        );
        assert_eq!(events.rounds().len(), 1);
        let blamed = |event: &Event| matches!(event, Event::ClientFailed { .. });
        assert!(!events.all().iter().any(blamed));
    }
}

#[test]
fn a_server_whose_device_is_lost_is_not_built_again() {
    let (error, _) = fail(Trouble::ServerDeviceLost, 2);
    let reason = "the server cannot aggregate: the device is lost: illegal memory access";
    assert_eq!(error, RunError::DeviceLost(reason.into()));
}

#[test]
fn a_lane_without_trainer_names_itself() {
    for (trouble, reason) in [
        (Trouble::NoTrainer(1), "no such device"),
        (Trouble::TrainerPanics(1), "panicked: driver bug"),
    ] {
        let (error, _) = fail(trouble, 2);
        let reason = reason.to_owned();
        let lane = LaneId(1);
        assert_eq!(error, RunError::Lane { lane, reason });
    }
}

#[test]
fn the_server_says_in_what_it_failed() {
    for (trouble, message) in [
        (
            Trouble::NoAggregator,
            "the server failed to start: no model",
        ),
        (
            Trouble::AggregatePanics(2),
            "the server failed to aggregate in round 2: panicked: shapes differ",
        ),
        (
            Trouble::EvaluateFails(1),
            "the server failed to evaluate in round 1: no validation data",
        ),
        (
            Trouble::FinishFails,
            "the server failed to write the results in round 3: disk full",
        ),
    ] {
        let (error, _) = fail(trouble, 1);
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_panicking_observer_is_left_out_and_the_others_see_all() {
    struct Panics;
    impl Observer for Panics {
        fn on_event(&mut self, _: &Event) {
            panic!("cannot draw this");
        }
    }
    let events = Events::default();
    let observers: Vec<Box<dyn Observer>> = vec![Box::new(Panics), Box::new(events.clone())];
    let (_handle, line) = control();
    let workload = std::sync::Arc::new(Toy::default());
    Run::new(plan(2, 2, 1), workload)
        .observed_by(observers)
        .controlled_by(line)
        .start()
        .unwrap();
    assert_eq!(events.rounds().len(), 2);
}
