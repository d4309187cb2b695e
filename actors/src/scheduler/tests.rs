//! The state machine alone: inputs by hand, in any order.

use std::collections::BTreeMap;

use super::*;
use crate::ids::{ClientId, Digest, JobId, LaneId, RunId};
use crate::plan::ClientPlan;
use crate::protocol::command::{SelectedUpdate, ServerCommand};
use crate::protocol::event::Event;
use crate::protocol::job::{UpdateInfo, Work};
use crate::protocol::outcome::{EndReason, ServerTask};
use crate::workload::update::{Aggregation, Scores};

fn scheduler(rounds: u32) -> Scheduler {
    let clients = ["a", "b", "c"].map(|name| ClientPlan::new(name, 100));
    Scheduler::new(Arc::new(FederationPlan {
        rounds,
        ..FederationPlan::new("test", 1, clients.to_vec())
    }))
}

fn jobs(commands: &[Command]) -> Vec<JobId> {
    let jobs = commands.iter().filter_map(|command| match command {
        Command::Train { id, .. } => Some(*id),
        _ => None,
    });
    jobs.collect()
}

fn server_commands(commands: Vec<Command>) -> Vec<ServerCommand> {
    let selected = commands.into_iter().filter_map(|command| match command {
        Command::Server(command) => Some(command),
        _ => None,
    });
    selected.collect()
}

/// Starts the run; gives the first round's jobs.
fn begin(scheduler: &mut Scheduler) -> Vec<JobId> {
    scheduler.step(Input::LaneReady(LaneId(0)), 0.0);
    scheduler.step(Input::Started, 0.0);
    open(scheduler, 1)
}

fn open(scheduler: &mut Scheduler, round: u32) -> Vec<JobId> {
    let bytes_down = BTreeMap::new();
    jobs(&scheduler.step(Input::Opened { round, bytes_down }, 0.0))
}

fn received(id: JobId) -> Input {
    let info = UpdateInfo {
        loss: 1.0,
        examples: 100,
        steps: 10,
        bytes_up: 8,
        digest: Digest::of(b""),
        lane: LaneId(0),
        seconds: 0.0,
    };
    Input::Received { id, info }
}

fn aggregated(round: u32) -> Input {
    let aggregation = Aggregation {
        exactness_error: None,
        measures: [("norm".to_owned(), 0.5)].into(),
        state_digest: Digest::of(b""),
        refused: Vec::new(),
    };
    Input::Aggregated { round, aggregation }
}

fn selected(id: JobId) -> SelectedUpdate {
    SelectedUpdate { id, weight: 1.0 }
}

#[test]
fn nothing_begins_before_lanes_and_actors_are_up() {
    let mut scheduler = scheduler(1);
    assert_eq!(scheduler.step(Input::Started, 0.0), []);
    let commands = scheduler.step(Input::LaneReady(LaneId(0)), 0.0);
    let held_versions = [None].into();
    assert_eq!(
        server_commands(commands),
        [ServerCommand::Open {
            round: 1,
            held_versions,
            oldest: 1
        }]
    );
}

#[test]
fn updates_are_aggregated_in_client_order_whatever_order_they_come_in() {
    let mut scheduler = scheduler(1);
    let jobs = begin(&mut scheduler);
    assert_eq!(scheduler.step(received(jobs[2]), 1.0), []);
    assert_eq!(scheduler.step(received(jobs[1]), 1.0), []);
    let commands = server_commands(scheduler.step(received(jobs[0]), 2.0));
    let updates = jobs.into_iter().map(selected).collect();
    assert_eq!(commands, [ServerCommand::Aggregate { round: 1, updates }]);
}

#[test]
fn replies_to_closed_rounds_and_other_attempts_and_runs_are_stale() {
    let mut scheduler = scheduler(2);
    let first = begin(&mut scheduler);
    let mut other_attempt = first[0];
    other_attempt.attempt = 1;
    let mut other_run = first[0];
    other_run.run = RunId(0);
    for &id in &first {
        scheduler.step(received(id), 0.0);
    }
    scheduler.step(aggregated(1), 0.0);
    let scores = Scores::new();
    scheduler.step(Input::Evaluated { round: 1, scores }, 0.0);
    assert_eq!(open(&mut scheduler, 2).len(), 3);
    for id in [first[0], other_attempt, other_run] {
        let commands = scheduler.step(received(id), 0.0);
        let (round, client) = (1, ClientId(0));
        assert_eq!(
            commands[0],
            Command::Emit(Event::StaleReply { round, client })
        );
        assert_eq!(server_commands(commands), [ServerCommand::Discard { id }]);
    }
}

#[test]
fn an_update_that_comes_twice_is_aggregated_once() {
    let mut scheduler = scheduler(1);
    let jobs = begin(&mut scheduler);
    scheduler.step(received(jobs[0]), 0.0);
    let again = scheduler.step(received(jobs[0]), 0.0);
    assert!(matches!(again[0], Command::Emit(Event::StaleReply { .. })));
    scheduler.step(received(jobs[1]), 0.0);
    let commands = server_commands(scheduler.step(received(jobs[2]), 0.0));
    let updates = jobs.into_iter().map(selected).collect();
    assert_eq!(commands, [ServerCommand::Aggregate { round: 1, updates }]);
}

#[test]
fn a_failure_of_a_stale_job_harms_nobody() {
    let mut scheduler = scheduler(1);
    let mut id = begin(&mut scheduler)[0];
    id.attempt = 9;
    let lane = None;
    let reason = "late".to_owned();
    let failed = Input::JobFailed {
        id,
        lane,
        reason,
        work: Work::default(),
    };
    let commands = scheduler.step(failed, 0.0);
    assert_eq!(commands.len(), 1, "{commands:?}");
}

