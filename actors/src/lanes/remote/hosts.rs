//! The hosts that train for a run, and what they were last heard to do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::ids::{JobId, LaneId};
use crate::lanes::wire::{HostId, Running};

/// A host that was admitted.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub name: String,
    pub lanes: Vec<LaneId>,
    pub running: Vec<Running>,
    /// Whether it is to take no more jobs.
    draining: bool,
    heard: Instant,
}

/// All hosts that are there.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    hosts: BTreeMap<HostId, Host>,
    lanes_given: u32,
}

impl Hosts {
    /// Adds a host under an id that no other has, and numbers its lanes.
    pub fn admit(&mut self, id: HostId, name: String, lanes: usize, now: Instant) -> Vec<LaneId> {
        let first = self.lanes_given;
        self.lanes_given += lanes as u32;
        let lanes: Vec<_> = (first..self.lanes_given).map(LaneId).collect();
        let host = Host {
            name,
            lanes: lanes.clone(),
            running: Vec::new(),
            draining: false,
            heard: now,
        };
        self.hosts.insert(id, host);
        lanes
    }

    /// Notes that a host is there. Gives what it did when it was last heard; `None`: there is no
    /// such host.
    pub fn heard(
        &mut self,
        id: &HostId,
        running: Vec<Running>,
        now: Instant,
    ) -> Option<Vec<Running>> {
        let host = self.hosts.get_mut(id)?;
        host.heard = now;
        Some(std::mem::replace(&mut host.running, running))
    }

    /// Those that take jobs.
    pub fn taking_jobs(&self) -> impl Iterator<Item = &HostId> {
        let hosts = self.hosts.iter().filter(|(_, host)| !host.draining);
        hosts.map(|(id, _)| id)
    }

    /// Those that take jobs and have a lane without one.
    pub fn idle(&self) -> impl Iterator<Item = &HostId> {
        let idle = |host: &Host| !host.draining && host.running.len() < host.lanes.len();
        let hosts = self.hosts.iter().filter(move |(_, host)| idle(host));
        hosts.map(|(id, _)| id)
    }

    /// A host is to take no more jobs. Says whether there is one with this id.
    pub fn drain(&mut self, id: &HostId) -> bool {
        let host = self.hosts.get_mut(id);
        host.map(|host| host.draining = true).is_some()
    }

    /// The hosts that are to take no more jobs.
    pub fn draining(&self) -> impl Iterator<Item = &HostId> {
        let hosts = self.hosts.iter().filter(|(_, host)| host.draining);
        hosts.map(|(id, _)| id)
    }

    /// Takes a host out.
    pub fn remove(&mut self, id: &HostId) -> Option<Host> {
        self.hosts.remove(id)
    }

    /// Counts the silence of all hosts from now on.
    pub fn excuse(&mut self, now: Instant) {
        self.hosts.values_mut().for_each(|host| host.heard = now);
    }

    /// Takes out the hosts that have not been heard for `limit`.
    pub fn take_silent(&mut self, now: Instant, limit: Duration) -> Vec<(HostId, Host)> {
        let silent = |host: &Host| now.saturating_duration_since(host.heard) >= limit;
        let ids = self.hosts.iter().filter(|(_, host)| silent(host));
        let ids: Vec<HostId> = ids.map(|(id, _)| id.clone()).collect();
        let taken = ids
            .into_iter()
            .filter_map(|id| self.hosts.remove_entry(&id));
        taken.collect()
    }

    /// Lanes of all hosts.
    pub fn lanes(&self) -> usize {
        self.hosts.values().map(|host| host.lanes.len()).sum()
    }

    /// A host.
    pub fn get(&self, id: &HostId) -> Option<&Host> {
        self.hosts.get(id)
    }

    /// Whether some lane is known to do this order.
    pub fn is_running(&self, order: JobId) -> bool {
        let mut running = self.hosts.values().flat_map(|host| &host.running);
        running.any(|running| running.order == order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_numbered_through_and_end_with_their_host() {
        let (mut hosts, now) = (Hosts::default(), Instant::now());
        let id = |name: &str| HostId(name.into());
        assert_eq!(
            hosts.admit(id("a"), "a".into(), 2, now),
            [LaneId(0), LaneId(1)]
        );
        assert_eq!(hosts.admit(id("b"), "b".into(), 1, now), [LaneId(2)]);
        assert_eq!(hosts.lanes(), 3);
        let later = now + Duration::from_secs(5);
        assert!(hosts.heard(&id("b"), Vec::new(), later).is_some());
        let silent = hosts.take_silent(later, Duration::from_secs(5));
        assert_eq!(silent.len(), 1);
        assert_eq!(silent[0].0, id("a"));
        assert_eq!(hosts.lanes(), 1);
        assert!(hosts.heard(&id("a"), Vec::new(), later).is_none());
        // Whoever comes back has other lanes.
        assert_eq!(hosts.admit(id("a2"), "a".into(), 1, later), [LaneId(3)]);
    }
}
