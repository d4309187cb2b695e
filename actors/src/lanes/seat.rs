//! A job's place in the group that it is trained with.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

use crate::ids::ClientId;

/// A place in a group, which goes with a job to the pool of lanes; a clone is the place of another
/// job. It is dropped where the job ends before it comes there.
#[derive(Debug, Clone)]
pub(crate) struct GroupSeat {
    pub number: u64,
    /// All clients of the group.
    pub clients: Arc<[ClientId]>,
    /// Closed when the last place is taken or dropped.
    pub undecided: mpsc::UnboundedSender<Infallible>,
    /// For the first job that comes.
    pub decided: Arc<Mutex<Option<mpsc::UnboundedReceiver<Infallible>>>>,
}

impl GroupSeat {
    /// The first place in a group of these clients.
    pub fn new(clients: &[ClientId]) -> Self {
        static GROUPS: AtomicU64 = AtomicU64::new(0);
        let (undecided, decided) = mpsc::unbounded_channel();
        Self {
            number: GROUPS.fetch_add(1, Ordering::Relaxed),
            clients: clients.into(),
            undecided,
            decided: Arc::new(Mutex::new(Some(decided))),
        }
    }
}
