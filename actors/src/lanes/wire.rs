//! What a coordinator and its hosts tell each other, as MessagePack.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::ids::{ClientId, Digest, JobId, LaneId};
use crate::protocol::job::{JobFaults, JobPhase, Work};
use crate::workload::job::Progress;

/// The version of these messages. Coordinator and hosts must have the same.
pub const WIRE_VERSION: u32 = 2;

/// A host, from when it joins until it leaves: one that comes back is a new one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostId(pub String);

impl HostId {
    /// A host of this name, whose worker has this number, and which joins at this time since 1970.
    pub(crate) fn new(name: &str, worker: u32, joined: Duration) -> Self {
        Self(format!("{name}.{worker:x}-{:x}", joined.as_millis()))
    }

    /// What stays the same when the worker joins again.
    pub(crate) fn worker(&self) -> &str {
        let parts = self.0.rsplit_once('-');
        parts.map_or(&self.0, |(worker, _)| worker)
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An order in the broker's queue: a job, or several that are trained together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobOrder {
    /// The first of its jobs, by which the queue knows it.
    pub id: JobId,
    /// The state to start from: the digest of its [`Manifest`].
    pub state: Digest,
    /// Hosts that have no room for it, on which it failed, or that have done it where another is to do
    /// it too.
    pub avoid: Vec<HostId>,
    /// Who is trained, together, in this order.
    pub clients: Vec<OrderedClient>,
}

/// A client of an order: its number, its name, and the faults of its job; no faults if nobody waits for the
/// job, which is trained all the same, since the others' results depend on it. A tuple, which a message has
/// without the names of fields: an order may have thousands of clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OrderedClient(pub ClientId, pub Arc<str>, pub Option<JobFaults>);

impl JobOrder {
    /// The jobs that somebody waits for.
    pub fn jobs(&self) -> impl Iterator<Item = JobId> {
        let waited_for = self.clients.iter().filter(|client| client.2.is_some());
        waited_for.map(|client| self.id.of_client(client.0))
    }
}

/// Which blobs make up a payload, in this order. It is a blob too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Manifest(pub Vec<Digest>);

/// A host's reply to a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobReply {
    pub id: JobId,
    /// As in the order.
    pub state: Digest,
    pub host: HostId,
    pub lane: LaneId,
    /// What the canary job gave on its lane: see [`LaneOffer::canary`].
    pub canary: Digest,
    pub seconds: f64,
    pub work: Work,
    pub outcome: JobOutcome,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum JobOutcome {
    Trained {
        loss: f64,
        examples: u64,
        steps: u64,
        digest: Digest,
        update: Content,
    },
    Interrupted,
    OutOfMemory(String),
    Failed(String),
}

/// A payload in a message, or where its blobs are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Content {
    Inline(Bytes),
    Blobs(Digest),
}

/// A note to the coordinator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum HostNote {
    /// Sent regularly, and whenever a job begins or ends.
    Alive {
        host: HostId,
        running: Vec<Running>,
        /// Bytes of states that it fetched so far, and of results that it sent.
        received: u64,
        sent: u64,
    },
    Progress {
        host: HostId,
        lane: LaneId,
        job: JobId,
        progress: Progress,
    },
    /// A job's reply was not the first: what the job gave here.
    Repeated {
        host: HostId,
        job: JobId,
        digest: Option<Digest>,
        /// The blobs that the host stored for it, which nobody reads.
        blobs: Option<Digest>,
    },
    /// A lane could not do an order, which is in the queue again.
    GivenBack {
        host: HostId,
        lane: LaneId,
        order: JobId,
        reason: String,
    },
    Leaving {
        host: HostId,
        reason: String,
    },
}

/// What a lane does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Running {
    pub lane: LaneId,
    /// The order that it has, by its first job.
    pub order: JobId,
    /// The clients of its jobs that somebody waits for.
    pub clients: Vec<ClientId>,
    pub phase: JobPhase,
}

impl Running {
    /// The jobs that somebody waits for.
    pub fn jobs(&self) -> impl Iterator<Item = JobId> {
        let clients = self.clients.iter();
        clients.map(|client| self.order.of_client(*client))
    }

    /// Whether it is the same order on the same lane, however far.
    pub fn continues(&self, other: &Self) -> bool {
        (self.lane, self.order) == (other.lane, other.order)
    }
}

/// A note to all hosts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum CoordinatorNote {
    /// Sent regularly.
    Alive,
    /// Nobody waits for this job any more.
    Cancel(JobId),
    /// The coordinator does not know this host: it is to join anew.
    Unknown(HostId),
    /// This host is to finish its jobs and leave.
    Drain(HostId),
    /// The run is over.
    Over,
}

/// A question to the coordinator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum HostQuestion {
    /// Which run is this? The first two fields stay the same in all versions.
    Invite { wire: u32, build: String },
    /// May this host train?
    Join(Introduction),
    /// The blobs of this payload are gone; are they coming?
    Missing(Digest),
}

/// A host that wants to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Introduction {
    /// Its name, for people.
    pub name: String,
    /// Tells its worker from others of that name.
    pub worker: u32,
    /// What trains there, for people: processor, instruction set, GPU, versions.
    pub description: String,
    /// What decides the run's results, by name, as the host's own files have it.
    pub fingerprint: BTreeMap<String, String>,
    /// Its lanes.
    pub lanes: Vec<LaneOffer>,
}

/// A lane that a host offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaneOffer {
    /// What its device is called, for people.
    pub device: String,
    /// The digest that the run's canary job gave there.
    pub canary: Digest,
}

/// The coordinator's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Invited(Invitation),
    /// The host's name in all messages, and the numbers of its lanes; `None`: this lane is not to
    /// train.
    Admitted {
        host: HostId,
        lanes: Vec<Option<LaneId>>,
    },
    Refused(String),
    /// What was missing is there again.
    Stored,
}

/// What a host must know before it can join.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Invitation {
    /// The coordinator's build: program, commit, libraries.
    pub build: String,
    /// The run, as the workload describes it.
    pub run: String,
}

/// A message as bytes.
pub(crate) fn encode<T: Serialize>(message: &T) -> Bytes {
    // Plain data of these types can always be written.
    Bytes::from(rmp_serde::to_vec_named(message).unwrap_or_default())
}

/// A message from bytes.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    rmp_serde::from_slice(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RunId;

    #[test]
    fn an_order_of_thousands_of_clients_is_a_small_message_that_is_read_as_it_was_written() {
        let client = |client: u32| {
            let faults = client.is_multiple_of(2).then(JobFaults::default);
            OrderedClient(ClientId(client), format!("client-{client}").into(), faults)
        };
        let order = JobOrder {
            id: JobId {
                run: RunId(7),
                round: 1,
                client: ClientId(0),
                attempt: 0,
            },
            state: Digest::of(&[]),
            avoid: Vec::new(),
            clients: (0..5000).map(client).collect(),
        };
        let message = encode(&order);
        assert!(message.len() < 200_000, "{} bytes", message.len());
        assert_eq!(decode(&message), Ok(order));
    }
}
