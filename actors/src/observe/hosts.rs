//! The host board: which hosts train for a run, and what each of their lanes is doing right now.
//!
//! Whoever has the lanes writes it: the coordinator for lanes of other hosts, each lane of the run's
//! own process for itself. It is a picture for people; all that is decided from it is whether a run that
//! is told to stop has a lane left to finish its round.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::ids::{JobId, LaneId};
use crate::protocol::job::JobPhase;

/// The id of the run's own process among the hosts.
pub const OWN_PROCESS: &str = "local";

/// A host, as it was last heard of.
#[derive(Debug, Clone, PartialEq)]
pub struct HostStatus {
    /// Its name, which other hosts may have too.
    pub name: String,
    /// What trains there.
    pub description: String,
    /// Its lanes.
    pub lanes: Vec<LaneStatus>,
    /// Jobs that it did and whose result was taken.
    pub jobs_done: u64,
    /// Jobs that it began or did, and that had to be done once more.
    pub jobs_redone: u64,
    /// Bytes of states that it fetched.
    pub bytes_received: u64,
    /// Bytes of results that it sent.
    pub bytes_sent: u64,
    /// When it joined.
    pub joined: Instant,
    /// When it was last heard; `None`: it is the run's own process.
    pub heard: Option<Instant>,
    /// Whether it was told to take no more jobs, and to leave.
    pub draining: bool,
}

/// A lane of a host.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneStatus {
    /// Its number in the run.
    pub lane: LaneId,
    /// What its device is called; empty: it has no name.
    pub device: String,
    /// What it does; `None`: it waits for a job.
    pub work: Option<LaneWork>,
}

/// What a lane does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LaneWork {
    /// The job.
    pub job: JobId,
    /// How far it is.
    pub phase: JobPhase,
    /// Since when it has been that far.
    pub since: Instant,
}

impl HostStatus {
    /// A host that has just joined, with lanes that wait.
    #[must_use]
    pub fn new(name: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: description.into(),
            lanes: Vec::new(),
            jobs_done: 0,
            jobs_redone: 0,
            bytes_received: 0,
            bytes_sent: 0,
            joined: Instant::now(),
            heard: None,
            draining: false,
        }
    }

    /// Shows a lane as doing this, or as waiting. What it does already it goes on doing.
    pub fn show(&mut self, lane: LaneId, work: Option<(JobId, JobPhase)>) {
        for status in self.lanes.iter_mut().filter(|status| status.lane == lane) {
            if status.work.map(|work| (work.job, work.phase)) != work {
                status.work = work.map(|(job, phase)| LaneWork {
                    job,
                    phase,
                    since: Instant::now(),
                });
            }
        }
    }
}

/// All hosts, by their ids.
#[derive(Debug, Default)]
pub struct HostBoard {
    hosts: Mutex<BTreeMap<String, HostStatus>>,
}

impl HostBoard {
    /// A host joins.
    pub fn add(&self, id: impl Into<String>, status: HostStatus) {
        self.hosts().insert(id.into(), status);
    }

    /// Changes a host's entry, if it has one.
    pub fn update(&self, id: &str, change: impl FnOnce(&mut HostStatus)) {
        if let Some(status) = self.hosts().get_mut(id) {
            change(status);
        }
    }

    /// A host is gone.
    pub fn remove(&self, id: &str) {
        self.hosts().remove(id);
    }

    /// Lanes of all hosts.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.hosts().values().map(|host| host.lanes.len()).sum()
    }

    /// All entries with their ids, copied, in the ids' order.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(String, HostStatus)> {
        let hosts = self.hosts();
        let copied = hosts.iter().map(|(id, host)| (id.clone(), host.clone()));
        copied.collect()
    }

    fn hosts(&self) -> MutexGuard<'_, BTreeMap<String, HostStatus>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ClientId, RunId};

    #[test]
    fn a_lane_is_at_its_work_since_the_work_last_changed() {
        let job = JobId {
            run: RunId(1),
            round: 1,
            client: ClientId(2),
            attempt: 0,
        };
        let mut host = HostStatus::new("a", "");
        host.lanes = [0, 1]
            .map(|lane| LaneStatus {
                lane: LaneId(lane),
                device: "cpu".into(),
                work: None,
            })
            .into();
        host.show(LaneId(1), Some((job, JobPhase::Fetching)));
        let begun = host.lanes[1].work;
        assert_eq!(host.lanes[0].work, None);
        host.show(LaneId(1), Some((job, JobPhase::Fetching)));
        assert_eq!(host.lanes[1].work, begun);
        host.show(LaneId(1), Some((job, JobPhase::Training)));
        assert_eq!(
            host.lanes[1].work.map(|work| work.phase),
            Some(JobPhase::Training)
        );
        host.show(LaneId(1), None);
        assert_eq!(host.lanes[1].work, None);
    }

    #[test]
    fn only_hosts_that_joined_have_an_entry() {
        let board = HostBoard::default();
        board.update("a.1", |host| host.jobs_done += 1);
        assert!(board.snapshot().is_empty());
        board.add("a.1", HostStatus::new("a", "CPU"));
        board.update("a.1", |host| host.jobs_done += 1);
        assert_eq!(board.snapshot()[0].1.jobs_done, 1);
        board.remove("a.1");
        assert!(board.snapshot().is_empty());
    }
}
