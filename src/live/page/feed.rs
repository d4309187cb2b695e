//! Carries a run's changes to its viewers.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_web::body::{BodySize, MessageBody};
use actix_web::web::Bytes;
use regatta_actors::observe::hosts::HostBoard;
use regatta_actors::protocol::event::Event;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::base::time::unix_seconds;
use crate::live::page::history::{History, PageHeader, Steering};
use crate::live::page::tracker::Tracker;
use crate::live::ports::connection::Held;
use crate::runs::samples::TextSource;

/// Seconds for which a history can be told again: it has the time at which it was made.
const FRESH: f64 = 1.0;

/// Messages that may wait for a slow page before it is cut off, to reconnect.
const WAITING: usize = 64;
/// Changes that may accumulate before they go into the history, without a flush.
const MOST_GATHERED: usize = 4096;
/// How long the last messages may take at the end.
const FAREWELL: Duration = Duration::from_secs(1);
/// The history is sent in parts of N bytes, so that what a slow page has not read yet is
/// shared by all rather than copied for each.
const PART: usize = 1 << 16;

/// A run's history and its followers; cheap to clone.
#[derive(Debug, Clone)]
pub struct Feed(Arc<Mutex<Inner>>);

/// What a feed's owners share.
#[derive(Debug)]
pub(crate) struct Inner {
    /// Follows the run.
    pub tracker: Tracker,
    history: History,
    followers: Vec<mpsc::Sender<Bytes>>,
    /// Who trains for the run at the moment.
    hosts: Option<Arc<HostBoard>>,
    /// The texts that pages may ask for.
    pub texts: Option<TextSource>,
    /// The history as it goes to a new follower, as long as nothing has changed.
    first: Option<Bytes>,
    over: bool,
}

impl Feed {
    /// The feed of a run that has not started.
    #[must_use]
    pub fn new(facts: PageHeader) -> Self {
        let started = unix_seconds();
        let facts = PageHeader { started, ..facts };
        Self(Arc::new(Mutex::new(Inner {
            tracker: Tracker::new(facts.metrics.clone()),
            history: History::new(facts),
            followers: Vec::new(),
            hosts: None,
            texts: None,
            first: None,
            over: false,
        })))
    }

    /// Whether pages steer the run.
    pub(crate) fn steered(&self, steering: Steering) {
        let mut inner = self.lock();
        inner.history.facts.steering = steering;
        inner.first = None;
    }

    /// The board of the hosts that train for the run.
    pub(crate) fn watch(&self, hosts: Arc<HostBoard>) {
        self.lock().hosts = Some(hosts);
    }

    /// Where the texts are that pages may ask for, if the run writes any.
    pub(crate) fn texts(&self) -> Option<TextSource> {
        self.lock().texts.clone()
    }

    /// The state known so far.
    #[must_use]
    pub fn history(&self) -> History {
        let mut inner = self.lock();
        inner.flush();
        // The feed's own has the time of the message that is told again.
        let mut history = inner.history.clone();
        history.now = unix_seconds();
        history
    }

    /// Tells the followers what has gathered.
    pub fn flush(&self) {
        self.lock().flush();
    }

    /// Tells the followers that their line is alive, though nothing happens.
    pub(crate) fn keep_alive(&self) {
        self.lock().send(&Bytes::from_static(b":\n\n"));
    }

    /// A stream of messages: the history as of the last flush, then every change to it.
    pub(crate) fn follow(&self) -> Follower {
        let (sender, receiver) = mpsc::channel(WAITING);
        let mut inner = self.lock();
        let Inner { first, history, .. } = &mut *inner;
        let now = unix_seconds();
        if first.is_none() || now - history.now > FRESH {
            history.now = now;
            *first = Some(message("history", history));
        }
        let first = first.clone().unwrap_or_default();
        if !inner.over {
            inner.followers.push(sender);
        }
        Follower {
            first,
            receiver,
            _held: None,
        }
    }

    /// Tells the last changes, ends the streams, and waits a moment for them to be delivered.
    pub(crate) fn end(&self) {
        let followers = {
            let mut inner = self.lock();
            inner.flush();
            inner.over = true;
            std::mem::take(&mut inner.followers)
        };
        let begin = Instant::now();
        let delivered = |sender: &mpsc::Sender<Bytes>| {
            sender.is_closed() || sender.capacity() == sender.max_capacity()
        };
        if followers.is_empty() {
            return;
        }
        while !followers.iter().all(delivered) && begin.elapsed() < FAREWELL {
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(followers);
        // What was taken from the line has yet to reach the socket.
        std::thread::sleep(Duration::from_millis(100));
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn flush(&mut self) {
        if let Some(board) = &self.hosts {
            self.tracker.look_at_hosts(board);
        }
        let changes = std::mem::take(&mut self.tracker.changes);
        if changes.is_empty() {
            return;
        }
        self.history.absorb(&changes);
        self.first = None;
        if !self.followers.is_empty() {
            self.send(&message("changes", &changes));
        }
    }

    /// Whoever has gone, or reads too slowly, is followed no more.
    fn send(&mut self, message: &Bytes) {
        let send = |follower: &mpsc::Sender<Bytes>| follower.try_send(message.clone()).is_ok();
        self.followers.retain(send);
    }

    /// Starts, or restarts, with these clients.
    pub fn begin(&mut self, clients: &[regatta_actors::protocol::event::ClientInfo]) {
        self.tracker.begin(clients);
        self.history.begin(clients);
        self.history.now = unix_seconds();
        let history = message("history", &self.history);
        self.send(&history);
        self.first = Some(history);
    }

    /// Takes an event in.
    pub fn take(&mut self, event: &Event) {
        self.tracker.take(event);
        if self.tracker.changes.weight() > MOST_GATHERED {
            self.flush();
        }
    }
}

/// A server-sent event.
fn message(name: &str, content: &impl Serialize) -> Bytes {
    // These types have no map whose keys are not strings, so they can always be written.
    let json = serde_json::to_string(content).unwrap_or_default();
    Bytes::from(format!("event: {name}\ndata: {json}\n\n"))
}

/// The body of one page's stream.
#[derive(Debug)]
pub(crate) struct Follower {
    /// The rest of the history.
    first: Bytes,
    receiver: mpsc::Receiver<Bytes>,
    /// The connection is a stream for as long as this has something to tell.
    _held: Option<Held>,
}

impl Follower {
    /// Goes over this connection.
    pub(crate) fn over(self, held: Held) -> Self {
        Self {
            _held: Some(held),
            ..self
        }
    }
}

impl MessageBody for Follower {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        if this.first.is_empty() {
            return this.receiver.poll_recv(context).map(|got| got.map(Ok));
        }
        let part = this.first.split_to(PART.min(this.first.len()));
        Poll::Ready(Some(Ok(part)))
    }
}
