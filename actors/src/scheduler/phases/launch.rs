//! Asking clients: whom, what befalls them, and when they will be done.

use crate::clock::VirtualTime;
use crate::ids::{ClientId, JobId};
use crate::plan::ClockMode;
use crate::plan::fault::injection::{InjectedFaults, InterruptionKind};
use crate::plan::policy::RoundPolicy;
use crate::protocol::client_state::ClientState;
use crate::protocol::command::{Command, ServerCommand};
use crate::protocol::event::{ClientInfo, Event};
use crate::protocol::job::{JobFaults, Work};
use crate::scheduler::Phase;
use crate::scheduler::Scheduler;
use crate::scheduler::in_flight::{Due, InFlightJob, JobState};
use crate::scheduler::round::Round;

impl Scheduler {
    pub(in crate::scheduler) fn one_more_is_up(&mut self) {
        self.starting = self.starting.saturating_sub(1);
        if self.phase == Phase::Starting && self.starting == 0 {
            self.start();
        }
    }

    /// Introduces the run and opens its first round, or the one after the checkpoint.
    pub(in crate::scheduler) fn start(&mut self) {
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

    pub(in crate::scheduler) fn open(&mut self, number: u32) {
        self.phase = Phase::Opening;
        self.state.round = number;
        self.reached = self.reached.max(number);
        self.round = Round::new(number, self.wall);
        let clients = self.state.clients.iter();
        let held_versions = clients
            .filter(|m| !m.retired)
            .map(|m| m.held_version)
            .collect();
        let in_flight = self.state.in_flight.values();
        let oldest = in_flight.map(|job| job.id.round).min();
        self.ask_server(ServerCommand::Open {
            round: number,
            held_versions,
            oldest: oldest.unwrap_or(number),
        });
    }

    /// Begins the collection: asks the clients that are there.
    pub(in crate::scheduler) fn broadcast(&mut self) {
        self.phase = Phase::Collecting;
        self.round.began = self.wall;
        self.round.target = self.target();
        let busy = self.state.in_flight.len();
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

    pub(in crate::scheduler) fn set_deadline(&mut self) {
        if let RoundPolicy::Deadline { seconds, .. } = self.plan.policy {
            let (round, attempt) = (self.round.number, self.round.attempt);
            let due = self.state.clock.now().after(seconds);
            let deadline = Due::Deadline { round, attempt };
            self.state.clock.schedule(due, deadline);
        }
    }

    /// Asks at most `count` more clients in the middle of a round.
    pub(in crate::scheduler) fn select_more(&mut self, count: usize) {
        self.round.waiting = false;
        let clients = self.select(count);
        if clients.is_empty() {
            return;
        }
        self.emit(Event::ClientsSelected {
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
        let id = JobId {
            run: self.run,
            round,
            client,
            attempt,
        };
        let injected = self
            .faults
            .inject(client, self.name(client), round, attempt);
        self.report_faults(id, &injected);
        let (mut job, due) = self.job(id, injected);
        self.state.client(client).selected_in = (round, attempt);
        self.round.selected += 1;
        self.round.pending += 1;
        let works = job.injected.lets_begin();
        if works {
            self.state.client(client).held_version = Some(round);
            let faults = self.faults(&job.injected);
            self.commands.push(Command::Train { id, faults });
        } else {
            job.bytes_down = 0;
            job.state = JobState::Failed {
                reason: "it dropped out".into(),
                work: Work::default(),
            };
        }
        // By the wall's clock, a job's end is due when the machine is done with it.
        if self.plan.clock == ClockMode::Virtual || !works {
            let is_interrupted = job.injected.interruption.is_some();
            let end = if is_interrupted {
                Due::Left
            } else {
                Due::Trained
            };
            self.state.clock.schedule(due, end(id));
        }
        self.state.in_flight.insert(client, job);
    }

    fn report_faults(&mut self, id: JobId, injected: &InjectedFaults) {
        for &fault in &injected.names {
            self.emit(Event::FaultInjected {
                round: id.round,
                client: id.client,
                fault,
                virtual_seconds: self.now(),
            });
        }
    }

    /// A client's job, and when its training ends, one way or the other.
    fn job(&mut self, id: JobId, mut injected: InjectedFaults) -> (InFlightJob, VirtualTime) {
        let now = self.state.clock.now();
        let index = id.client.0 as usize;
        let window = self.timelines[index].window(now);
        let until = window.map_or(VirtualTime(u64::MAX), |window| window.until);
        let entry = &self.state.clients[index];
        let bytes_down = self.round.bytes_down.get(&entry.held_version);
        let bytes_down = bytes_down.copied().unwrap_or(0);
        let plan = &self.plan.clients[index];
        let down = plan.profile.download_seconds(bytes_down) * injected.link;
        let train = plan.train_seconds() * injected.slowdown * entry.slow;
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
            selected_at: now,
            until,
            state: JobState::Busy,
            sending: false,
            late: false,
        };
        (job, due)
    }

    fn faults(&self, injected: &InjectedFaults) -> JobFaults {
        JobFaults {
            interruption: injected.interruption,
            corruption: injected.corruption.map(|how| (how, self.plan.seed)),
        }
    }

    /// Shows a client that is not at work as idle.
    pub(in crate::scheduler) fn show_idle(&mut self, client: ClientId) {
        self.show(client, ClientState::Idle);
    }
}
