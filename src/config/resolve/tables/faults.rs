//! The faults of a scenario.

use regatta_actors::ids::ClientId;
use regatta_actors::plan::fault::{Corruption, Fault, FaultKind, FaultName, RoundRange, Slowdown};

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
            let fault = Fault {
                kind: self.fault_kind(&path, table)?,
                clients: self.fault_clients(&path, table, num_clients),
                rounds: self.fault_rounds(&path, table, rounds),
                probability: table.probability.unwrap_or(1.0),
            };
            self.check(|errors| fault.check(&path, num_clients as usize, errors));
            Some(fault)
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
                let factor = self.needed(path, "factor", with, table.factor);
                FaultKind::SlowLink {
                    factor: factor.unwrap_or(1.0),
                }
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
                let wrong = format_args!("{} is not known to scenarios", other.as_str());
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
        self.check_clients(&format!("{path}.clients"), clients, num_clients);
        let clients = clients.below(num_clients).into_iter();
        Some(clients.map(ClientId).collect())
    }

    /// Reports numbers beyond the fleet.
    pub(crate) fn check_clients(&mut self, key: &str, clients: &IndexRanges, num_clients: u32) {
        if let Some(largest) = clients.largest() {
            self.check(|errors| errors.client(ClientId(largest), num_clients as usize, key));
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
            first <= rounds,
            &key,
            format_args!("the run has {rounds} rounds, so it would never strike"),
            format_args!("name rounds from 1 to {rounds}"),
        );
        let range = |&(from, to): &(u32, u32)| RoundRange { from, to };
        Some(ranges.iter().map(range).collect())
    }
}