#[test]
fn a_job_on_its_way_to_a_client_that_died_with_another_is_sent_again() {
    let mut scheduler = scheduler(1);
    let id = begin(&mut scheduler)[0];
    let died = |job: JobId| Input::ClientDied {
        client: id.client,
        job: Some((job, Work::default())),
    };
    let given_up = JobId { round: 0, ..id };
    let commands = scheduler.step(died(given_up), 0.0);
    assert_eq!(commands[0], Command::Restart(id.client));
    assert_eq!(jobs(&commands), [id]);
    assert_eq!(jobs(&scheduler.step(died(id), 0.0)), []);
    assert!(scheduler.state.in_flight.busy_job(id.client).is_none());
}

#[test]
fn a_client_that_dies_without_a_job_fails_the_one_that_it_was_sent() {
    let mut scheduler = scheduler(1);
    let id = begin(&mut scheduler)[0];
    assert_eq!(scheduler.busy_rounds(), [1].into());
    let client = id.client;
    let commands = scheduler.step(Input::ClientDied { client, job: None }, 0.0);
    assert_eq!(commands[0], Command::Restart(client));
    assert_eq!(jobs(&commands), []);
    assert!(scheduler.state.in_flight.busy_job(client).is_none());
}

#[test]
fn nothing_follows_the_end() {
    let mut scheduler = scheduler(3);
    let jobs = begin(&mut scheduler);
    let stop = Input::Control(ControlCommand::StopNow);
    let commands = scheduler.step(stop.clone(), 0.0);
    assert!(matches!(commands.last(), Some(Command::End(_))));
    assert_eq!(scheduler.step(received(jobs[0]), 0.0), []);
    assert_eq!(scheduler.step(stop, 0.0), []);
}

#[test]
fn a_stop_before_the_first_round_still_runs_one() {
    let mut scheduler = scheduler(5);
    scheduler.step(Input::Control(ControlCommand::FinishRound), 0.0);
    let jobs = begin(&mut scheduler);
    for id in jobs {
        scheduler.step(received(id), 0.0);
    }
    scheduler.step(aggregated(1), 0.0);
    let scores = Scores::new();
    let commands = scheduler.step(Input::Evaluated { round: 1, scores }, 0.0);
    assert_eq!(
        server_commands(commands),
        [ServerCommand::Finish { round: 1 }]
    );
    let Some(Command::End(outcome)) = scheduler.step(Input::Finished, 0.0).pop() else {
        panic!("it continues");
    };
    assert_eq!(outcome.map(|o| o.ending), Ok(EndReason::StoppedAfterRound));
}

/// Plays a round in which everybody's update comes; gives what it ends with.
fn play(scheduler: &mut Scheduler, round: u32) -> Vec<Command> {
    for id in open(scheduler, round) {
        scheduler.step(received(id), 0.0);
    }
    let mut commands = scheduler.step(aggregated(round), 0.0);
    let scores = Scores::new();
    commands.extend(scheduler.step(Input::Evaluated { round, scores }, 0.0));
    commands
}

fn interventions(commands: &[Command]) -> Vec<Intervention> {
    let taken = commands.iter().filter_map(|command| match command {
        Command::Record {
            event: Event::Intervention(intervention),
            ..
        } => Some(*intervention),
        _ => None,
    });
    taken.collect()
}

#[test]
fn a_command_takes_effect_after_what_is_done_again_since_the_server_crashed() {
    let mut scheduler = scheduler(5);
    begin(&mut scheduler);
    scheduler.lifecycle.saved = Some(0);
    let first = open(&mut scheduler, 1);
    assert!(first.is_empty(), "it is open already");
    let jobs: Vec<JobId> = scheduler.state.in_flight.of_round(1);
    for id in jobs {
        scheduler.step(received(id), 0.0);
    }
    scheduler.step(aggregated(1), 0.0);
    let scores = Scores::new();
    scheduler.step(Input::Evaluated { round: 1, scores }, 0.0);
    let failed = Input::ServerFailed {
        round: 2,
        task: ServerTask::Open,
        reason: "no memory".into(),
    };
    scheduler.step(failed, 0.0);
    scheduler.step(Input::Recovered { state: None }, 0.0);
    // Round 1 is done again when the command comes, and round 2 was begun.
    let client = ClientId(1);
    let command = ControlCommand::DropClient { client };
    scheduler.step(Input::Control(command), 0.0);
    assert_eq!(interventions(&play(&mut scheduler, 1)), []);
    let after_round = 2;
    let expected = Intervention {
        after_round,
        command,
    };
    assert_eq!(interventions(&play(&mut scheduler, 2)), [expected]);
    assert_eq!(open(&mut scheduler, 3).len(), 2);
}

#[test]
fn what_is_known_beforehand_and_what_comes_meanwhile_takes_effect_once_each_in_order() {
    let drop = |client, after_round| {
        let client = ClientId(client);
        Intervention {
            after_round,
            command: ControlCommand::DropClient { client },
        }
    };
    let mut scheduler = Scheduler::begin(
        scheduler(9).plan,
        StartFrom {
            interventions: vec![drop(0, 3)],
            ..StartFrom::default()
        },
    )
    .unwrap();
    scheduler.step(Input::LaneReady(LaneId(0)), 0.0);
    scheduler.step(Input::Started, 0.0);
    // Before the first round is asked for, too.
    scheduler.step(Input::Control(drop(1, 1).command), 0.0);
    assert_eq!(interventions(&play(&mut scheduler, 1)), [drop(1, 1)]);
    assert_eq!(interventions(&play(&mut scheduler, 2)), []);
    assert_eq!(interventions(&play(&mut scheduler, 3)), [drop(0, 3)]);
    assert_eq!(interventions(&play(&mut scheduler, 4)), []);
}
