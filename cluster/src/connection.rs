//! One connection to the broker: made, watched, and asked over.
//!
//! The client reconnects by itself for ever. A request does not wait for that: one that is under way
//! when the connection is lost fails at once, and its caller tries again. A server says only to the
//! connection as a whole that a message was not allowed, so each request listens for that too.

use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::rustls::pki_types::CertificateDer;
use async_nats::rustls::pki_types::pem::PemObject;
use async_nats::rustls::{self, ClientConfig, RootCertStore};
use async_nats::{
    Client, ConnectOptions, Event, HeaderMap, Message, Request, RequestErrorKind, Subscriber,
};
use bytes::Bytes;
use futures_util::StreamExt;
use regatta_actors::lanes::broker::BrokerError;
use tokio::sync::broadcast;

use crate::config::ClusterFile;
use crate::errors::ConnectError;
use crate::version::is_new_enough;

/// Messages of a subscription that wait to be read; what comes beyond them is lost.
const WAITING_MESSAGES: usize = 1024;
/// How long an attempt to connect may take.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// A network that is cut says nothing: after three of these without an answer the connection is lost.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// The problem that messages come faster than they are read.
const SLOW: &str = "messages were lost: they come faster than they are read";

/// What happens to a connection after it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// It is there, for the first time or again.
    Connected,
    /// It was lost; the client tries to make it again for ever.
    Disconnected,
    /// Something was refused or failed, in the broker's words or the client's.
    Problem(String),
}

/// A connection to the broker.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    client: Client,
    events: broadcast::Sender<ConnectionEvent>,
}

impl Connection {
    /// Connects, and checks that the server will do. `name` is what the server's lists call it.
    pub(crate) async fn open(
        file: &ClusterFile,
        name: &str,
        observer: Arc<dyn Fn(ConnectionEvent) + Send + Sync>,
    ) -> Result<Self, ConnectError> {
        let (events, _) = broadcast::channel(64);
        let told = events.clone();
        let options = options(file)?
            .name(name)
            .connection_timeout(CONNECT_TIME)
            .ping_interval(PING_INTERVAL)
            .reconnect_delay_callback(pause)
            .subscription_capacity(WAITING_MESSAGES)
            .event_callback(move |event| {
                let event = event_of(&event);
                // Nobody listens while there is no request.
                let _ = told.send(event.clone());
                observer(event);
                std::future::ready(())
            });
        let address = file.urls.join(", ");
        let connecting = options.connect(file.urls.as_slice()).await;
        let client = connecting.map_err(|e| ConnectError::of(&e, &address, &file.who()))?;
        check_server(&client, address)?;
        Ok(Self { client, events })
    }

    /// The largest content of a message in bytes, as the server says.
    pub(crate) fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    /// Sends a request and waits for its answer, which may have a status instead of content.
    pub(crate) async fn request(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        content: Bytes,
        time: Duration,
    ) -> Result<Message, BrokerError> {
        let mut request = Request::new().payload(content).timeout(Some(time));
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        self.send(subject, request).await
    }

    /// As [`Connection::request`], with a subscription for the answer alone: it ends with the
    /// returned future, and a server gives no job to a request whose subscription has ended.
    pub(crate) async fn request_alone(
        &self,
        subject: &str,
        content: Bytes,
        time: Duration,
    ) -> Result<Message, BrokerError> {
        let request = Request::new().payload(content).timeout(Some(time));
        let request = request.inbox(self.client.new_inbox());
        self.send(subject, request).await
    }

    async fn send(&self, subject: &str, request: Request) -> Result<Message, BrokerError> {
        let mut events = self.events.subscribe();
        self.check_connected()?;
        tokio::select! {
            biased;
            answer = self.client.send_request(subject.to_owned(), request) => {
                answer.map_err(|error| request_error(&error, subject))
            }
            error = failure(&mut events, subject) => Err(error),
        }
    }

    /// Sends a message that may get lost, though not with a sender that ends now.
    pub(crate) async fn publish(&self, subject: &str, content: Bytes) -> Result<(), BrokerError> {
        let mut events = self.events.subscribe();
        self.check_connected()?;
        let published = self.client.publish(subject.to_owned(), content).await;
        published.map_err(|error| match error.kind() {
            async_nats::client::PublishErrorKind::Send => BrokerError::Away(error.to_string()),
            _ => BrokerError::Refused(format!("a message to {subject}: {error}")),
        })?;
        tokio::select! {
            flushed = self.client.flush() => {
                flushed.map_err(|error| BrokerError::Away(error.to_string()))
            }
            error = failure(&mut events, subject) => Err(error),
        }
    }

    /// The messages to a subject from now on, as long as none can be missed.
    pub(crate) async fn hear(&self, subject: &str) -> Result<Hearing, BrokerError> {
        let events = self.events.subscribe();
        self.check_connected()?;
        let messages = self.subscribe(subject).await?;
        Ok(Hearing { messages, events })
    }

