//! The hosts that trained for a run, from its events: who joined and left when, why, and what became
//! of its jobs. They are in no ledger, since no two runs of a plan have them in common.

use std::collections::BTreeMap;

use regatta_actors::ids::LaneId;
use regatta_actors::protocol::event::Event;
use serde::{Deserialize, Serialize};

/// Hosts that are known after they left, and kinds of refusals; the latest.
const MOST_GONE: usize = 200;

/// All hosts of a run, of a size that does not grow with it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostHistory {
    /// Hosts by their numbers, from 1 in the order in which they joined.
    pub hosts: BTreeMap<u32, HostRecord>,
    /// Hosts that were not allowed to train, the latest last.
    pub refusals: Vec<HostRefusal>,
    /// Hosts that joined.
    joined: u32,
}

/// A host, from when it joined until it left: one that comes back is another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostRecord {
    /// Its id.
    pub host: String,
    /// What trains there.
    pub description: String,
    /// Its lanes' numbers.
    pub lanes: Vec<LaneId>,
    /// When it joined, in seconds since 1970.
    pub joined: f64,
    /// How it left; `None`: it has not.
    pub left: Option<Departure>,
    /// Jobs that it did.
    pub done: u64,
    /// Jobs that it had and that were done once more.
    pub redone: u64,
    /// Jobs that it did and another host too, with the same result.
    #[serde(default)]
    pub verified: u64,
    /// Such jobs for which it gave what two others did not.
    #[serde(default)]
    pub wrong: u64,
}

/// The end of a host's part in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Departure {
    /// When, in seconds since 1970.
    pub at: f64,
    /// Whether it was lost rather than left.
    pub lost: bool,
    /// The cause, as text.
    pub reason: String,
}

/// A host that was not allowed to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostRefusal {
    /// Its name.
    pub host: String,
    /// The cause, as text.
    pub reason: String,
    /// How often it was refused for this.
    pub times: u32,
    /// When it last was, in seconds since 1970.
    pub last: f64,
}

impl HostHistory {
    /// Takes in an event of `now`, in seconds since 1970. Says whether it was news.
    pub fn take(&mut self, event: &Event, now: f64) -> bool {
        match event {
            Event::HostJoined {
                host,
                lanes,
                description,
            } => self.join(host, lanes, description, now),
            Event::HostLeft { host, lost, reason } => {
                let left = Departure {
                    at: now,
                    lost: *lost,
                    reason: reason.clone(),
                };
                self.change(host, |record| record.left = Some(left))
            }
            Event::HostRefused { host, reason } => self.refuse(host, reason, now),
            Event::JobDone { host, .. } => self.change(host, |record| record.done += 1),
            Event::JobVerified { hosts, wrong, .. } => {
                let mut any = false;
                for host in hosts {
                    any |= self.change(host, |record| record.verified += 1);
                }
                for host in wrong {
                    any |= self.change(host, |record| record.wrong += 1);
                }
                any
            }
            Event::JobRedone {
                host: Some(host), ..
            } => self.change(host, |record| record.redone += 1),
            Event::RunFinished { .. } => self.end("the run ended", now),
            _ => false,
        }
    }

    /// The same for a run that is resumed: its hosts have to join again.
    #[must_use]
    pub fn resumed(mut self, now: f64) -> Self {
        self.end("the coordinator was started again", now);
        self
    }

    /// Whoever is there leaves for this reason. Says whether somebody was.
    fn end(&mut self, reason: &str, now: f64) -> bool {
        let present = self.hosts.values_mut().filter(|host| host.left.is_none());
        let mut any = false;
        for host in present {
            any = true;
            host.left = Some(Departure {
                at: now,
                lost: false,
                reason: reason.to_owned(),
            });
        }
        any
    }

    fn join(&mut self, host: &str, lanes: &[LaneId], description: &str, now: f64) -> bool {
        self.joined += 1;
        let record = HostRecord {
            host: host.to_owned(),
            description: description.to_owned(),
            lanes: lanes.to_vec(),
            joined: now,
            left: None,
            done: 0,
            redone: 0,
            verified: 0,
            wrong: 0,
        };
        self.hosts.insert(self.joined, record);
        let gone = self.hosts.iter().filter(|(_, host)| host.left.is_some());
        let gone: Vec<u32> = gone.map(|(number, _)| *number).collect();
        for number in &gone[..gone.len().saturating_sub(MOST_GONE)] {
            self.hosts.remove(number);
        }
        true
    }

