//! Replies to jobs: a stream that keeps the first to each, until the coordinator forgets it.

use std::time::Duration;

use async_nats::Message;
use bytes::Bytes;
use regatta_actors::ids::JobId;
use regatta_actors::lanes::broker::{BrokerError, Kept};
use serde_json::json;
use tokio::sync::mpsc;

use crate::jetstream::{JetStream, Stored, nanoseconds};
use crate::names::Names;

/// Replies that wait to be taken by the coordinator. More wait in the connection.
const WAITING: usize = 64;
/// How long the broker keeps a consumer that nobody asks.
const IDLE: Duration = Duration::from_secs(60);

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

/// All replies that are kept, and each as it comes. Must be called within a runtime.
pub(crate) fn all(streams: JetStream, names: &Names) -> mpsc::Receiver<(JobId, Bytes)> {
    let (replies, receiver) = mpsc::channel(WAITING);
    let names = names.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = replies.closed() => {}
            () = read_for_ever(&streams, &names, &replies) => {}
        }
    });
    receiver
}

/// Reads until the receiver is gone. A lost connection, server or stream makes it start again.
async fn read_for_ever(streams: &JetStream, names: &Names, replies: &mpsc::Sender<(JobId, Bytes)>) {
    let mut pause = Pause::default();
    while !replies.is_closed() {
        if let Err(error) = read(streams, names, replies, &mut pause).await {
            tracing::debug!("reading replies starts again: {error}");
            pause.wait().await;
        }
    }
}

/// Passes on what is kept and what comes, until a message may have been missed.
///
/// A reply is heard on its way into the stream, not read from it: the server holds what was read in
/// memory for seconds, and each reply would have to be asked for.
async fn read(
    streams: &JetStream,
    names: &Names,
    replies: &mpsc::Sender<(JobId, Bytes)>,
    pause: &mut Pause,
) -> Result<(), BrokerError> {
    // Before what is kept is read: nothing comes between.
    let mut coming = streams.connection().hear(&names.all_replies()).await?;
    wait_until_stored(streams, names).await?;
    read_kept(streams, names, replies).await?;
    *pause = Pause::default();
    while !replies.is_closed() {
        pass_on(names, replies, coming.next().await?).await;
    }
    Ok(())
}

/// Waits until what the server had before this is in the stream: it takes messages in their order, and
/// has taken them all once it has refused one that nothing can come before.
async fn wait_until_stored(streams: &JetStream, names: &Names) -> Result<(), BrokerError> {
    let never = Some(u64::MAX);
    let (stream, subject) = (names.done(), names.no_reply());
    let refused = streams.store(&stream, &subject, Bytes::new(), never).await;
    refused.map(drop)
}

/// Passes on what the stream has now.
async fn read_kept(
    streams: &JetStream,
    names: &Names,
    replies: &mpsc::Sender<(JobId, Bytes)>,
) -> Result<(), BrokerError> {
    let stream = &names.done();
    let settings = json!({
        "ack_policy": "none",
        "replay_policy": "instant",
        "deliver_policy": "all",
        "inactive_threshold": nanoseconds(IDLE),
        "mem_storage": true,
        "num_replicas": 1,
    });
    let consumer = streams.make_consumer(stream, None, settings).await?;
    while let Some(message) = streams.next_kept(stream, &consumer).await? {
        pass_on(names, replies, message).await;
    }
    Ok(())
}

async fn pass_on(names: &Names, replies: &mpsc::Sender<(JobId, Bytes)>, message: Message) {
    if let Some(job) = names.job_of_reply(&message.subject) {
        // A receiver that is gone needs none.
        let _ = replies.send((job, message.payload)).await;
    }
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
