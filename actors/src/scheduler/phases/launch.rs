//! The start of the run and of a round: which clients train, what strikes them, and when they will
//! be done.

use crate::clock::VirtualTime;
use crate::ids::{ClientId, JobId};
use crate::plan::fault::injection::{InjectedFaults, InterruptionKind};
use crate::plan::policy::RoundPolicy;
use crate::plan::{ClockMode, FederationPlan};
use crate::protocol::command::ServerCommand;
use crate::protocol::event::{ClientInfo, Event};
use crate::protocol::job::Work;
use crate::scheduler::environment::Environment;
use crate::scheduler::in_flight::{Due, InFlight, InFlightJob, JobState};
use crate::scheduler::output::Output;
use crate::scheduler::quotas;
use crate::scheduler::round::Round;
use crate::scheduler::state::State;

/// Introduces the run to the observers.
pub fn introduce_run(plan: &FederationPlan, state: &mut State, output: &mut Output, resumed: bool) {
    let clients = plan.numbered().map(|(client, plan)| ClientInfo {
        client,
        name: plan.name.clone(),
        examples: plan.examples,
    });
    let (run, clients) = (plan.run.clone(), clients.collect());
    let (rounds, lanes, after_round) = (plan.rounds, plan.lanes, state.round);
    let event = if resumed {
        Event::RunResumed {
            run,
            rounds,
            lanes,
            clients,
            after_round,
        }
    } else {
        Event::RunStarted {
            run,
            rounds,
            lanes,
            clients,
        }
    };
    output.emit(state, event);
}

/// Has the server give out its state for the round.
pub fn open_round(state: &State, output: &mut Output) {
    output.send_to_server(ServerCommand::Open {
        round: state.round,
        held_versions: state.fleet.held_versions(),
        oldest: state.in_flight.oldest_round().unwrap_or(state.round),
    });
}

/// Begins the collection: selects the round's clients and sends them to work.
pub fn broadcast(
    plan: &FederationPlan,
    environment: &mut Environment,
    state: &mut State,
    round: &mut Round,
    output: &mut Output,
) {
    round.began = output.wall;
    round.target = quotas::target(plan);
    let mut wanted = quotas::clients(plan);
    if plan.policy.is_buffered() {
        wanted = wanted.saturating_sub(state.in_flight.jobs.len());
    }
    let clients = state
        .fleet
        .select(plan, round, &state.in_flight, environment, wanted);
    let event = Event::RoundStarted {
        round: round.number,
        clients: clients.clone(),
        virtual_seconds: state.virtual_seconds(),
    };
    output.emit(state, event);
    set_deadline(plan, round, &mut state.in_flight);
    launch_all(plan, environment, state, round, output, &clients);
}

/// Puts the end of the attempt on the clock, if the plan sets a deadline.
pub fn set_deadline(plan: &FederationPlan, round: &Round, in_flight: &mut InFlight) {
    if let RoundPolicy::Deadline { seconds, .. } = plan.policy {
        let due = in_flight.now().after(seconds);
        let (round, attempt) = (round.number, round.attempt);
        in_flight
            .clock
            .schedule(due, Due::Deadline { round, attempt });
    }
}

/// Selects at most `count` more clients in the middle of a round.
pub fn select_more(
    plan: &FederationPlan,
    environment: &mut Environment,
    state: &mut State,
    round: &mut Round,
    output: &mut Output,
    count: usize,
) {
    round.waiting = false;
    let clients = state
        .fleet
        .select(plan, round, &state.in_flight, environment, count);
    if clients.is_empty() {
        return;
    }
    let event = Event::ClientsSelected {
        round: round.number,
        attempt: round.attempt,
        clients: clients.clone(),
        virtual_seconds: state.virtual_seconds(),
    };
    output.emit(state, event);
    launch_all(plan, environment, state, round, output, &clients);
}

/// Sends clients to work, in groups that are trained together.
fn launch_all(
    plan: &FederationPlan,
    environment: &mut Environment,
    state: &mut State,
    round: &mut Round,
    output: &mut Output,
    clients: &[ClientId],
) {
    let begun = clients
        .iter()
        .filter_map(|client| launch(plan, environment, state, round, output, *client));
    let begun: Vec<JobId> = begun.collect();
    group(plan, &mut state.in_flight, &begun);
    for id in begun {
        if let Some(job) = state.in_flight.job(id) {
            output.push(job.train_command(plan));
        }
    }
}

