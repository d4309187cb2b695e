//! Clients' participations as bars of the timeline: from a selection to its end.

use regatta_actors::ids::ClientId;
use regatta_actors::plan::fault::FaultName;
use regatta_actors::protocol::control::{ControlCommand, Intervention};
use regatta_actors::protocol::round_record::RoundRecord;

use crate::live::page::changes::{BarKind, BarSpan};
use crate::live::page::tracker::Tracker;
use crate::runs::history::participation::{Participation, ParticipationEnd, ParticipationEvent};

impl Tracker {
    /// A participation begins, is affected by a fault, or ends.
    pub(crate) fn participate(&mut self, event: &ParticipationEvent) {
        match event {
            ParticipationEvent::Selected(participation) => self.select(participation),
            ParticipationEvent::FaultInjected(client, fault) => {
                if FaultName::SLOWING.contains(fault) {
                    self.change(*client, |status| status.slow = true);
                }
            }
            ParticipationEvent::Late(participation) => self.close_round(participation),
            ParticipationEvent::Ended(participation) => self.end(participation),
        }
    }

    fn select(&mut self, participation: &Participation) {
        self.come_back(participation.client, self.status.virtual_seconds);
        self.change(participation.client, |status| {
            status.round = participation.round;
            status.progress = 0.0;
            status.selected_at = participation.selected;
            status.slow = false;
        });
    }

    /// A participation's round is closed without it: a bar ends, and the client continues.
    fn close_round(&mut self, participation: &Participation) {
        let Some(late_at) = participation.late_at else {
            return;
        };
        self.pass(late_at);
        self.change(participation.client, |status| {
            status.progress = 0.0;
            status.selected_at = Some(late_at);
        });
        let (begun, end) = (participation.selected, ParticipationEnd::Late);
        self.draw(participation, begun, late_at, end);
    }

    fn end(&mut self, participation: &Participation) {
        let (client, ended, end) = (participation.client, participation.ended, participation.end);
        if end == ParticipationEnd::Late {
            // Its bar ended with its round.
            return;
        }
        self.pass(ended);
        let loss = participation.job.map(|job| job.loss as f32);
        if let Some(loss) = loss {
            self.point(client, participation.round as f32, loss);
        }
        self.change(client, |status| {
            status.loss = loss.or(status.loss);
            status.progress = if loss.is_some() { 1.0 } else { 0.0 };
            status.selected_at = None;
            status.slow = false;
        });
        // The bar of a late one continues from where its round ended.
        let begun = participation.late_at.or(participation.selected);
        self.draw(participation, begun, ended, end);
        match end {
            ParticipationEnd::Dropped {
                rejoin: Some(rejoin),
            } => {
                self.rejoin.insert(client.0, rejoin);
                self.leave(client, ended);
            }
            ParticipationEnd::Failed {
                back_at: Some(back_at),
            } => self.restart(participation, back_at),
            _ => {}
        }
    }

    /// A bar of a participation, if its beginning is known.
    fn draw(
        &mut self,
        participation: &Participation,
        begun: Option<f64>,
        end: f64,
        kind: ParticipationEnd,
    ) {
        let Some(start) = begun else { return };
        self.span(BarSpan {
            client: participation.client.0,
            round: participation.round,
            start,
            end,
            kind: BarKind::Participation(kind),
            slow: participation.affected_by(&FaultName::SLOWING).is_some(),
        });
    }

    fn restart(&mut self, participation: &Participation, back_at: f64) {
        self.show_totals(participation.client);
        self.span(BarSpan {
            client: participation.client.0,
            round: participation.round,
            start: participation.ended,
            end: back_at,
            kind: BarKind::Restarting,
            slow: false,
        });
    }

    /// A cap at the end of the bar of an update that came and was refused.
    pub(crate) fn mark_refused(&mut self, client: ClientId, record: &RoundRecord) {
        let now = record.virtual_seconds;
        self.span(BarSpan {
            client: client.0,
            round: record.round,
            start: now,
            end: now,
            kind: BarKind::Participation(ParticipationEnd::Refused),
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
        self.change(client, |status| {
            status.away_since.get_or_insert(now);
        });
    }

    fn come_back(&mut self, client: ClientId, now: f64) {
        self.rejoin.remove(&client.0);
        let status = self.clients.get(client.0 as usize);
        // A client not known to be away brings nothing new.
        let Some(start) = status.and_then(|status| status.away_since) else {
            return;
        };
        self.change(client, |status| status.away_since = None);
        self.span(BarSpan {
            client: client.0,
            round: self.status.round,
            start,
            end: now,
            kind: BarKind::Away,
            slow: false,
        });
    }

    pub(crate) fn intervene(&mut self, intervention: &Intervention) {
        let now = self.status.virtual_seconds;
        match intervention.command {
            ControlCommand::DropClient { client } => {
                self.change(client, |status| status.excluded = true);
                self.leave(client, now);
            }
            ControlCommand::RestoreClient { client } => {
                self.change(client, |status| status.excluded = false);
                self.come_back(client, now);
            }
            ControlCommand::SlowClient { client, factor } => {
                self.change(client, |status| status.slowdown = factor);
            }
            _ => {}
        }
    }
}
