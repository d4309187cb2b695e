//! A run as a list of participations: each selection of a client, and its result.

use std::collections::BTreeMap;

use regatta_actors::clock::VirtualTime;
use regatta_actors::ids::ClientId;
use regatta_actors::plan::availability::Interval;
use regatta_actors::plan::fault::FaultName;
use regatta_actors::protocol::event::{ClientInfo, Event};
use regatta_actors::protocol::round_record::{Outcome, RoundRecord};

/// One client's participation for one round.
#[derive(Debug, Clone, PartialEq)]
pub struct Participation {
    /// The client concerned.
    pub client: ClientId,
    /// The round it was selected in.
    pub round: u32,
    /// Its selection, in virtual seconds since the run's start.
    pub selected: f64,
    /// When it was over, in virtual seconds since the run's start.
    pub ended: f64,
    /// How it ended.
    pub end: End,
    /// When its round was closed without it, if it was.
    pub late_at: Option<f64>,
    /// The scripted faults that struck it.
    pub faults: Vec<FaultName>,
    /// Bytes sent, where the participation's round tells them.
    pub bytes_up: u64,
    /// Bytes received, where the participation's round tells them.
    pub bytes_down: u64,
}

/// How a participation ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End {
    /// Its update was aggregated.
    Aggregated,
    /// Its update came and was not aggregated: it was corrupt, or the round was skipped.
    Refused,
    /// The client dropped out; it is back in this round, if that was said.
    Dropped(Option<u32>),
    /// The client failed; it is back at this time, if it is.
    Failed(Option<f64>),
    /// The update was lost on its way.
    Lost,
    /// It was given up when its round was closed.
    Late,
    /// The update came too long after its round.
    Stale,
    /// The run ended before it did.
    Open,
}

/// A round's stretch of virtual time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoundSpan {
    /// Its number.
    pub round: u32,
    /// Its start, in virtual seconds.
    pub from: f64,
    /// Its end, in virtual seconds.
    pub to: f64,
}

/// A moment as the virtual clock can count it, from 0 to some 584 years: a ledger that was damaged
/// or written by hand may tell others.
fn moment(seconds: f64) -> f64 {
    let end = VirtualTime(u64::MAX).seconds();
    // What is not a number is not a moment either.
    if seconds >= 0.0 {
        seconds.min(end)
    } else {
        0.0
    }
}

/// All participations of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Participations {
    /// The fleet, in client order.
    pub clients: Vec<ClientInfo>,
    /// In the order in which they ended.
    pub all: Vec<Participation>,
    /// Rounds, in order.
    pub rounds: Vec<RoundSpan>,
    /// The times at which the server was down.
    pub server_down: Vec<Interval>,
    /// Virtual seconds from the run's start to its end, or to the last event.
    pub end: f64,
    open: BTreeMap<ClientId, Participation>,
    last: BTreeMap<ClientId, usize>,
}