/// Divides jobs that begin together into groups, in the order of their clients. What a client gives
/// depends on its group, so that this depends on the plan alone. A client with a lane to itself
/// trains alone there, and one under which the lane fails would take the others with it.
fn group(plan: &FederationPlan, in_flight: &mut InFlight, begun: &[JobId]) {
    let is_grouped = |id: &&JobId| {
        let fails = in_flight.job(**id).is_some_and(|job| {
            let interruption = job.injected.interruption;
            interruption.is_some_and(|it| it.kind == InterruptionKind::LaneFailure)
        });
        !fails && plan.clients[id.client.0 as usize].lane.is_none()
    };
    let mut grouped: Vec<JobId> = begun.iter().filter(is_grouped).copied().collect();
    grouped.sort_by_key(|id| id.client);
    for ids in grouped.chunks(plan.clients_per_step.max(1) as usize) {
        if ids.len() < 2 {
            continue;
        }
        let clients: Vec<ClientId> = ids.iter().map(|id| id.client).collect();
        for id in ids {
            if let Some(job) = in_flight.job_mut(*id) {
                job.group.clone_from(&clients);
            }
        }
    }
}

/// Takes one client on, and puts on the clock when its work ends; gives its job if it begins.
fn launch(
    plan: &FederationPlan,
    environment: &mut Environment,
    state: &mut State,
    round: &mut Round,
    output: &mut Output,
    client: ClientId,
) -> Option<JobId> {
    let id = round.job_id(client);
    let injected = environment.inject(plan, id);
    report_faults(state, output, id, &injected);
    let held = state.fleet.client(client).held_version;
    let bytes_down = round.bytes_down.get(&held).copied().unwrap_or(0);
    let (mut job, due) = schedule_job(plan, environment, state, id, injected, bytes_down);
    state.fleet.client_mut(client).selected_in = (id.round, id.attempt);
    round.selected += 1;
    round.pending += 1;
    let begins = job.injected.lets_begin();
    if begins {
        state.fleet.client_mut(client).held_version = Some(id.round);
    } else {
        job.bytes_down = 0;
        job.state = JobState::Failed {
            reason: "it dropped out".into(),
            work: Work::default(),
        };
    }
    // By the wall's clock, a job's end is due when the machine is done with it.
    if plan.clock == ClockMode::Virtual || !begins {
        state.in_flight.clock.schedule(due, job.end_of_training());
    }
    state.in_flight.insert(job);
    begins.then_some(id)
}

fn report_faults(state: &mut State, output: &mut Output, id: JobId, injected: &InjectedFaults) {
    for &fault in &injected.names {
        let event = Event::FaultInjected {
            round: id.round,
            client: id.client,
            fault,
            virtual_seconds: state.virtual_seconds(),
        };
        output.emit(state, event);
    }
}

/// A client's job that begins now, and when its training ends, with an update or without. A client
/// whose availability ends before that leaves then.
fn schedule_job(
    plan: &FederationPlan,
    environment: &mut Environment,
    state: &State,
    id: JobId,
    mut injected: InjectedFaults,
    bytes_down: u64,
) -> (InFlightJob, VirtualTime) {
    let now = state.in_flight.now();
    let window = environment.window(id.client, now);
    let until = window.map_or(VirtualTime(u64::MAX), |window| window.until);
    let client = &plan.clients[id.client.0 as usize];
    let down = client.profile.download_seconds(bytes_down) * injected.link;
    let slow = state.fleet.client(id.client).slow;
    let train = client.train_seconds() * injected.slowdown * slow;
    let end_of = |fraction: f64| now.after(down + train * fraction);
    let mut due = match injected.interruption {
        Some(interruption) if interruption.at <= 0.0 => now,
        Some(interruption) => end_of(interruption.at),
        None => end_of(1.0),
    };
    if until < due {
        let trained = (until.seconds() - now.seconds() - down) / train;
        let at = if trained.is_finite() {
            trained.clamp(0.0, 1.0)
        } else {
            0.0
        };
        injected.interrupt(at, InterruptionKind::Leave { rejoin: None });
        due = until;
    }
    let job = InFlightJob {
        id,
        injected,
        bytes_down,
        group: Vec::new(),
        selected_at: now,
        until,
        state: JobState::Busy,
        sending: false,
        late: false,
    };
    (job, due)
}
