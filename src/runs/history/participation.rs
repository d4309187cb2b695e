//! A run as a sequence of participations: each selection of a client, and how it ended.
//!
//! [`InProgress`] follows a run event by event, live or from its ledger. It says what each event
//! means for the participations that it concerns, and keeps only those that have not ended: at
//! most one per client, however long the run.

use std::collections::BTreeMap;

use regatta_actors::clock::VirtualTime;
use regatta_actors::ids::ClientId;
use regatta_actors::plan::fault::FaultName;
use regatta_actors::protocol::event::Event;

/// One client's participation in one round.
#[derive(Debug, Clone, PartialEq)]
pub struct Participation {
    /// The client concerned.
    pub client: ClientId,
    /// The round it was selected in.
    pub round: u32,
    /// The attempt within the round, from 0.
    pub attempt: u32,
    /// Its selection, in virtual seconds since the run's start; `None`: before the process that
    /// resumed the run.
    pub selected: Option<f64>,
    /// When it was over, in virtual seconds since the run's start; until then, its selection.
    pub ended: f64,
    /// How it ended.
    pub end: ParticipationEnd,
    /// When its round was closed without it, if it was.
    pub late_at: Option<f64>,
    /// The scripted faults that affected it.
    pub faults: Vec<FaultName>,
    /// The job behind an update that arrived.
    pub job: Option<JobStats>,
    /// Bytes sent, where the participation's round tells them.
    pub bytes_up: u64,
    /// Bytes received, where the participation's round tells them.
    pub bytes_down: u64,
}

/// How a participation ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ParticipationEnd {
    /// Its update arrived, and was not refused.
    Arrived,
    /// Its update arrived and was not aggregated: it was corrupt, or the round was skipped.
    Refused,
    /// The client dropped out.
    Dropped {
        /// The round in which it is back, if that was said.
        rejoin: Option<u32>,
    },
    /// The client failed.
    Failed {
        /// When it is back, in virtual seconds; `None`: it is retired.
        back_at: Option<f64>,
    },
    /// The update was lost on its way.
    Lost,
    /// It was given up when its round was closed.
    Late,
    /// The update arrived too long after its round.
    Stale,
    /// It has not ended, or the run ended before it did.
    Open,
}

/// What a job that gave an update did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JobStats {
    /// Mean training loss over its examples.
    pub loss: f64,
    /// Optimiser steps taken.
    pub steps: u64,
    /// Wall seconds on its lane.
    pub seconds: f64,
}

/// What an event means for one participation.
#[derive(Debug, Clone, PartialEq)]
pub enum ParticipationEvent {
    /// It begins: the client is selected.
    Selected(Participation),
    /// A scripted fault will affect the client's participation.
    FaultInjected(ClientId, FaultName),
    /// Its round was closed without it. Unless its client is cancelled, it continues.
    Late(Participation),
    /// It has ended.
    Ended(Participation),
}

/// The participations of a run that have not ended, one per client at most.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InProgress(BTreeMap<ClientId, Participation>);

/// A moment as the virtual clock can count it, from 0 to some 584 years: a ledger that was damaged
/// or written by hand may tell others.
pub(crate) fn moment(seconds: f64) -> f64 {
    let end = VirtualTime(u64::MAX).seconds();
    // What is not a number is not a moment either.
    if seconds >= 0.0 {
        seconds.min(end)
    } else {
        0.0
    }
}

impl InProgress {
    /// Takes the next event in, and says what it means.
    pub fn take(&mut self, event: &Event) -> Vec<ParticipationEvent> {
        match *event {
            Event::RunStarted { .. } | Event::RunResumed { .. } => {
                self.0.clear();
                Vec::new()
            }
            Event::RoundStarted {
                round,
                ref clients,
                virtual_seconds: at,
            } => self.select(clients, round, 0, moment(at)),
            Event::ClientsSelected {
                round,
                attempt,
                ref clients,
                virtual_seconds: at,
            } => self.select(clients, round, attempt, moment(at)),
            Event::FaultInjected { client, fault, .. } => {
                if let Some(participation) = self.0.get_mut(&client) {
                    participation.faults.push(fault);
                }
                vec![ParticipationEvent::FaultInjected(client, fault)]
            }
            Event::UpdateLate {
                round,
                client,
                virtual_seconds: at,
            } => {
                let unseen = || Participation::new(client, round);
                let participation = self.0.entry(client).or_insert_with(unseen);
                participation.late_at = Some(moment(at));
                vec![ParticipationEvent::Late(participation.clone())]
            }
            ref other => self.end(other),
        }
    }

