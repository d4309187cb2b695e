//! The states that a host's jobs start from: each fetched once, whichever lane needs it first.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Mutex, OnceCell};

use crate::ids::Digest;
use crate::lanes::broker::Broker;
use crate::lanes::parcels::{FetchError, PieceCache};
use crate::lanes::wire::{HostQuestion, encode};
use crate::workload::update::Payload;

/// Bytes that a state has at most: more than any model that is trained here. What a coordinator sends
/// is trusted, but not to be without limit.
const LARGEST_STATE: u64 = 1 << 40;

/// States that are kept. Jobs of buffered runs start from older ones, too.
const KEPT: usize = 4;

/// What the first lane fills and the others wait for.
type StateCell<S> = Rc<OnceCell<Arc<S>>>;

/// See the module.
pub(super) struct StateCache<S> {
    /// The latest last.
    states: RefCell<VecDeque<(Digest, StateCell<S>)>>,
    pieces: Mutex<PieceCache>,
    received: Cell<u64>,
}

impl<S> Default for StateCache<S> {
    fn default() -> Self {
        Self {
            states: RefCell::default(),
            pieces: Mutex::default(),
            received: Cell::default(),
        }
    }
}

impl<S: Payload> StateCache<S> {
    /// The state of this name.
    ///
    /// # Errors
    /// If it cannot be had now.
    pub async fn get(&self, broker: &impl Broker, name: &Digest) -> Result<Arc<S>, FetchError> {
        let cell = self.cell(name);
        let state = cell.get_or_try_init(|| self.fetch(broker, name)).await?;
        Ok(state.clone())
    }

    /// Bytes that were fetched so far.
    pub fn received(&self) -> u64 {
        self.received.get()
    }

    fn cell(&self, name: &Digest) -> StateCell<S> {
        let mut states = self.states.borrow_mut();
        if let Some((_, cell)) = states.iter().find(|(known, _)| known == name) {
            return cell.clone();
        }
        let cell = StateCell::<S>::default();
        states.push_back((name.clone(), cell.clone()));
        if states.len() > KEPT {
            states.pop_front();
        }
        cell
    }

    async fn fetch(&self, broker: &impl Broker, name: &Digest) -> Result<Arc<S>, FetchError> {
        let mut pieces = self.pieces.lock().await;
        let mut fetched = pieces.fetch(broker, name, LARGEST_STATE).await;
        if let Err(FetchError::Damaged(reason)) = &fetched {
            tracing::debug!("{reason}; the coordinator is to store it again");
            let question = encode(&HostQuestion::Missing(name.clone()));
            broker.ask(question).await?;
            fetched = pieces.fetch(broker, name, LARGEST_STATE).await;
        }
        self.received.set(pieces.fetched);
        Ok(Arc::new(fetched?))
    }
}
