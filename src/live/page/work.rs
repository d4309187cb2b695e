//! A client's work as bars of the timeline: from its selection to its result.

use regatta_actors::ids::ClientId;
use regatta_actors::plan::fault::FaultName;
use regatta_actors::protocol::control::{ControlCommand, Intervention};
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::round_record::RoundRecord;

use crate::live::page::changes::{BarSpan, Fate, Phase};
use crate::live::page::tracker::Tracker;

impl Tracker {
    /// Clients are selected to train, now.
    pub(crate) fn ask(&mut self, round: u32, clients: &[ClientId]) {
        let now = self.status.virtual_seconds;
        for &client in clients {
            self.come_back(client, now);
            self.working.insert(client.0);
            self.change(client, |standing| {
                standing.round = round;
                standing.progress = 0.0;
                standing.asked_at = Some(now);
            });
        }
    }

    /// The result of one client's work.
    pub(crate) fn work(&mut self, event: &Event) {
        match event {
            Event::FaultInjected { client, fault, .. } => self.strike(*client, *fault),
            Event::UpdateReceived {
                round,
                client,
                loss,
                virtual_seconds,
                ..
            } => {
                self.point(*client, *round as f32, *loss as f32);
                self.change(*client, |standing| standing.loss = Some(*loss as f32));
                self.end_work(*client, *round, Fate::Sent, *virtual_seconds);
            }
            Event::UpdateLate {
                round,
                client,
                virtual_seconds,
            } => self.end_work(*client, *round, Fate::Late, *virtual_seconds),
            Event::UpdateStale {
                round,
                client,
                virtual_seconds,
                ..
            } => self.end_work(*client, *round, Fate::Stale, *virtual_seconds),
            Event::UpdateLost {
                round,
                client,
                virtual_seconds,
            } => self.end_work(*client, *round, Fate::Lost, *virtual_seconds),
            Event::ClientDropped {
                round,
                client,
                rejoin,
                virtual_seconds,
                ..
            } => {
                self.end_work(*client, *round, Fate::Dropped, *virtual_seconds);
                if let Some(rejoin) = rejoin {
                    self.rejoin.insert(client.0, *rejoin);
                    self.leave(*client, *virtual_seconds);
                }
            }
            Event::ClientFailed {
                round,
                client,
                back_at,
                virtual_seconds,
                ..
            } => self.fail(*client, *round, *back_at, *virtual_seconds),
            Event::Intervention(intervention) => self.intervene(intervention),
            _ => {}
        }
        if self.status.phase == Phase::Training && self.working.is_empty() && self.status.round > 0
        {
            self.enter(Phase::Aggregating);
        }
    }

    fn strike(&mut self, client: ClientId, fault: FaultName) {
        if FaultName::SLOWING.contains(&fault) {
            self.change(client, |standing| standing.slow = true);
        }
    }

    /// Ends a bar. One that the round's end has ended already, as late, continues from there.
    fn end_work(&mut self, client: ClientId, round: u32, fate: Fate, end: f64) {
        self.pass(end);
        self.working.remove(&client.0);
        let Some((asked_at, slow)) = self.change(client, |standing| {
            standing.progress = if fate == Fate::Sent { 1.0 } else { 0.0 };
            let begun = (standing.asked_at.take(), standing.slow);
            // A late client continues.
            if fate == Fate::Late {
                standing.asked_at = Some(end);
            } else {
                standing.slow = false;
            }
            begun
        }) else {
            return;
        };
        if let Some(start) = asked_at {
            self.span(BarSpan {
                client: client.0,
                round,
                start,
                end,
                fate,
                slow,
            });
        }
    }

    fn fail(&mut self, client: ClientId, round: u32, back_at: Option<f64>, now: f64) {
        self.end_work(client, round, Fate::Failed, now);
        if let Some(end) = back_at {
            self.change(client, |standing| standing.restarts += 1);
            self.span(BarSpan {
                client: client.0,
                round,
                start: now,
                end,
                fate: Fate::Restarting,
                slow: false,
            });
        }
    }

    /// A cap at the end of the bar of an update that came and was refused.
    pub(crate) fn mark_refused(&mut self, client: ClientId, record: &RoundRecord) {
        let now = record.virtual_seconds;
        self.span(BarSpan {
            client: client.0,
            round: record.round,
            start: now,
            end: now,
            fate: Fate::Refused,
            slow: false,
        });
    }

    /// Clients that said that they would be back in this round, or before it.
    pub(crate) fn back_in(&mut self, round: u32) {
        let now = self.status.virtual_seconds;
        let back = self.rejoin.iter().filter(|(_, rejoin)| **rejoin <= round);
        let back: Vec<u32> = back.map(|(client, _)| *client).collect();
        for client in back {
            self.come_back(ClientId(client), now);
        }
    }

    fn leave(&mut self, client: ClientId, now: f64) {
        self.change(client, |standing| {
            standing.away_since.get_or_insert(now);
        });
    }

    fn come_back(&mut self, client: ClientId, now: f64) {
        self.rejoin.remove(&client.0);
        let standing = self.clients.get(client.0 as usize);
        // A client not known to be away brings nothing new.
        let Some(start) = standing.and_then(|standing| standing.away_since) else {
            return;
        };
        self.change(client, |standing| standing.away_since = None);
        self.span(BarSpan {
            client: client.0,
            round: self.status.round,
            start,
            end: now,
            fate: Fate::Away,
            slow: false,
        });
    }

    fn intervene(&mut self, intervention: &Intervention) {
        let now = self.status.virtual_seconds;
        match intervention.command {
            ControlCommand::DropClient { client } => {
                self.change(client, |standing| standing.barred = true);
                self.leave(client, now);
            }
            ControlCommand::RestoreClient { client } => {
                self.change(client, |standing| standing.barred = false);
                self.come_back(client, now);
            }
            ControlCommand::SlowClient { client, factor } => {
                self.change(client, |standing| standing.slowdown = factor);
            }
            _ => {}
        }
    }
}
