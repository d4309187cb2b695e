//! The workers of a run, as they are told of over the line.

use std::collections::BTreeSet;
use std::time::Instant;

use regatta_actors::ids::ClientId;
use regatta_actors::observe::hosts::{HostStatus, LaneStatus, LaneWork};
use regatta_actors::protocol::job::JobPhase;
use serde::{Deserialize, Serialize};

/// The hosts that train for a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Workers {
    /// Them, in the order of their ids.
    pub hosts: Vec<HostLine>,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostLine {
    /// Its name in all messages, which no other has.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// What trains there.
    pub description: String,
    /// Its lanes.
    pub lanes: Vec<LaneLine>,
    /// Jobs that it did.
    pub jobs_done: u64,
    /// Jobs of these and of those that it began which had to be done once more.
    pub jobs_redone: u64,
    /// Bytes of states that it fetched.
    pub bytes_received: u64,
    /// Bytes of results that it sent.
    pub bytes_sent: u64,
    /// Seconds since it was last heard; `None`: it is the run's own process.
    pub silent_seconds: Option<f64>,
    /// Whether it takes no more jobs and is to leave.
    pub draining: bool,
}

/// A lane of a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaneLine {
    /// Its number in the run.
    pub lane: u32,
    /// What its device is called.
    pub device: String,
    /// What it does; `None`: it waits for a job.
    pub work: Option<WorkLine>,
}

/// What a lane does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WorkLine {
    /// The client that it trains.
    pub client: ClientId,
    /// In this round.
    pub round: u32,
    /// How far it is.
    pub phase: JobPhase,
    /// Seconds since it came so far.
    pub seconds: f64,
}

impl Workers {
    /// What a board shows at a time.
    #[must_use]
    pub fn of(board: Vec<(String, HostStatus)>, now: Instant) -> Self {
        let since = |time: Instant| now.saturating_duration_since(time).as_secs_f64();
        let work = |work: LaneWork| WorkLine {
            client: work.job.client,
            round: work.job.round,
            phase: work.phase,
            seconds: since(work.since),
        };
        let lane = |status: LaneStatus| LaneLine {
            lane: status.lane.0,
            device: status.device,
            work: status.work.map(work),
        };
        let host = |(id, status): (String, HostStatus)| HostLine {
            id,
            name: status.name,
            description: status.description,
            lanes: status.lanes.into_iter().map(lane).collect(),
            jobs_done: status.jobs_done,
            jobs_redone: status.jobs_redone,
            bytes_received: status.bytes_received,
            bytes_sent: status.bytes_sent,
            silent_seconds: status.heard.map(since),
            draining: status.draining,
        };
        Self {
            hosts: board.into_iter().map(host).collect(),
        }
    }

    /// Whether the run trains on lanes of its own process.
    #[must_use]
    pub fn are_own_lanes(&self) -> bool {
        self.hosts.iter().any(|host| host.silent_seconds.is_none())
    }

    /// The one host with this name or id.
    ///
    /// # Errors
    /// That there is none, or that there are several: with the names, or ids, that there are.
    pub fn find(&self, wanted: &str) -> Result<&HostLine, String> {
        if self.are_own_lanes() {
            return Err("the run trains on lanes of its own process, and has no workers".into());
        }
        let is_wanted = |host: &&HostLine| host.name == wanted || host.id == wanted;
        let found: Vec<_> = self.hosts.iter().filter(is_wanted).collect();
        match found[..] {
            [host] => Ok(host),
            [] if self.hosts.is_empty() => Err(format!(
                "no worker is called {wanted}: none has joined the run"
            )),
            [] => {
                let names = self.hosts.iter().map(|host| host.name.as_str());
                let names: BTreeSet<_> = names.collect();
                let names = Vec::from_iter(names).join(", ");
                Err(format!("no worker is called {wanted}; there are: {names}"))
            }
            _ => {
                let ids: Vec<_> = found.iter().map(|host| host.id.as_str()).collect();
                let (count, ids) = (ids.len(), ids.join(", "));
                Err(format!(
                    "{count} workers are called {wanted}; name one by its id: {ids}"
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn board(hosts: &[(&str, &str)]) -> Vec<(String, HostStatus)> {
        let host = |(id, name): &(&str, &str)| {
            let mut status = HostStatus::new(*name, "CPU");
            status.heard = Some(status.joined);
            ((*id).to_owned(), status)
        };
        hosts.iter().map(host).collect()
    }

    fn workers(hosts: &[(&str, &str)]) -> Workers {
        Workers::of(board(hosts), Instant::now())
    }

    #[test]
    fn a_worker_is_found_by_its_name_or_its_id() {
        let all = workers(&[("a.1", "a"), ("b.1", "b"), ("b.2", "b")]);
        assert_eq!(all.find("a").unwrap().id, "a.1");
        assert_eq!(all.find("b.2").unwrap().id, "b.2");
        let error = all.find("b").unwrap_err();
        assert!(error.ends_with("by its id: b.1, b.2"), "{error}");
        let error = all.find("c").unwrap_err();
        assert_eq!(error, "no worker is called c; there are: a, b");
        let error = workers(&[]).find("c").unwrap_err();
        assert!(error.ends_with("none has joined the run"), "{error}");
    }

    #[test]
    fn a_run_on_its_own_lanes_has_no_worker_to_find() {
        let own = vec![("local".to_owned(), HostStatus::new("local", ""))];
        let own = Workers::of(own, Instant::now());
        assert!(own.are_own_lanes());
        let error = own.find("local").unwrap_err();
        assert!(error.contains("its own process"), "{error}");
    }

    #[test]
    fn silence_is_told_in_seconds() {
        let board = board(&[("a.1", "a")]);
        let later = board[0].1.joined + Duration::from_millis(2500);
        let told = Workers::of(board, later);
        assert_eq!(told.hosts[0].silent_seconds, Some(2.5));
        assert!(!told.are_own_lanes());
    }
}
