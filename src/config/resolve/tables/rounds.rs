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
        fleet: usize,
    ) -> RoundPolicy {
        let Some(table) = table.filter(|_| self.problems.readable(&["policy.kind"])) else {
            return RoundPolicy::Sync;
        };
        let policy = self.policy_kind(table);
        let most = policy.most_updates(sampling, fleet);
        self.check(|errors| policy.check("policy", most, errors));
        policy
    }

    fn policy_kind(&mut self, table: &PolicyTable) -> RoundPolicy {
        let late = match table.late.unwrap_or(LateKind::Refuse) {
            LateKind::Refuse => Late::Cancel,
            LateKind::Stale => Late::Discard,
            LateKind::Carry => Late::Carry(staleness(table)),
        };
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
                RoundPolicy::Deadline { seconds, late }
            }
            PolicyKind::Quorum => {
                let with = "kind = \"quorum\"";
                self.only("policy", with, &POLICY_KEYS, &meant("updates", late));
                let updates = self.needed("policy", "updates", with, table.updates);
                RoundPolicy::Quorum {
                    updates: updates.unwrap_or(1),
                    late,
                }
            }
            PolicyKind::OverSelect => {
                let with = "kind = \"over_select\"";
                self.only("policy", with, &POLICY_KEYS, &meant("factor", late));
                let factor = self.needed("policy", "factor", with, table.factor);
                RoundPolicy::OverSelect {
                    factor: factor.unwrap_or(1.0),
                    late,
                }
            }
            PolicyKind::Buffered => {
                let with = "kind = \"buffered\"";
                let keys = ["updates", "staleness_exponent", "max_staleness"];
                self.only("policy", with, &POLICY_KEYS, &keys);
                let updates = self.needed("policy", "updates", with, table.updates);
                RoundPolicy::Buffered {
                    updates: updates.unwrap_or(1),
                    staleness: staleness(table),
                }
            }
        }
    }

    /// Reports updates that come rounds later with a method that cannot take them.
    pub(crate) fn check_staleness(&mut self, policy: &RoundPolicy, method: MethodName) {
        if !matches!(policy.late(), Late::Carry(_)) {
            return;
        }
        let key = if policy.is_buffered() {
            "policy.kind"
        } else {
            "policy.late"
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

    pub(crate) fn sampling(&mut self, table: Option<&SamplingTable>, fleet: usize) -> Sampling {
        let Some(table) = table else {
            return Sampling::default();
        };
        if table.number.is_some() && table.fraction.is_some() {
            let wrong = "`number` is given as well";
            self.problems
                .report("sampling.fraction", wrong, "keep one of them");
        }
        let size = match (table.number, table.fraction) {
            (Some(number), _) => SampleSize::Number(number),
            (None, Some(fraction)) => SampleSize::Fraction(fraction),
            (None, None) => SampleSize::All,
        };
        let by = self.sample_by(table);
        let sampling = Sampling { size, by };
        self.check(|errors| sampling.check("sampling", fleet, errors));
        sampling
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
            SampleKind::Utility => SampleBy::Utility(utility(table)),
        }
    }

    pub(crate) fn too_few(&mut self, table: Option<&TooFewTable>, most: usize) -> MinUpdates {
        let default = MinUpdates::default();
        let minimum = table.and_then(|table| table.minimum);
        let then = table.and_then(|table| table.then);
        let too_few = MinUpdates {
            minimum: minimum.unwrap_or(default.minimum),
            then: then.map_or(default.then, |then| then.0),
        };
        self.check(|errors| too_few.check("too_few", most, errors));
        too_few
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
        self.check(|errors| restart.check("restart", errors));
        restart
    }
}

fn staleness(table: &PolicyTable) -> Staleness {
    let default = Staleness::default();
    Staleness {
        exponent: table.staleness_exponent.unwrap_or(default.exponent),
        max: table.max_staleness,
    }
}

fn utility(table: &SamplingTable) -> Utility {
    let default = Utility::default();
    Utility {
        exploration: table.exploration.unwrap_or(default.exploration),
        preferred_seconds: table.preferred.map(|preferred| preferred.get()),
        penalty: table.penalty.unwrap_or(default.penalty),
    }
}

/// Keys that mean something where updates can be late.
fn meant(own: &str, late: Late) -> Vec<&str> {
    match late {
        Late::Carry(_) => vec![own, "late", "staleness_exponent", "max_staleness"],
        Late::Cancel | Late::Discard => vec![own, "late"],
    }
}
