//! Notes and questions: messages that no stream keeps.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use regatta_actors::lanes::broker::{BrokerError, Question};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::connection::Connection;
use crate::replies::Pause;

/// Notes and questions that wait to be taken.
const WAITING: usize = 64;

/// The messages to a subject from now on. Must be called within a runtime.
pub(crate) fn notes(connection: Connection, subject: String) -> mpsc::Receiver<Bytes> {
    listen(connection, subject, |message| Some(message.payload))
}

/// The questions to a subject. Must be called within a runtime.
pub(crate) fn questions(connection: Connection, subject: String) -> mpsc::Receiver<Question> {
    let answers = connection.clone();
    listen(connection, subject, move |message| {
        let asker = message.reply?.to_string();
        let (answer, answered) = oneshot::channel();
        tokio::spawn(send_answer(answers.clone(), asker, answered));
        Some(Question {
            content: message.payload,
            answer,
        })
    })
}

async fn send_answer(connection: Connection, asker: String, answer: oneshot::Receiver<Bytes>) {
    // Without an answer the asker's time runs out, or it asks again.
    if let Ok(answer) = answer.await
        && let Err(error) = connection.publish(&asker, answer).await
    {
        tracing::debug!("an answer is lost: {error}");
    }
}

/// Subscribes, and passes on what `read` makes of each message until the receiver is gone.
fn listen<T: Send + 'static>(
    connection: Connection,
    subject: String,
    read: impl Fn(async_nats::Message) -> Option<T> + Send + 'static,
) -> mpsc::Receiver<T> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let passing = sender.clone();
    let pass_on = async move {
        let mut messages = match connection.subscribe(&subject).await {
            Ok(messages) => messages,
            Err(error) => {
                tracing::warn!("messages to {subject} are not heard: {error}");
                return;
            }
        };
        while let Some(message) = messages.next().await {
            if let Some(read) = read(message)
                && passing.send(read).await.is_err()
            {
                return;
            }
        }
    };
    tokio::spawn(async move {
        tokio::select! {
            () = sender.closed() => {}
            () = pass_on => {}
        }
    });
    receiver
}

/// Asks, and waits for an answer as long as `wait`. Where nobody listens it asks again: a listener's
/// subscription takes a moment to be known.
pub(crate) async fn ask(
    connection: &Connection,
    subject: &str,
    question: Bytes,
    wait: Duration,
) -> Result<Option<Bytes>, BrokerError> {
    let end = Instant::now() + wait;
    let mut pause = Pause::default();
    while Instant::now() < end {
        let left = end.saturating_duration_since(Instant::now());
        let asked = tokio::time::timeout(
            left,
            connection.request(subject, None, question.clone(), wait * 2),
        );
        match asked.await {
            Ok(Ok(answer)) => return Ok(Some(answer.payload)),
            Ok(Err(BrokerError::Missing(_))) => pause.wait().await,
            Ok(Err(error)) => return Err(error),
            Err(_) => return Ok(None),
        }
    }
    Ok(None)
}