impl Participations {
    /// Takes the next event in.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::RunStarted { clients, .. } => self.clients.clone_from(clients),
            Event::RoundStarted {
                round,
                clients,
                virtual_seconds: at,
            } => {
                let at = moment(*at);
                self.rounds.push(RoundSpan {
                    round: *round,
                    from: at,
                    to: at,
                });
                self.ask(clients, *round, at);
            }
            Event::ClientsSelected {
                round,
                clients,
                virtual_seconds: at,
                ..
            } => self.ask(clients, *round, moment(*at)),
            Event::ServerCrashed {
                virtual_seconds: at,
                ..
            } => {
                let at = moment(*at);
                self.server_down.push(Interval { from: at, to: at });
            }
            Event::ServerRecovered {
                virtual_seconds: at,
                ..
            } => {
                if let Some(down) = self.server_down.last_mut() {
                    down.to = moment(*at);
                }
            }
            Event::RoundFinished(record) => self.finish_round(record),
            Event::RunFinished {
                virtual_seconds, ..
            } => self.end = self.end.max(moment(*virtual_seconds)),
            other => self.take_work(other),
        }
    }

    /// Events that concern one client's participation.
    fn take_work(&mut self, event: &Event) {
        match *event {
            Event::FaultInjected { client, fault, .. } => {
                if let Some(participation) = self.open.get_mut(&client) {
                    participation.faults.push(fault);
                }
            }
            Event::UpdateLate {
                client,
                virtual_seconds,
                ..
            } => {
                if let Some(participation) = self.open.get_mut(&client) {
                    participation.late_at = Some(moment(virtual_seconds));
                }
            }
            Event::UpdateReceived {
                client,
                virtual_seconds: at,
                ..
            } => self.close(client, at, End::Aggregated),
            Event::ClientDropped {
                client,
                rejoin,
                virtual_seconds: at,
                ..
            } => self.close(client, at, End::Dropped(rejoin)),
            Event::ClientFailed {
                client,
                back_at,
                virtual_seconds: at,
                ..
            } => self.close(client, at, End::Failed(back_at.map(moment))),
            Event::UpdateLost {
                client,
                virtual_seconds: at,
                ..
            } => self.close(client, at, End::Lost),
            Event::UpdateStale {
                client,
                virtual_seconds: at,
                ..
            } => self.close(client, at, End::Stale),
            _ => {}
        }
    }

    fn ask(&mut self, clients: &[ClientId], round: u32, at: f64) {
        for &client in clients {
            // A client that is selected again has been cancelled in what it was late with.
            if let Some(late) = self
                .open
                .get(&client)
                .map(|participation| participation.late_at)
            {
                self.close(client, late.unwrap_or(at), End::Late);
            }
            let participation = Participation {
                client,
                round,
                selected: at,
                ended: at,
                end: End::Open,
                late_at: None,
                faults: Vec::new(),
                bytes_up: 0,
                bytes_down: 0,
            };
            self.open.insert(client, participation);
            self.end = self.end.max(at);
        }
    }

    fn close(&mut self, client: ClientId, at: f64, end: End) {
        let at = moment(at);
        self.end = self.end.max(at);
        if let Some(mut participation) = self.open.remove(&client) {
            participation.ended = at;
            participation.end = end;
            self.last.insert(client, self.all.len());
            self.all.push(participation);
        }
    }

    fn finish_round(&mut self, record: &RoundRecord) {
        let at = moment(record.virtual_seconds);
        self.end = self.end.max(at);
        if let Some(span) = self.rounds.last_mut() {
            span.to = at;
        }
        for client in &record.clients {
            let last = self.last.get(&client.client);
            let Some(participation) = last.and_then(|at| self.all.get_mut(*at)) else {
                continue;
            };
            match client.outcome {
                Outcome::Refused if participation.end == End::Aggregated => {
                    participation.end = End::Refused
                }
                Outcome::Late => continue,
                _ => {}
            }
            (participation.bytes_up, participation.bytes_down) =
                (client.bytes_up, client.bytes_down);
        }
    }

    /// Ends what is open at the ledger's end.
    pub(crate) fn finish(&mut self) {
        let end = self.end;
        for (_, mut participation) in std::mem::take(&mut self.open) {
            (participation.ended, participation.end) = match participation.late_at {
                Some(late) => (late, End::Late),
                None => (end, End::Open),
            };
            self.all.push(participation);
        }
        if let Some(down) = self
            .server_down
            .last_mut()
            .filter(|down| down.to == down.from)
        {
            down.to = end;
        }
    }
}

impl Participation {
    /// Virtual seconds that it took.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        (self.ended - self.selected).max(0.0)
    }

    /// Whether it was lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        !matches!(self.end, End::Aggregated | End::Open)
    }

    /// The first of these faults that struck it.
    #[must_use]
    pub fn struck_by(&self, faults: &[FaultName]) -> Option<FaultName> {
        let struck = |fault: &&FaultName| self.faults.contains(fault);
        faults.iter().find(struck).copied()
    }
}
