//! Asking clients: whom, what befalls them, and when they will be done.

use super::state::{Due, InFlightJob, JobState};
use super::{Command, Phase, Scheduler};
use crate::clock::VirtualTime;
use crate::event::{ClientInfo, ClientState, Event};
use crate::fault::{InjectedFaults, InterruptionKind};
use crate::learner::ClientId;
use crate::message::{JobFaults, JobId, ServerCommand, Work};
use crate::plan::ClockMode;
use crate::policy::RoundPolicy;

use super::round::Round;

impl Scheduler {
    pub(super) fn one_more_is_up(&mut self) {
        self.starting = self.starting.saturating_sub(1);
        if self.phase == Phase::Starting && self.starting == 0 {
            self.start();
        }
    }

    /// Introduces the run and opens its first round, or the one after the checkpoint.
    pub(super) fn start(&mut self) {
        let clients = self.plan.numbered();
        let clients = clients
            .map(|(client, plan)| ClientInfo {
                client,
                name: plan.name.clone(),
                examples: plan.examples,
            })
            .collect();
        let (run, rounds, lanes) = (self.plan.run.clone(), self.plan.rounds, self.plan.lanes);
        let after_round = self.state.round;
        self.emit(if self.resumed {
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
        });
        if self.resumed {
            self.go_on();
        } else {
            self.open(1);
        }
    }

    pub(super) fn open(&mut self, number: u32) {
        self.phase = Phase::Opening;
        self.state.round = number;
        self.reached = self.reached.max(number);
        self.round = Round::new(number, self.wall);
        let members = self.state.members.iter();
        let holds = members.filter(|m| !m.retired).map(|m| m.holds).collect();
        let flights = self.state.flights.values();
        let oldest = flights.map(|flight| flight.stamp.round).min();
        self.ask_server(ServerCommand::Open {
            round: number,
            holds,
            oldest: oldest.unwrap_or(number),
        });
    }

    /// Begins the collection: asks the clients that are there.
    pub(super) fn broadcast(&mut self) {
        self.phase = Phase::Collecting;
        self.round.began = self.wall;
        self.round.target = self.target();
        let busy = self.state.flights.len();
        let wanted = match self.plan.policy {
            RoundPolicy::Buffered { .. } => self.wanted().saturating_sub(busy),
            _ => self.wanted(),
        };
        let clients = self.select(wanted);
        self.emit(Event::RoundStarted {
            round: self.round.number,
            clients: clients.clone(),
            virtual_seconds: self.now(),
        });
        self.set_deadline();
        self.launch_all(clients);
        self.review();
        self.advance();
    }

    pub(super) fn set_deadline(&mut self) {
        if let RoundPolicy::Deadline { seconds, .. } = self.plan.policy {
            let (round, attempt) = (self.round.number, self.round.attempt);
            let due = self.state.clock.now().after(seconds);
            let deadline = Due::Deadline { round, attempt };
            self.state.clock.schedule(due, deadline);
        }
    }

    /// Asks at most `count` more clients in the middle of a round.
    pub(super) fn ask_more(&mut self, count: usize) {
        self.round.waiting = false;
        let clients = self.select(count);
        if clients.is_empty() {
            return;
        }
        self.emit(Event::ClientsAsked {
            round: self.round.number,
            attempt: self.round.attempt,
            clients: clients.clone(),
            virtual_seconds: self.now(),
        });
        self.launch_all(clients);
    }

    fn launch_all(&mut self, clients: Vec<ClientId>) {
        for client in clients {
            self.launch(client);
        }
    }

    /// Sends one client to work, and puts on the clock when that ends.
    fn launch(&mut self, client: ClientId) {
        let (round, attempt) = (self.round.number, self.round.attempt);
        let stamp = JobId {
            run: self.run,
            round,
            client,
            attempt,
        };
        let strikes = self
            .faults
            .strike(client, self.name(client), round, attempt);
        self.tell_strikes(stamp, &strikes);
        let (mut flight, due) = self.flight(stamp, strikes);
        self.state.member(client).asked = (round, attempt);
        self.round.asked += 1;
        self.round.pending += 1;
        let works = flight.strikes.lets_begin();
        if works {
            self.state.member(client).holds = Some(round);
            let script = self.script(&flight.strikes);
            self.commands.push(Command::Train { stamp, script });
        } else {
            flight.bytes_down = 0;
            flight.machine = JobState::Failed {
                reason: "it dropped out".into(),
                work: Work::default(),
            };
        }
        // By the wall's clock, a job's end is due when the machine is done with it.
        if self.plan.clock == ClockMode::Virtual || !works {
            let is_cut = flight.strikes.cut.is_some();
            let end = if is_cut { Due::Left } else { Due::Trained };
            self.state.clock.schedule(due, end(stamp));
        }
        self.state.flights.insert(client, flight);
    }

    fn tell_strikes(&mut self, stamp: JobId, strikes: &InjectedFaults) {
        for &fault in &strikes.names {
            self.emit(Event::FaultStruck {
                round: stamp.round,
                client: stamp.client,
                fault,
                virtual_seconds: self.now(),
            });
        }
    }

    /// A client's job, and when its training ends, one way or the other.
    fn flight(&mut self, stamp: JobId, mut strikes: InjectedFaults) -> (InFlightJob, VirtualTime) {
        let now = self.state.clock.now();
        let index = stamp.client.0 as usize;
        let window = self.timelines[index].window(now);
        let until = window.map_or(VirtualTime(u64::MAX), |window| window.until);
        let member = &self.state.members[index];
        let bytes_down = self.round.bytes_down.get(&member.holds);
        let bytes_down = bytes_down.copied().unwrap_or(0);
        let plan = &self.plan.clients[index];
        let down = plan.profile.download_seconds(bytes_down) * strikes.link;
        let train = plan.train_seconds() * strikes.slowdown * member.slow;
        let end_of = |fraction: f64| now.after(down + train * fraction);
        let mut due = match strikes.cut {
            Some(cut) if cut.at <= 0.0 => now,
            Some(cut) => end_of(cut.at),
            None => end_of(1.0),
        };
        if until < due {
            let trained = (until.seconds() - now.seconds() - down) / train;
            let at = if trained.is_finite() {
                trained.clamp(0.0, 1.0)
            } else {
                0.0
            };
            strikes.cut(at, InterruptionKind::Leave { rejoin: None });
            due = until;
        }
        let flight = InFlightJob {
            stamp,
            strikes,
            bytes_down,
            asked: now,
            until,
            machine: JobState::Busy,
            sending: false,
            late: false,
        };
        (flight, due)
    }

    fn script(&self, strikes: &InjectedFaults) -> JobFaults {
        JobFaults {
            cut: strikes.cut,
            corruption: strikes.corruption.map(|how| (how, self.plan.seed)),
        }
    }

    /// Shows a client that is not at work as idle.
    pub(super) fn show_idle(&mut self, client: ClientId) {
        self.show(client, ClientState::Idle);
    }
}