    /// Whether a client is at work for a round that is not closed.
    #[must_use]
    pub fn is_on_time(&self, client: ClientId) -> bool {
        let participation = self.0.get(&client);
        participation.is_some_and(|participation| participation.late_at.is_none())
    }

    /// Whether any client is at work for a round that is not closed.
    #[must_use]
    pub fn any_on_time(&self) -> bool {
        let mut all = self.0.values();
        all.any(|participation| participation.late_at.is_none())
    }

    /// Ends what is in progress where the run, or its ledger, ends.
    pub fn finish(&mut self, at: f64) -> Vec<ParticipationEvent> {
        let all = std::mem::take(&mut self.0).into_values();
        all.map(|participation| match participation.late_at {
            Some(late) => participation.ended(late, ParticipationEnd::Late),
            None => participation.ended(at, ParticipationEnd::Open),
        })
        .collect()
    }

    fn select(
        &mut self,
        clients: &[ClientId],
        round: u32,
        attempt: u32,
        at: f64,
    ) -> Vec<ParticipationEvent> {
        let mut happened = Vec::with_capacity(clients.len());
        for &client in clients {
            let selected = Participation {
                attempt,
                selected: Some(at),
                ended: at,
                ..Participation::new(client, round)
            };
            // A client that is selected again has been cancelled in what it was late with.
            if let Some(before) = self.0.insert(client, selected.clone()) {
                let ended = before.late_at.unwrap_or(at);
                happened.push(before.ended(ended, ParticipationEnd::Late));
            }
            happened.push(ParticipationEvent::Selected(selected));
        }
        happened
    }

    /// Events that end a client's participation.
    fn end(&mut self, event: &Event) -> Vec<ParticipationEvent> {
        let mut job = None;
        let (client, round, at, end) = match *event {
            Event::UpdateReceived {
                round,
                client,
                loss,
                steps,
                seconds,
                virtual_seconds: at,
                ..
            } => {
                job = Some(JobStats {
                    loss,
                    steps,
                    seconds,
                });
                (client, round, at, ParticipationEnd::Arrived)
            }
            Event::ClientDropped {
                round,
                client,
                rejoin,
                virtual_seconds: at,
                ..
            } => (client, round, at, ParticipationEnd::Dropped { rejoin }),
            Event::ClientFailed {
                round,
                client,
                back_at,
                virtual_seconds: at,
                ..
            } => {
                let back_at = back_at.map(moment);
                (client, round, at, ParticipationEnd::Failed { back_at })
            }
            Event::UpdateLost {
                round,
                client,
                virtual_seconds: at,
            } => (client, round, at, ParticipationEnd::Lost),
            Event::UpdateStale {
                round,
                client,
                virtual_seconds: at,
                ..
            } => (client, round, at, ParticipationEnd::Stale),
            _ => return Vec::new(),
        };
        let participation = self.0.remove(&client);
        let unseen = || Participation::new(client, round);
        let participation = participation.unwrap_or_else(unseen);
        vec![
            Participation {
                job,
                ..participation
            }
            .ended(moment(at), end),
        ]
    }
}

impl Participation {
    /// One of which nothing is known yet.
    fn new(client: ClientId, round: u32) -> Self {
        Self {
            client,
            round,
            attempt: 0,
            selected: None,
            ended: 0.0,
            end: ParticipationEnd::Open,
            late_at: None,
            faults: Vec::new(),
            job: None,
            bytes_up: 0,
            bytes_down: 0,
        }
    }

    fn ended(self, at: f64, end: ParticipationEnd) -> ParticipationEvent {
        ParticipationEvent::Ended(Self {
            ended: at,
            end,
            ..self
        })
    }

    /// Virtual seconds that it took; 0 if its selection is not known.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        let selected = self.selected.unwrap_or(self.ended);
        (self.ended - selected).max(0.0)
    }

    /// Virtual seconds from its end until its client is back, if that failed.
    #[must_use]
    pub fn restart_seconds(&self) -> f64 {
        match self.end {
            ParticipationEnd::Failed {
                back_at: Some(back_at),
            } => (back_at - self.ended).max(0.0),
            _ => 0.0,
        }
    }

    /// Whether it was lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        let end = self.end;
        !matches!(end, ParticipationEnd::Arrived | ParticipationEnd::Open)
    }

    /// The first of these faults that affected it.
    #[must_use]
    pub fn affected_by(&self, faults: &[FaultName]) -> Option<FaultName> {
        let affected = |fault: &&FaultName| self.faults.contains(fault);
        faults.iter().find(affected).copied()
    }
}
