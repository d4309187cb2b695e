//! Clients that are trained together: what comes of it depends on the plan alone.

use std::collections::BTreeSet;

use crate::common::{Events, Toy, Trouble, kill, plan, run};
use crate::recovery::{assert_lanes_and_delays_change_nothing, eventful, undisturbed};
use regatta_actors::ids::LaneId;
use regatta_actors::plan::FederationPlan;
use regatta_actors::plan::fault::{Fault, FaultKind};
use regatta_actors::protocol::outcome::RunError;
use regatta_actors::protocol::round_record::Outcome;

pub(crate) fn grouped(plan: FederationPlan, clients_per_step: u32) -> FederationPlan {
    FederationPlan {
        clients_per_step,
        ..plan
    }
}

/// The run's events, and who was trained together in which round.
fn play(plan: FederationPlan, trouble: Trouble) -> (Events, BTreeSet<(u32, Vec<u32>)>) {
    let toy = Toy {
        trouble,
        ..Toy::default()
    };
    let groups = toy.groups.clone();
    let (result, events) = run(plan, toy);
    result.unwrap();
    let groups = groups.lock().unwrap().drain(..).collect();
    (events, groups)
}

#[test]
fn clients_of_a_round_are_grouped_in_their_order() {
    let (_, groups) = play(grouped(plan(7, 2, 2), 3), Trouble::None);
    // The seventh is alone, and so is trained alone.
    let expected = [
        (1, vec![0, 1, 2]),
        (1, vec![3, 4, 5]),
        (2, vec![0, 1, 2]),
        (2, vec![3, 4, 5]),
    ];
    assert_eq!(groups, expected.into());
}

#[test]
fn clients_are_trained_alone_where_nothing_is_said() {
    let (_, groups) = play(plan(4, 2, 2), Trouble::None);
    assert!(groups.is_empty(), "{groups:?}");
}

#[test]
fn a_client_with_its_own_lane_and_one_whose_lane_fails_are_trained_alone() {
    let mut plan = grouped(plan(6, 1, 3), 2);
    plan.clients[0].lane = Some(LaneId(2));
    plan.faults = vec![Fault::new(FaultKind::LaneFailure { at: 0.5 }).on([2])];
    plan.restart.budget = 5;
    let (events, groups) = play(plan, Trouble::None);
    assert_eq!(groups, [(1, vec![1, 3]), (1, vec![4, 5])].into());
    let failed = |outcome: &&(u32, Outcome)| outcome.1 != Outcome::Aggregated;
    let outcomes = events.outcomes(1);
    let failed: Vec<u32> = outcomes.iter().filter(failed).map(|it| it.0).collect();
    assert_eq!(failed, [2]);
}

#[test]
fn lanes_and_delays_change_no_byte_of_the_ledger_of_groups() {
    let plan = grouped(eventful(8), 4);
    let expected = undisturbed(&plan);
    assert!(expected != undisturbed(&eventful(8)), "nobody was grouped");
    assert_lanes_and_delays_change_nothing(&plan, &expected);
}

#[test]
fn a_run_of_groups_that_is_killed_anywhere_and_resumed_ends_with_the_same_ledger() {
    let plan = grouped(eventful(6), 3);
    let expected = undisturbed(&plan);
    let events = expected.lines().count();
    for at in (1..events - 1).step_by(7) {
        let left = kill(&plan, at);
        left.resume(plan.clone()).unwrap();
        assert!(left.ledger() == expected, "killed at event {at}");
    }
}

#[test]
fn a_job_that_fails_fails_alone() {
    let plan = || grouped(plan(4, 2, 1), 4);
    let (sound, _) = play(plan(), Trouble::None);
    for trouble in [Trouble::JobFails(1, 2), Trouble::JobPanics(1, 2)] {
        let (events, _) = play(plan(), trouble);
        let outcomes = events.outcomes(2);
        let expected = [0, 1, 2, 3].map(|client| match client {
            1 => (1, Outcome::Failed),
            client => (client, Outcome::Aggregated),
        });
        assert_eq!(outcomes, expected, "{trouble:?}");
        assert_eq!(events.rounds()[0], sound.rounds()[0], "{trouble:?}");
    }
}

#[test]
fn want_of_memory_for_a_group_is_relieved_one_by_one() {
    let (events, _) = play(grouped(plan(4, 1, 1), 4), Trouble::OutOfMemory(2, 1));
    let outcomes = events.outcomes(1);
    assert!(
        outcomes
            .iter()
            .all(|(_, outcome)| *outcome == Outcome::Aggregated),
        "{outcomes:?}"
    );
}

#[test]
fn a_device_that_is_lost_to_a_group_ends_the_run() {
    let toy = Toy {
        trouble: Trouble::DeviceLost(2, 1),
        ..Toy::default()
    };
    let (result, _) = run(grouped(plan(4, 2, 2), 4), toy);
    let error = result.unwrap_err();
    assert!(matches!(error, RunError::DeviceLost(_)), "{error}");
}

#[test]
fn nobody_in_a_group_is_refused() {
    let plan = grouped(plan(2, 1, 1), 0);
    let errors = plan.check().unwrap_err().to_string();
    assert!(errors.contains("clients_per_step"), "{errors}");
}
