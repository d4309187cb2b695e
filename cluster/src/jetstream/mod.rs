//! Requests to the broker's streams, as its protocol has them: JSON to subjects below `$JS.API`.

mod answer;

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use regatta_actors::lanes::broker::BrokerError;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::connection::Connection;

use answer::{
    Failure, NO_MESSAGE, NOT_FOUND, OTHER_SEQUENCE, OTHER_SETTINGS, no_stream, parsed, said, status,
};

/// The broker's streams.
#[derive(Debug, Clone)]
pub(crate) struct JetStream {
    connection: Connection,
    time: Duration,
}

/// What became of a message to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It is in the stream.
    Yes,
    /// The stream has one of this subject, and takes no other.
    SubjectTaken,
    /// The last message of the subject is not the expected one.
    OtherSequence,
}

/// A message that a stream holds.
#[derive(Debug)]
pub(crate) struct Held {
    /// Its number in the stream.
    pub(crate) seq: u64,
    /// What was sent.
    pub(crate) content: Bytes,
}

impl JetStream {
    /// Streams of the broker at the connection's other end; a request may take so long.
    pub(crate) fn new(connection: Connection, time: Duration) -> Self {
        Self { connection, time }
    }

    /// The same streams, with another time for a request.
    pub(crate) fn within(&self, time: Duration) -> Self {
        Self::new(self.connection.clone(), time)
    }

    /// The connection to the broker.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// How long a request may take.
    pub(crate) fn time(&self) -> Duration {
        self.time
    }

    /// Sends a request about `what`, and gives the server's answer.
    async fn api(&self, path: &str, what: &str, content: Value) -> Result<Value, Failure> {
        let subject = format!("$JS.API.{path}");
        let content = Bytes::from(content.to_string());
        let answer = self.connection.request(&subject, None, content, self.time);
        let answer = answer.await.map_err(|error| match error {
            // The streams themselves are gone, not one of them.
            BrokerError::Missing(_) => BrokerError::Away("JetStream does not answer".into()),
            error => error,
        })?;
        parsed(&answer.payload, what)
    }

    /// Makes a stream that keeps one message per subject, the first; `more` settings are its own.
    /// Says whether it was missing.
    pub(crate) async fn make_stream_of_firsts(
        &self,
        name: &str,
        subjects: &str,
        more: Value,
    ) -> Result<bool, BrokerError> {
        let mut settings = json!({
            "name": name,
            "subjects": [subjects],
            "retention": "limits",
            "storage": "file",
            "num_replicas": 1,
            "discard": "new",
            "discard_new_per_subject": true,
            "max_msgs_per_subject": 1,
        });
        if let (Some(settings), Value::Object(more)) = (settings.as_object_mut(), more) {
            settings.extend(more);
        }
        self.make_stream(name, settings).await
    }

    /// Makes a stream, or gives an existing one these settings. Says whether it was missing.
    pub(crate) async fn make_stream(
        &self,
        name: &str,
        settings: Value,
    ) -> Result<bool, BrokerError> {
        // Creating says the same of a stream that is there.
        let info = format!("STREAM.INFO.{name}");
        let info = self.api(&info, name, json!({})).await;
        let was_missing = match info.map_err(BrokerError::from) {
            Ok(_) => false,
            Err(BrokerError::Missing(_)) => true,
            Err(error) => return Err(error),
        };
        let create = format!("STREAM.CREATE.{name}");
        match self.api(&create, name, settings.clone()).await {
            Err(failure) if failure.is(OTHER_SETTINGS) => {
                let update = format!("STREAM.UPDATE.{name}");
                self.api(&update, name, settings).await?;
            }
            made => {
                made?;
            }
        }
        Ok(was_missing)
    }