    /// The messages to a subject from now on. The subscription outlives lost connections.
    pub(crate) async fn subscribe(&self, subject: &str) -> Result<Subscriber, BrokerError> {
        let subscribed = self.client.subscribe(subject.to_owned()).await;
        subscribed.map_err(|error| BrokerError::Away(error.to_string()))
    }

    /// Nothing is sent while there is no connection: the client would keep it and send it when its
    /// sender has given up.
    fn check_connected(&self) -> Result<(), BrokerError> {
        if self.client.connection_state() == State::Connected {
            Ok(())
        } else {
            Err(BrokerError::Away("the connection is lost".into()))
        }
    }
}

/// Messages to a subject, none of which was missed so far.
#[derive(Debug)]
pub(crate) struct Hearing {
    messages: Subscriber,
    events: broadcast::Receiver<ConnectionEvent>,
}

impl Hearing {
    /// The next message.
    pub(crate) async fn next(&mut self) -> Result<Message, BrokerError> {
        tokio::select! {
            message = self.messages.next() => {
                message.ok_or_else(|| BrokerError::Away("the subscription has ended".into()))
            }
            error = missed(&mut self.events) => Err(error),
        }
    }
}

/// Waits for what makes that a message may have been missed.
async fn missed(events: &mut broadcast::Receiver<ConnectionEvent>) -> BrokerError {
    loop {
        match events.recv().await {
            Ok(ConnectionEvent::Disconnected) => {
                return BrokerError::Away("the connection was lost".into());
            }
            Ok(ConnectionEvent::Problem(text)) if text.starts_with(SLOW) => {
                return BrokerError::Away(text);
            }
            Err(broadcast::error::RecvError::Lagged(_)) => {
                return BrokerError::Away("the connection may have been lost".into());
            }
            Ok(_) => {}
            // The connection keeps a sender.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Waits for what makes a message to this subject fail.
async fn failure(events: &mut broadcast::Receiver<ConnectionEvent>, subject: &str) -> BrokerError {
    // A subscription to the same subject may be refused meanwhile.
    let subject = format!("Publish to \"{subject}\"");
    loop {
        match events.recv().await {
            Ok(ConnectionEvent::Disconnected) => {
                return BrokerError::Away("the connection was lost".into());
            }
            Ok(ConnectionEvent::Problem(text)) if text.contains(&subject) => {
                return BrokerError::Refused(text);
            }
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            // The connection keeps a sender.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

fn request_error(error: &async_nats::RequestError, subject: &str) -> BrokerError {
    match error.kind() {
        RequestErrorKind::TimedOut => BrokerError::Away(format!("no answer to {subject}")),
        RequestErrorKind::NoResponders => BrokerError::Missing(format!("taker of {subject}")),
        RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
            BrokerError::Refused(format!("a message to {subject}: {error}"))
        }
        RequestErrorKind::Other => BrokerError::Away(error.to_string()),
    }
}

fn event_of(event: &Event) -> ConnectionEvent {
    match event {
        Event::Connected => ConnectionEvent::Connected,
        Event::Disconnected => ConnectionEvent::Disconnected,
        Event::SlowConsumer(subscription) => {
            ConnectionEvent::Problem(format!("{SLOW} (subscription {subscription})"))
        }
        other => ConnectionEvent::Problem(other.to_string()),
    }
}

/// The pause before an attempt to connect: none before the first, then 0.1 s to 2 s.
fn pause(attempt: usize) -> Duration {
    match attempt {
        0 | 1 => Duration::ZERO,
        2..=6 => Duration::from_millis(100 << (attempt - 2)),
        _ => Duration::from_secs(2),
    }
}

fn options(file: &ClusterFile) -> Result<ConnectOptions, ConnectError> {
    let mut options = ConnectOptions::new();
    if let Some(token) = &file.token {
        options = options.token(token.reveal().to_owned());
    }
    if let (Some(user), Some(password)) = (&file.user, &file.password) {
        options = options.user_and_password(user.clone(), password.reveal().to_owned());
        // Answers to one user are not for another's ears; see the server's permissions.
        options = options.custom_inbox_prefix(format!("_INBOX_{user}"));
    }
    if let Some(ca) = &file.ca {
        // Not without TLS, whatever the server says that it needs.
        options = options.require_tls(true).tls_client_config(trusting(ca)?);
    }
    Ok(options)
}

/// What TLS needs to trust certificates that this one has signed, and no others.
fn trusting(ca: &str) -> Result<ClientConfig, ConnectError> {
    let wrong = |reason: String| {
        ConnectError::Settings(format!(
            "`ca` in the cluster file is not a certificate in PEM: {reason}"
        ))
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        let added = roots.add(certificate);
        added.map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("there is none in it".into()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = versions.map_err(|error| ConnectError::Settings(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn check_server(client: &Client, address: String) -> Result<(), ConnectError> {
    let info = client.server_info();
    if !is_new_enough(&info.version) {
        let version = info.version;
        return Err(ConnectError::TooOld { address, version });
    }
    if !info.jetstream {
        return Err(ConnectError::NoJetStream { address });
    }
    Ok(())
}
