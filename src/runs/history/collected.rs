//! All of a run: its participations, its rounds, and when the server was down.

use std::collections::BTreeMap;

use regatta_actors::ids::ClientId;
use regatta_actors::plan::availability::Interval;
use regatta_actors::protocol::event::{ClientInfo, Event};
use regatta_actors::protocol::round_record::{Outcome, RoundRecord};

use crate::runs::history::participation::{
    InProgress, Participation, ParticipationEnd, ParticipationEvent, moment,
};

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
    in_progress: InProgress,
    last: BTreeMap<ClientId, usize>,
}

impl Participations {
    /// Takes the next event in.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::RunStarted { clients, .. } => self.clients.clone_from(clients),
            Event::RoundStarted {
                round,
                virtual_seconds,
                ..
            } => {
                let at = moment(*virtual_seconds);
                self.rounds.push(RoundSpan {
                    round: *round,
                    from: at,
                    to: at,
                });
            }
            Event::ServerCrashed {
                virtual_seconds, ..
            } => {
                let at = moment(*virtual_seconds);
                self.server_down.push(Interval { from: at, to: at });
            }
            Event::ServerRecovered {
                virtual_seconds, ..
            } => {
                if let Some(down) = self.server_down.last_mut() {
                    down.to = moment(*virtual_seconds);
                }
            }
            Event::RoundFinished(record) => self.finish_round(record),
            Event::RunFinished {
                virtual_seconds, ..
            } => self.end = self.end.max(moment(*virtual_seconds)),
            _ => {}
        }
        let happened = self.in_progress.take(event);
        happened.into_iter().for_each(|event| self.note(event));
    }

    fn note(&mut self, event: ParticipationEvent) {
        match event {
            ParticipationEvent::Selected(participation) => {
                self.end = self.end.max(participation.ended);
            }
            ParticipationEvent::Ended(participation) => {
                self.end = self.end.max(participation.ended);
                // A ledger that was damaged may end one that it did not begin.
                if participation.selected.is_some() {
                    self.last.insert(participation.client, self.all.len());
                    self.all.push(participation);
                }
            }
            ParticipationEvent::FaultInjected(..) | ParticipationEvent::Late(_) => {}
        }
    }

    /// A round's record says what became of the updates that arrived, and what they weighed.
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
                Outcome::Refused if participation.end == ParticipationEnd::Arrived => {
                    participation.end = ParticipationEnd::Refused;
                }
                Outcome::Late => continue,
                _ => {}
            }
            (participation.bytes_up, participation.bytes_down) =
                (client.bytes_up, client.bytes_down);
        }
    }

    /// Ends what is in progress at the ledger's end.
    pub(crate) fn finish(&mut self) {
        let end = self.end;
        let happened = self.in_progress.finish(end);
        happened.into_iter().for_each(|event| self.note(event));
        if let Some(down) = self
            .server_down
            .last_mut()
            .filter(|down| down.to == down.from)
        {
            down.to = end;
        }
    }
}
