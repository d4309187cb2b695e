//! What a coordinator asks of hosts.

use std::collections::BTreeMap;

use crate::ids::Digest;
use crate::lanes::remote::verify::VerifiedShare;
use crate::lanes::timing::Timing;
use crate::lanes::wire::Invitation;

/// What a coordinator asks of the hosts that want to train for its run.
#[derive(Debug, Clone)]
pub struct RemoteSettings {
    /// The coordinator's name, for people.
    pub name: String,
    /// What its own processor or GPU is, for people.
    pub description: String,
    /// What a host is told.
    pub invitation: Invitation,
    /// What decides the run's results, by name; must be the same on a host.
    pub fingerprint: BTreeMap<String, String>,
    /// What [`ClientTrainer::canary`](crate::workload::ClientTrainer::canary) gives here; must be
    /// the same on a lane.
    pub canary: Digest,
    /// The share of jobs that two hosts do, whose results are compared.
    pub verified: VerifiedShare,
    /// Bytes that a client's update has at most; one with more is refused unread.
    pub largest_update: u64,
    /// How long to wait for what.
    pub timing: Timing,
}
