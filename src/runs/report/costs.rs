//! What each fault cost: updates that never counted, and time.

use std::collections::{BTreeMap, BTreeSet};

use regatta_actors::ids::ClientId;
use regatta_actors::plan::fault::FaultName;
use regatta_actors::plan::profile::Profile;

use crate::base::table::{Cell, Table};
use crate::runs::history::collected::Participations;
use crate::runs::history::participation::{Participation, ParticipationEnd};

/// A reason that work was lost or took longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// A scripted fault.
    Fault(FaultName),
    /// The client went away, as its availability has it.
    Away,
    /// It failed for an unscripted reason, such as lack of memory.
    Failure,
    /// It was too slow for its round, or more clients were selected than needed.
    TooLate,
    /// Its round was skipped, or its update refused, for no scripted reason.
    Refused,
}

/// The cost of one cause.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cost {
    /// Times that it occurred.
    pub times: u32,
    /// The client concerned.
    pub clients: BTreeSet<ClientId>,
    /// Updates that were not aggregated because of it.
    pub updates: u32,
    /// Clients' virtual seconds: of lost work, of waiting for a restart, and
    /// by which work took longer.
    pub client_seconds: f64,
    /// Virtual seconds in which the whole run stood still.
    pub run_seconds: f64,
}

impl Cause {
    /// Its name: a fault's as scenarios have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.as_str(),
            Self::Away => "(away)",
            Self::Failure => "(failure)",
            Self::TooLate => "(too late)",
            Self::Refused => "(refused)",
        }
    }

    /// The cause of a lost participation: the fault that explains its end, or what the run does
    /// without any.
    fn of(participation: &Participation) -> Option<Self> {
        let (faults, otherwise): (&[FaultName], _) = match participation.end {
            ParticipationEnd::Arrived | ParticipationEnd::Open => return None,
            ParticipationEnd::Dropped { .. } => (&[FaultName::Drop], Self::Away),
            ParticipationEnd::Failed { .. } => {
                (&[FaultName::Crash, FaultName::LaneFailure], Self::Failure)
            }
            ParticipationEnd::Lost => (&[FaultName::LostUpdate], Self::Failure),
            ParticipationEnd::Refused => (&[FaultName::CorruptUpdate], Self::Refused),
            ParticipationEnd::Late | ParticipationEnd::Stale => {
                (&FaultName::SLOWING, Self::TooLate)
            }
        };
        Some(
            participation
                .affected_by(faults)
                .map_or(otherwise, Self::Fault),
        )
    }
}

/// Adds up what each cause cost. Where several faults affected one participation, it counts for the
/// one that explains its end. `profiles` tell how long a participation takes that nothing slows;
/// `epochs`, how often a client goes through its examples.
#[must_use]
pub fn costs(
    participations: &Participations,
    profiles: &[Profile],
    epochs: u32,
) -> BTreeMap<Cause, Cost> {
    let mut costs: BTreeMap<Cause, Cost> = BTreeMap::new();
    for participation in &participations.all {
        for fault in &participation.faults {
            let cost = costs.entry(Cause::Fault(*fault)).or_default();
            cost.times += 1;
            cost.clients.insert(participation.client);
        }
        if let Some(cause) = Cause::of(participation) {
            let cost = costs.entry(cause).or_default();
            if !matches!(cause, Cause::Fault(_)) {
                cost.times += 1;
                cost.clients.insert(participation.client);
            }
            cost.updates += 1;
            cost.client_seconds += participation.seconds() + participation.restart_seconds();
        } else if let Some(fault) = participation.affected_by(&FaultName::SLOWING)
            && participation.end == ParticipationEnd::Arrived
        {
            let index = participation.client.0 as usize;
            let undisturbed = profiles.get(index).zip(participations.clients.get(index));
            let undisturbed = undisturbed.map(|(profile, client)| {
                profile.download_seconds(participation.bytes_down)
                    + profile.train_seconds(client.examples, epochs)
                    + profile.upload_seconds(participation.bytes_up)
            });
            let longer =
                undisturbed.map_or(0.0, |seconds| (participation.seconds() - seconds).max(0.0));
            let cost = costs.entry(Cause::Fault(fault)).or_default();
            cost.client_seconds += longer;
        }
    }
    for down in &participations.server_down {
        let cost = costs
            .entry(Cause::Fault(FaultName::ServerCrash))
            .or_default();
        cost.times += 1;
        cost.run_seconds += (down.to - down.from).max(0.0);
    }
    costs
}

/// The costs as a table.
#[must_use]
pub fn table(costs: &BTreeMap<Cause, Cost>) -> Table {
    let mut table = Table::new(
        "faults",
        &[
            ("fault", "fault"),
            ("times", "times"),
            ("clients", "clients"),
            ("updates_lost", "updates lost"),
            ("client_seconds_lost", "client time lost (virtual s)"),
            ("run_seconds_lost", "run time lost (virtual s)"),
        ],
    );
    let seconds = |seconds: f64| match seconds {
        0.0 => Cell::new(0.0, "·"),
        seconds => Cell::number(seconds, 1),
    };
    for (cause, cost) in costs {
        table.add_row([
            cause.name().into(),
            Cell::count(cost.times),
            Cell::count(cost.clients.len() as u64),
            Cell::count(cost.updates),
            seconds(cost.client_seconds),
            seconds(cost.run_seconds),
        ]);
    }
    table
}
