//! Jobs that are done on two hosts on purpose. What one gives is believed when another gives the same.

use std::fmt;
use std::str::FromStr;

use crate::ids::{Digest, JobId};
use crate::lanes::wire::HostId;

/// The share of jobs that are done on two hosts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VerifiedShare {
    percent: f64,
}

impl VerifiedShare {
    /// No job.
    pub const NONE: Self = Self { percent: 0.0 };

    /// A percentage from 0 to 100; `None` of any other number.
    #[must_use]
    pub fn new(percent: f64) -> Option<Self> {
        (0.0..=100.0).contains(&percent).then_some(Self { percent })
    }

    /// Whether a job is among them: drawn by its name alone, so that whoever coordinates the run
    /// verifies the same ones.
    pub(crate) fn has(self, job: JobId) -> bool {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"verified");
        hasher.update(&job.run.0.to_le_bytes());
        for number in [job.round, job.client.0, job.attempt] {
            hasher.update(&number.to_le_bytes());
        }
        let mut bytes = [0; 8];
        hasher.finalize_xof().fill(&mut bytes);
        // From 0 up to, and without, 1.
        let drawn = (u64::from_le_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64;
        100.0 * drawn < self.percent
    }
}

impl FromStr for VerifiedShare {
    type Err = String;

    /// Reads a percentage.
    ///
    /// # Errors
    /// It is none; the message says what would be one.
    fn from_str(text: &str) -> Result<Self, String> {
        let percent = text.strip_suffix('%').map(str::trim_end);
        let percent: Option<f64> = percent.and_then(|number| number.parse().ok());
        percent
            .and_then(Self::new)
            .ok_or_else(|| "give a percentage from 0% to 100%, such as 1%".to_owned())
    }
}

impl fmt::Display for VerifiedShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.percent)
    }
}

/// What hosts gave for one job, the last of them last.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    given: Vec<(HostId, Digest)>,
}

/// What becomes of a job after a host's result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Agreement {
    /// Another host is to do it too.
    Wanted,
    /// The result is right.
    Reached(Reached),
    /// Hosts disagree, and there is none to ask.
    Impossible(Vec<(HostId, Digest)>),
}

/// Who gave the right result, and who another.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reached {
    pub right: Vec<HostId>,
    pub wrong: Vec<HostId>,
}

impl Comparison {
    /// Takes a host's result. `hosts` are those that could do the job.
    pub fn add<'a>(
        &mut self,
        host: &HostId,
        digest: &Digest,
        mut hosts: impl Iterator<Item = &'a HostId>,
    ) -> Agreement {
        // What a worker gives twice confirms nothing.
        if !self.has(host) {
            self.given.push((host.clone(), digest.clone()));
        }
        let has_others = hosts.any(|host| !self.has(host));
        let (right, wrong): (Vec<_>, Vec<_>) = self.given.iter().partition(|(_, it)| it == digest);
        let names = |given: Vec<&(HostId, Digest)>| -> Vec<HostId> {
            given.into_iter().map(|(host, _)| host.clone()).collect()
        };
        match right.len() {
            0 | 1 if has_others => Agreement::Wanted,
            // Of a host alone there is nothing to compare with.
            0 | 1 if !wrong.is_empty() => Agreement::Impossible(self.given.clone()),
            _ => Agreement::Reached(Reached {
                right: names(right),
                wrong: names(wrong),
            }),
        }
    }

    /// Whether the host's worker gave something.
    pub fn has(&self, host: &HostId) -> bool {
        let mut given = self.given.iter();
        given.any(|(known, _)| known.worker() == host.worker())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ClientId, RunId};

    fn hosts(names: &[&str]) -> Vec<HostId> {
        names
            .iter()
            .map(|name| HostId((*name).to_owned()))
            .collect()
    }

    /// What each result in turn leads to, with these hosts there.
    fn agreements(results: &[(&str, &str)], there: &[&str]) -> Vec<Agreement> {
        let mut comparison = Comparison::default();
        let there = hosts(there);
        let add = |(host, digest): &(&str, &str)| {
            let (host, digest) = (HostId((*host).to_owned()), Digest((*digest).to_owned()));
            comparison.add(&host, &digest, there.iter())
        };
        results.iter().map(add).collect()
    }

    fn reached(right: &[&str], wrong: &[&str]) -> Agreement {
        Agreement::Reached(Reached {
            right: hosts(right),
            wrong: hosts(wrong),
        })
    }

    #[test]
    fn two_hosts_that_give_the_same_are_believed() {
        let found = agreements(&[("a", "1"), ("b", "1")], &["a", "b"]);
        assert_eq!(found, [Agreement::Wanted, reached(&["a", "b"], &[])]);
    }

    #[test]
    fn a_third_host_decides_between_two() {
        let found = agreements(&[("a", "1"), ("b", "2"), ("c", "1")], &["a", "b", "c"]);
        assert_eq!(found[..2], [Agreement::Wanted, Agreement::Wanted]);
        assert_eq!(found[2], reached(&["a", "c"], &["b"]));
    }

    #[test]
    fn hosts_that_disagree_with_none_to_ask_are_told_of() {
        let found = agreements(&[("a", "1"), ("b", "2")], &["a", "b"]);
        let given = ["a", "b"].map(|it| HostId(it.to_owned())).into_iter();
        let digests = ["1", "2"].map(|it| Digest(it.to_owned()));
        assert_eq!(
            found[1],
            Agreement::Impossible(given.zip(digests).collect())
        );
    }

    #[test]
    fn a_host_alone_is_believed_and_what_it_says_twice_counts_once() {
        assert_eq!(agreements(&[("a", "1")], &["a"]), [reached(&["a"], &[])]);
        // Also when it has joined again.
        for again in ["a", "a-2"] {
            let found = agreements(&[("a", "1"), (again, "1")], &[again, "b"]);
            assert_eq!(found, [Agreement::Wanted, Agreement::Wanted]);
        }
    }

    #[test]
    fn shares_are_read_and_shown_as_percentages() {
        for (text, percent, shown) in [
            ("1%", 1.0, "1%"),
            ("0%", 0.0, "0%"),
            ("100 %", 100.0, "100%"),
            ("0.5%", 0.5, "0.5%"),
            ("7%", 7.0, "7%"),
        ] {
            let read: VerifiedShare = text.parse().unwrap();
            assert_eq!(read, VerifiedShare { percent }, "{text}");
            assert_eq!(read.to_string(), shown);
        }
        for wrong in ["", "1", "0.01", "%", "101%", "-1%", "NaN%", "one%"] {
            let error = wrong.parse::<VerifiedShare>().unwrap_err();
            assert!(error.contains("such as 1%"), "{error}");
        }
    }

    #[test]
    fn as_large_a_share_of_jobs_is_verified_as_was_asked_for() {
        let verified = |percent: f64| {
            let share = VerifiedShare::new(percent).unwrap();
            let job = |client| JobId {
                run: RunId(7),
                round: 3,
                client: ClientId(client),
                attempt: 0,
            };
            (0..10_000).filter(|client| share.has(job(*client))).count()
        };
        assert_eq!(verified(0.0), 0);
        assert_eq!(verified(100.0), 10_000);
        assert!((70..130).contains(&verified(1.0)), "{}", verified(1.0));
        assert!(VerifiedShare::new(100.5).is_none() && VerifiedShare::new(f64::NAN).is_none());
    }
}
