//! When rounds end, which clients they select, and how clients come back.

use regatta_actors::plan::policy::{Late, MinUpdates, RoundPolicy, Staleness};
use regatta_actors::plan::restart::RestartPolicy;
use regatta_actors::plan::sampling::{SampleBy, SampleSize, Sampling, Utility};

use crate::aggregate::settings::MethodName;
use crate::config::resolve::Resolver;
use crate::config::tables::{
    LateKind, PolicyKind, PolicyTable, RestartTable, SampleKind, SamplingTable, TooFewTable,
};

const POLICY_KEYS: [&str; 6] = [
    "after",
    "updates",
    "factor",
    "late",
    "staleness_exponent",
    "max_staleness",
];

impl Resolver<'_> {
    pub(crate) fn policy(
        &mut self,
        table: Option<&PolicyTable>,
        sampling: &Sampling,
        num_clients: u32,
    ) -> RoundPolicy {
        let Some(table) = table.filter(|_| self.problems.readable(&["policy.kind"])) else {
            return RoundPolicy::Sync;
        };
        let late = self.late(table);
        match table.kind.unwrap_or(PolicyKind::Sync) {
            PolicyKind::Sync => {
                self.only("policy", "kind = \"sync\"", &POLICY_KEYS, &[]);
                RoundPolicy::Sync
            }
            PolicyKind::Deadline => {
                let with = "kind = \"deadline\"";
                self.only("policy", with, &POLICY_KEYS, &meant("after", late));
                let seconds = self.needed("policy", "after", with, table.after);
                let seconds = seconds.map_or(1.0, |after| after.get());
                self.above_zero("policy.after", seconds);
                RoundPolicy::Deadline { seconds, late }
            }
            PolicyKind::Quorum => {
                let with = "kind = \"quorum\"";
                self.only("policy", with, &POLICY_KEYS, &meant("updates", late));
                let most = asked(sampling, num_clients);
                let updates = self.updates(with, table.updates, most);
                RoundPolicy::Quorum { updates, late }
            }
            PolicyKind::OverSelect => {
                let with = "kind = \"over_select\"";
                self.only("policy", with, &POLICY_KEYS, &meant("factor", late));
                let factor = self.needed("policy", "factor", with, table.factor);
                let factor = factor.unwrap_or(1.0);
                self.number("policy.factor", factor, 1.0..f64::INFINITY, "from 1");
                RoundPolicy::OverSelect { factor, late }
            }
            PolicyKind::Buffered => {
                let with = "kind = \"buffered\"";
                let keys = ["updates", "staleness_exponent", "max_staleness"];
                self.only("policy", with, &POLICY_KEYS, &keys);
                // A client can send many updates while the others work on their first.
                let updates = self.updates(with, table.updates, u32::MAX);
                let staleness = self.staleness(table);
                RoundPolicy::Buffered { updates, staleness }
            }
        }
    }

    /// Reports updates that come rounds later with a method that cannot take them.
    pub(crate) fn check_staleness(&mut self, policy: &RoundPolicy, method: MethodName) {
        let key = match policy {
            RoundPolicy::Buffered { .. } => "policy.kind",
            RoundPolicy::Deadline { late, .. }
            | RoundPolicy::Quorum { late, .. }
            | RoundPolicy::OverSelect { late, .. }
                if matches!(late, Late::Carry(_)) =>
            {
                "policy.late"
            }
            _ => return,
        };
        let info = method.info();
        let wrong = format_args!("{method} {}", info.why_not_stale);
        let other = info
            .adapters
            .first()
            .map(|&kind| MethodName::default_for(kind));
        let other = other.unwrap_or(method);
        let right = format_args!("use {other}, or take no late updates");
        self.problems.require(info.takes_stale, key, wrong, right);
    }

    fn updates(&mut self, with: &str, updates: Option<u32>, most: u32) -> u32 {
        let updates = self.needed("policy", "updates", with, updates).unwrap_or(1);
        let right = "give 1 or more";
        self.problems.require(
            updates > 0,
            "policy.updates",
            "no round would need any",
            right,
        );
        self.problems.require(
            updates <= most,
            "policy.updates",
            format_args!("a round selects at most {most} clients, so this number is never reached"),
            format_args!("give at most {most}"),
        );
        updates
    }

    fn late(&mut self, table: &PolicyTable) -> Late {
        match table.late.unwrap_or(LateKind::Refuse) {
            LateKind::Refuse => Late::Cancel,
            LateKind::Stale => Late::Discard,
            LateKind::Carry => Late::Carry(self.staleness(table)),
        }
    }

    fn staleness(&mut self, table: &PolicyTable) -> Staleness {
        let default = Staleness::default();
        let exponent = table.staleness_exponent.unwrap_or(default.exponent);
        self.number(
            "policy.staleness_exponent",
            exponent,
            0.0..f64::INFINITY,
            "from 0",
        );
        Staleness {
            exponent,
            max: table.max_staleness,
        }
    }

    pub(crate) fn sampling(&mut self, table: Option<&SamplingTable>, num_clients: u32) -> Sampling {
        let Some(table) = table else {
            return Sampling::default();
        };
        if table.number.is_some() && table.fraction.is_some() {
            let wrong = "`number` is given as well";
            self.problems
                .report("sampling.fraction", wrong, "keep one of them");
        }
        if let Some(number) = table.number {
            self.problems.require(
                (1..=num_clients).contains(&number),
                "sampling.number",
                format_args!("there are {num_clients} clients to ask"),
                format_args!("give a number from 1 to {num_clients}"),
            );
        }
        if let Some(fraction) = table.fraction {
            let range = f64::MIN_POSITIVE..=1.0;
            self.number("sampling.fraction", fraction, range, "above 0, at most 1");
        }
        let size = match (table.number, table.fraction) {
            (Some(number), _) => SampleSize::Number(number),
            (None, Some(fraction)) => SampleSize::Fraction(fraction),
            (None, None) => SampleSize::All,
        };
        let by = self.sample_by(table);
        Sampling { size, by }
    }

    fn sample_by(&mut self, table: &SamplingTable) -> SampleBy {
        let kind = table.by.unwrap_or(SampleKind::Uniform);
        if kind != SampleKind::Utility {
            let keys = ["exploration", "preferred", "penalty"];
            let with = "`by` other than \"utility\"";
            self.only("sampling", with, &keys, &[]);
        }
        match kind {
            SampleKind::Uniform => SampleBy::Uniform,
            SampleKind::Examples => SampleBy::Examples,
            SampleKind::Utility => SampleBy::Utility(self.utility(table)),
        }
    }

    fn utility(&mut self, table: &SamplingTable) -> Utility {
        let default = Utility::default();
        let exploration = table.exploration.unwrap_or(default.exploration);
        self.number(
            "sampling.exploration",
            exploration,
            0.0..=1.0,
            "from 0 to 1",
        );
        let penalty = table.penalty.unwrap_or(default.penalty);
        self.number("sampling.penalty", penalty, 0.0..f64::INFINITY, "from 0");
        let preferred_seconds = table.preferred.map(|preferred| preferred.get());
        if let Some(seconds) = preferred_seconds {
            self.above_zero("sampling.preferred", seconds);
        }
        Utility {
            exploration,
            preferred_seconds,
            penalty,
        }
    }

    pub(crate) fn too_few(&mut self, table: Option<&TooFewTable>, num_clients: u32) -> MinUpdates {
        let default = MinUpdates::default();
        let minimum = table.and_then(|table| table.minimum);
        let minimum = minimum.unwrap_or(default.minimum);
        self.problems.require(
            (1..=num_clients).contains(&minimum),
            "too_few.minimum",
            format_args!("there are {num_clients} clients"),
            format_args!("give a number from 1 to {num_clients}"),
        );
        let then = table.and_then(|table| table.then);
        let then = then.map_or(default.then, |then| then.0);
        MinUpdates { minimum, then }
    }

    pub(crate) fn restart(&mut self, table: Option<&RestartTable>) -> RestartPolicy {
        let default = RestartPolicy::default();
        let Some(table) = table else {
            return default;
        };
        let restart = RestartPolicy {
            budget: table.budget.unwrap_or(default.budget),
            window: table.window.map_or(default.window, |t| t.get()),
            backoff: table.backoff.map_or(default.backoff, |t| t.get()),
            max_backoff: table.max_backoff.map_or(default.max_backoff, |t| t.get()),
        };
        self.above_zero("restart.window", restart.window);
        restart
    }
}

/// Keys that mean something where updates can be late.
fn meant(own: &str, late: Late) -> Vec<&str> {
    match late {
        Late::Carry(_) => vec![own, "late", "staleness_exponent", "max_staleness"],
        Late::Cancel | Late::Discard => vec![own, "late"],
    }
}

/// Clients that a round asks at most.
fn asked(sampling: &Sampling, num_clients: u32) -> u32 {
    match sampling.size {
        SampleSize::All => num_clients,
        SampleSize::Fraction(share) => ((share * f64::from(num_clients)).round() as u32).max(1),
        SampleSize::Number(number) => number,
    }
}