    /// Deletes a stream, if it is there.
    pub(crate) async fn delete_stream(&self, name: &str) -> Result<(), BrokerError> {
        let path = format!("STREAM.DELETE.{name}");
        let deleted = self.api(&path, name, json!({}));
        match deleted.await.map_err(BrokerError::from) {
            Ok(_) | Err(BrokerError::Missing(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes a consumer of a stream, or gives an existing one these settings; gives its name.
    pub(crate) async fn make_consumer(
        &self,
        stream: &str,
        name: Option<&str>,
        settings: Value,
    ) -> Result<String, BrokerError> {
        let mut path = format!("CONSUMER.CREATE.{stream}");
        if let Some(name) = name {
            path = format!("{path}.{name}");
        }
        let content = json!({ "stream_name": stream, "config": settings });
        let made = self.api(&path, stream, content).await?;
        let name = made["name"].as_str().map(str::to_owned);
        name.ok_or_else(|| BrokerError::Away(format!("a consumer without a name: {made}")))
    }

    /// Deletes a consumer of a stream, if it is there.
    pub(crate) async fn delete_consumer(
        &self,
        stream: &str,
        name: &str,
    ) -> Result<(), BrokerError> {
        let path = format!("CONSUMER.DELETE.{stream}.{name}");
        let deleted = self.api(&path, stream, json!({}));
        match deleted.await.map_err(BrokerError::from) {
            Ok(_) | Err(BrokerError::Missing(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The subjects of a stream that match `filter`, each with its number of messages.
    pub(crate) async fn subjects(
        &self,
        stream: &str,
        filter: &str,
    ) -> Result<BTreeMap<String, u64>, BrokerError> {
        let mut all = BTreeMap::new();
        // The server answers with a hundred thousand at most.
        loop {
            let page = json!({ "subjects_filter": filter, "offset": all.len() });
            let info = self
                .api(&format!("STREAM.INFO.{stream}"), stream, page)
                .await?;
            let page = BTreeMap::<String, u64>::deserialize(&info["state"]["subjects"]);
            let page = page.unwrap_or_default();
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
            if info["total"]
                .as_u64()
                .is_none_or(|total| all.len() as u64 >= total)
            {
                return Ok(all);
            }
        }
    }

    /// Deletes all messages of a stream whose subjects match `filter`.
    pub(crate) async fn purge(&self, stream: &str, filter: &str) -> Result<(), BrokerError> {
        let path = format!("STREAM.PURGE.{stream}");
        self.api(&path, stream, json!({ "filter": filter })).await?;
        Ok(())
    }

    /// Deletes the message with this number, if it is there.
    pub(crate) async fn delete(&self, stream: &str, seq: u64) -> Result<(), BrokerError> {
        let path = format!("STREAM.MSG.DELETE.{stream}");
        let deleted = self.api(&path, stream, json!({ "seq": seq, "no_erase": true }));
        match deleted.await {
            Err(failure) if failure.is(NO_MESSAGE) => Ok(()),
            deleted => Ok(deleted.map(drop)?),
        }
    }

    /// The last message of a subject, from a stream that allows to be read directly.
    pub(crate) async fn last(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<Held>, BrokerError> {
        let path = format!("$JS.API.DIRECT.GET.{stream}.{subject}");
        let asked = self
            .connection
            .request(&path, None, Bytes::new(), self.time);
        let found = asked.await.map_err(|error| no_stream(error, stream))?;
        match status(&found) {
            None => {
                let seq = found.headers.as_ref().and_then(|h| h.get("Nats-Sequence"));
                let seq = seq.and_then(|seq| seq.as_str().parse().ok());
                let seq = seq.ok_or_else(|| BrokerError::Away(format!("{path}: no number")))?;
                let content = found.payload;
                Ok(Some(Held { seq, content }))
            }
            Some(NOT_FOUND) => Ok(None),
            Some(_) => Err(BrokerError::Refused(said(&found, stream))),
        }
    }

    /// Sends a message to a stream. `expected`: only if the last of this subject has that number;
    /// 0 is for none.
    pub(crate) async fn store(
        &self,
        stream: &str,
        subject: &str,
        content: Bytes,
        expected: Option<u64>,
    ) -> Result<Stored, BrokerError> {
        let headers = expected.map(|seq| {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Expected-Last-Subject-Sequence", seq.to_string());
            headers
        });
        let sent = self
            .connection
            .request(subject, headers, content, self.time);
        let answer = sent.await.map_err(|error| no_stream(error, stream))?;
        match parsed(&answer.payload, stream) {
            Ok(_) => Ok(Stored::Yes),
            Err(failure) if failure.is(OTHER_SEQUENCE) => Ok(Stored::OtherSequence),
            Err(failure) if failure.is_of_subject() => Ok(Stored::SubjectTaken),
            Err(error) => Err(error.into()),
        }
    }

    /// The next message for a consumer, waited for as long as `wait`; its reply subject acknowledges
    /// it.
    pub(crate) async fn next(
        &self,
        stream: &str,
        consumer: &str,
        wait: Duration,
    ) -> Result<Option<Message>, BrokerError> {
        let pull = json!({ "batch": 1, "expires": nanoseconds(wait) });
        self.pull(stream, consumer, pull, wait).await
    }

    /// The next message for a consumer, if there is one now.
    pub(crate) async fn next_kept(
        &self,
        stream: &str,
        consumer: &str,
    ) -> Result<Option<Message>, BrokerError> {
        let pull = json!({ "batch": 1, "no_wait": true });
        self.pull(stream, consumer, pull, Duration::ZERO).await
    }

    async fn pull(
        &self,
        stream: &str,
        consumer: &str,
        pull: Value,
        wait: Duration,
    ) -> Result<Option<Message>, BrokerError> {
        let path = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        let content = Bytes::from(pull.to_string());
        let asked = self
            .connection
            .request_alone(&path, content, wait + self.time);
        let message = asked.await.map_err(|error| no_stream(error, stream))?;
        match status(&message) {
            None => Ok(Some(message)),
            Some(NOT_FOUND | 408) => Ok(None),
            Some(409) if said(&message, stream).contains("Consumer") => {
                Err(BrokerError::Missing(said(&message, stream)))
            }
            Some(409) => Err(BrokerError::Away(said(&message, stream))),
            Some(_) => Err(BrokerError::Refused(said(&message, stream))),
        }
    }
}

/// A duration as the protocol has it.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
