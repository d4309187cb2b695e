//! Replies to jobs: a stream that keeps the first to each, until the coordinator forgets it.

use std::time::Duration;

use bytes::Bytes;
use regatta_actors::ids::JobId;
use regatta_actors::lanes::broker::{BrokerError, Kept};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::jetstream::{JetStream, Stored, nanoseconds};
use crate::names::Names;
use crate::queue::receipt;

/// Replies that wait to be taken by the coordinator. More wait in the broker.
const WAITING: usize = 64;
/// How long the broker keeps a consumer that nobody asks.
const IDLE: Duration = Duration::from_secs(60);
/// Waits without a reply after which the consumer is replaced: one that a restart of the server has
/// stalled looks like one that has nothing to give.
const EMPTY_WAITS: u32 = 6;

/// Makes the place of replies.
pub(crate) async fn prepare(streams: &JetStream, names: &Names) -> Result<bool, BrokerError> {
    streams
        .make_stream_of_firsts(&names.done(), &names.all_replies(), json!({}))
        .await
}

/// Keeps the reply to a job, unless there is one.
pub(crate) async fn reply(
    streams: &JetStream,
    names: &Names,
    job: JobId,
    reply: Bytes,
) -> Result<Kept, BrokerError> {
    let (stream, subject) = (names.done(), names.reply(job));
    let stored = streams.store(&stream, &subject, reply, None).await?;
    Ok(match stored {
        Stored::Yes => Kept::First,
        Stored::SubjectTaken | Stored::OtherSequence => Kept::Duplicate,
    })
}

/// All replies that are kept, and then each as it comes. Must be called within a runtime.
pub(crate) fn all(
    streams: JetStream,
    names: &Names,
    wait: Duration,
) -> mpsc::Receiver<(JobId, Bytes)> {
    let (replies, receiver) = mpsc::channel(WAITING);
    let names = names.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = replies.closed() => {}
            () = read_for_ever(&streams, &names, wait, &replies) => {}
        }
    });
    receiver
}

/// Reads until the receiver is gone. A lost connection, server or stream makes it start again.
async fn read_for_ever(
    streams: &JetStream,
    names: &Names,
    wait: Duration,
    replies: &mpsc::Sender<(JobId, Bytes)>,
) {
    let mut start = Start::First;
    let mut pause = Pause::default();
    while !replies.is_closed() {
        match read(streams, names, wait, &start, replies, &mut pause).await {
            Ok(next) => start = next,
            Err(error) => {
                tracing::debug!("reading replies starts again: {error}");
                start = Start::First;
                pause.wait().await;
            }
        }
    }
}

/// Where to begin to read.
enum Start {
    First,
    After(u64),
}

impl Start {
    fn settings(&self) -> Value {
        let mut settings = json!({
            "ack_policy": "none",
            "replay_policy": "instant",
            "deliver_policy": "all",
            "inactive_threshold": nanoseconds(IDLE),
            "mem_storage": true,
            "num_replicas": 1,
        });
        if let Self::After(seq) = self {
            settings["deliver_policy"] = "by_start_sequence".into();
            settings["opt_start_seq"] = (seq + 1).into();
        }
        settings
    }
}

/// Reads with one consumer, until it has had nothing for long; gives where to begin then.
async fn read(
    streams: &JetStream,
    names: &Names,
    wait: Duration,
    start: &Start,
    replies: &mpsc::Sender<(JobId, Bytes)>,
    pause: &mut Pause,
) -> Result<Start, BrokerError> {
    let stream = &names.done();
    let settings = start.settings();
    let consumer = streams.make_consumer(stream, None, settings).await?;
    let mut last = match start {
        Start::First => 0,
        Start::After(seq) => *seq,
    };
    let mut empty = 0;
    while empty < EMPTY_WAITS {
        let Some(message) = streams.next(stream, &consumer, wait).await? else {
            empty += 1;
            continue;
        };
        *pause = Pause::default();
        empty = 0;
        last = receipt(&message).map_or(last, |receipt| receipt.seq);
        let Some(job) = names.job_of_reply(&message.subject) else {
            continue;
        };
        if replies.send((job, message.payload)).await.is_err() {
            break;
        }
    }
    Ok(Start::After(last))
}

/// Pauses between tries, longer each time.
#[derive(Default)]
pub(crate) struct Pause(u32);

impl Pause {
    /// Waits 0.1 s, then longer, 1.6 s at most.
    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(Duration::from_millis(100 << self.0)).await;
        self.0 = (self.0 + 1).min(4);
    }
}
