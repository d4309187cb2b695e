//! The faults of a scenario.

use regatta_actors::ids::ClientId;
use regatta_actors::plan::fault::{Corruption, Fault, FaultKind, FaultName, RoundRange, Slowdown};
use regatta_actors::protocol::control::SLOWDOWNS;

use crate::config::resolve::Resolver;
use crate::config::tables::FaultTable;
use crate::config::tables::numbers::IndexRanges;

const KEYS: [&str; 6] = ["slowdown", "at", "rejoin", "factor", "delay", "corruption"];

impl Resolver<'_> {
    pub(crate) fn faults(
        &mut self,
        tables: &[FaultTable],
        num_clients: u32,
        rounds: u32,
    ) -> Vec<Fault> {
        let fault = |(i, table): (usize, &FaultTable)| {
            let path = format!("faults[{i}]");
            let kind = self.fault_kind(&path, table)?;
            let probability = table.probability.unwrap_or(1.0);
            let key = format!("{path}.probability");
            self.number(&key, probability, 0.0..=1.0, "from 0 to 1");
            Some(Fault {
                kind,
                clients: self.fault_clients(&path, table, num_clients),
                rounds: self.fault_rounds(&path, table, rounds),
                probability,
            })
        };
        tables.iter().enumerate().filter_map(fault).collect()
    }

    fn fault_kind(&mut self, path: &str, table: &FaultTable) -> Option<FaultKind> {
        let name = self.needed(path, "kind", "a fault", table.kind)?;
        let with = format!("kind = \"{}\"", name.as_str());
        let meant: &[&str] = match name {
            FaultName::Straggle => &["slowdown"],
            FaultName::Drop => &["at", "rejoin"],
            FaultName::Crash | FaultName::LaneFailure => &["at"],
            FaultName::SlowLink => &["factor"],
            FaultName::DuplicateUpdate | FaultName::LateUpdate | FaultName::ServerCrash => {
                &["delay"]
            }
            FaultName::CorruptUpdate => &["corruption"],
            _ => &[],
        };
        self.only(path, &with, &KEYS, meant);
        let at = table.at.unwrap_or(match name {
            FaultName::Drop => 0.0,
            _ => 0.5,
        });
        self.number(&format!("{path}.at"), at, 0.0..=1.0, "from 0 to 1");
        let delay = table.delay.map(|delay| delay.get());
        Some(match name {
            FaultName::Straggle => {
                let slowdown = self.needed(path, "slowdown", with, table.slowdown);
                let factor = Slowdown::Factor { factor: 1.0 };
                let slowdown = slowdown.map_or(factor, |slowdown| slowdown.0);
                FaultKind::Straggle { slowdown }
            }
            FaultName::Drop => FaultKind::Drop {
                at,
                rejoin: table.rejoin,
            },
            FaultName::Crash => FaultKind::Crash { at },
            FaultName::LaneFailure => FaultKind::LaneFailure { at },
            FaultName::SlowLink => {
                let factor = self
                    .needed(path, "factor", with, table.factor)
                    .unwrap_or(1.0);
                let (least, most) = (SLOWDOWNS.start(), SLOWDOWNS.end());
                let right = format!("from {least} to {most}");
                self.number(&format!("{path}.factor"), factor, SLOWDOWNS, &right);
                FaultKind::SlowLink { factor }
            }
            FaultName::LostUpdate => FaultKind::LostUpdate,
            FaultName::DuplicateUpdate => FaultKind::DuplicateUpdate {
                delay: delay.unwrap_or(0.0),
            },
            FaultName::LateUpdate => FaultKind::LateUpdate {
                seconds: self.needed(path, "delay", with, delay).unwrap_or(0.0),
            },
            FaultName::CorruptUpdate => {
                let corruption = self.needed(path, "corruption", with, table.corruption);
                let corruption = corruption.map_or(Corruption::Nan, |how| how.0);
                FaultKind::CorruptUpdate { corruption }
            }
            FaultName::ServerCrash => FaultKind::ServerCrash {
                downtime: delay.unwrap_or(0.0),
            },
            other => {
                let wrong = format_args!("{} cannot be scripted", other.as_str());
                self.problems
                    .report(&format!("{path}.kind"), wrong, "name another");
                return None;
            }
        })
    }

    fn fault_clients(
        &mut self,
        path: &str,
        table: &FaultTable,
        num_clients: u32,
    ) -> Option<Vec<ClientId>> {
        let clients = table.clients.as_ref()?;
        let key = format!("{path}.clients");
        if table.kind == Some(FaultName::ServerCrash) {
            self.reject_unused(&key, "a server crash, which concerns no client");
            return None;
        }
        self.check_clients(&key, clients, num_clients);
        Some(
            clients
                .below(num_clients)
                .into_iter()
                .map(ClientId)
                .collect(),
        )
    }

    /// Reports numbers beyond the fleet.
    pub(crate) fn check_clients(&mut self, key: &str, clients: &IndexRanges, num_clients: u32) {
        let last = num_clients.saturating_sub(1);
        if let Some(beyond) = clients.largest().filter(|largest| *largest > last) {
            let wrong = format_args!("there is no client {beyond}");
            let right = format_args!("clients are numbered 0 to {last}");
            self.problems.report(key, wrong, right);
        }
    }

    fn fault_rounds(
        &mut self,
        path: &str,
        table: &FaultTable,
        rounds: u32,
    ) -> Option<Vec<RoundRange>> {
        let ranges = table.rounds.as_ref()?.ranges();
        let key = format!("{path}.rounds");
        let first = ranges.iter().map(|(from, _)| *from).min().unwrap_or(1);
        self.problems.require(
            first >= 1,
            &key,
            "there is no round 0",
            "rounds are numbered from 1",
        );
        self.problems.require(
            first <= rounds,
            &key,
            format_args!("the run has {rounds} rounds, so it would never strike"),
            format_args!("name rounds from 1 to {rounds}"),
        );
        let range = |&(from, to): &(u32, u32)| RoundRange { from, to };
        Some(ranges.iter().map(range).collect())
    }
}
