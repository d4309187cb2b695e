//! The right to coordinate a run: a stream of one message, which has the coordinator's name and goes
//! by itself when it is not renewed. A message is stored only if the last one is the one that was
//! read, so that of two coordinators one is refused.

use std::time::Duration;

use bytes::Bytes;
use regatta_actors::lanes::broker::{BrokerError, Claim};
use serde_json::json;

use crate::jetstream::{Held, JetStream, Stored, nanoseconds};
use crate::names::Names;

/// How often a claim is tried when others come between.
const TRIES: u32 = 5;

/// Makes the place of the claim, which holds one for `lasts`.
pub(crate) async fn prepare(
    streams: &JetStream,
    names: &Names,
    lasts: Duration,
) -> Result<bool, BrokerError> {
    let stream = json!({
        "name": names.claim(),
        "subjects": [names.coordinator()],
        "retention": "limits",
        "storage": "file",
        "num_replicas": 1,
        "max_msgs_per_subject": 1,
        "max_age": nanoseconds(lasts),
        "allow_direct": true,
    });
    streams.make_stream(&names.claim(), stream).await
}

/// Takes or renews the right.
pub(crate) async fn claim(
    streams: &JetStream,
    names: &Names,
    coordinator: &str,
) -> Result<Claim, BrokerError> {
    for _ in 0..TRIES {
        let held = held(streams, names).await?;
        let expected = match held {
            Some(held) if held.content != coordinator.as_bytes() => {
                return Ok(Claim::HeldBy(name(&held)));
            }
            Some(held) => held.seq,
            None => 0,
        };
        let content = Bytes::copy_from_slice(coordinator.as_bytes());
        let (stream, subject) = (names.claim(), names.coordinator());
        let stored = streams.store(&stream, &subject, content, Some(expected));
        if stored.await? == Stored::Yes {
            return Ok(Claim::Granted);
        }
        // Another took it in between, or it ended: what holds now is to be read.
    }
    Err(BrokerError::Away(
        "others claim to coordinate the run at the same time".into(),
    ))
}

/// Gives up the right, if this coordinator has it.
pub(crate) async fn release(
    streams: &JetStream,
    names: &Names,
    coordinator: &str,
) -> Result<(), BrokerError> {
    match held(streams, names).await? {
        // By its number: by now another may have claimed.
        Some(held) if held.content == coordinator.as_bytes() => {
            streams.delete(&names.claim(), held.seq).await
        }
        _ => Ok(()),
    }
}

async fn held(streams: &JetStream, names: &Names) -> Result<Option<Held>, BrokerError> {
    streams.last(&names.claim(), &names.coordinator()).await
}

fn name(held: &Held) -> String {
    String::from_utf8_lossy(&held.content).into_owned()
}