    fn refuse(&mut self, host: &str, reason: &str, now: f64) -> bool {
        let known = |refusal: &HostRefusal| refusal.host == host && refusal.reason == reason;
        let known = self.refusals.iter().position(known);
        let times = known.map_or(0, |at| self.refusals.remove(at).times);
        self.refusals.push(HostRefusal {
            host: host.to_owned(),
            reason: reason.to_owned(),
            times: times + 1,
            last: now,
        });
        let surplus = self.refusals.len().saturating_sub(MOST_GONE);
        self.refusals.drain(..surplus);
        true
    }

    /// Changes the record of a host. Says whether it has one.
    fn change(&mut self, host: &str, change: impl FnOnce(&mut HostRecord)) -> bool {
        // The latest are the likeliest.
        let mut records = self.hosts.values_mut().rev();
        let record = records.find(|record| record.host == host);
        record.map(change).is_some()
    }
}

#[cfg(test)]
mod tests {
    use regatta_actors::ids::ClientId;

    use super::*;

    fn joined(host: &str) -> Event {
        Event::HostJoined {
            host: host.into(),
            lanes: vec![LaneId(0)],
            description: "a CPU".into(),
        }
    }

    fn lost(host: &str) -> Event {
        Event::HostLeft {
            host: host.into(),
            lost: true,
            reason: "silent".into(),
        }
    }

    fn done(host: &str) -> Event {
        Event::JobDone {
            round: 1,
            client: ClientId(0),
            host: host.into(),
        }
    }

    #[test]
    fn a_host_has_its_jobs_also_those_that_come_after_it_was_lost() {
        let mut history = HostHistory::default();
        let events = [joined("a"), done("a"), joined("b"), lost("a"), done("a")];
        for (now, event) in (0..).zip(&events) {
            assert!(history.take(event, f64::from(now)));
        }
        assert!(!history.take(&done("c"), 5.0), "it never joined");
        let a = &history.hosts[&1];
        assert_eq!((a.joined, a.done, a.redone), (0.0, 2, 0));
        assert_eq!(
            a.left.as_ref().map(|left| (left.at, left.lost)),
            Some((3.0, true))
        );
        assert_eq!(history.hosts[&2].left, None);
    }

    #[test]
    fn whoever_is_there_at_the_end_left_with_the_run() {
        let mut history = HostHistory::default();
        [joined("a"), lost("a"), joined("b")]
            .iter()
            .for_each(|event| {
                history.take(event, 1.0);
            });
        let over = Event::RunFinished {
            rounds: 1,
            virtual_seconds: 1.0,
            ending: None,
            error: None,
        };
        assert!(history.take(&over, 2.0));
        let reason = |number| {
            history.hosts[&number]
                .left
                .as_ref()
                .map(|left| &left.reason[..])
        };
        assert_eq!(
            [reason(1), reason(2)],
            [Some("silent"), Some("the run ended")]
        );
    }

    #[test]
    fn hosts_that_come_and_go_and_refusals_without_end_have_a_history_of_bounded_size() {
        let mut history = HostHistory::default();
        history.take(&joined("stays"), 0.0);
        for number in 0..1000 {
            let name = format!("{number}");
            history.take(&joined(&name), 0.0);
            history.take(&lost(&name), 0.0);
            for reason in [name, "always the same".into()] {
                let host = "x".into();
                history.take(&Event::HostRefused { host, reason }, 0.0);
            }
        }
        assert_eq!(history.hosts.len(), 1 + MOST_GONE + 1);
        assert_eq!(history.hosts[&1].host, "stays");
        assert_eq!(history.hosts[&1001].host, "999");
        assert_eq!(history.refusals.len(), MOST_GONE);
        assert_eq!(history.refusals.last().map(|last| last.times), Some(1000));
    }
}
