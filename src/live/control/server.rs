//! The end of the line that a run holds.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use regatta_actors::observe::control::{ControlHandle, Unconfirmed};
use regatta_actors::plan::fault::SLOWDOWNS;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::live::control::request::Request;
use crate::live::control::workers::Workers;
use crate::live::control::{Action, ClientLine, Reply, Status, TOKEN_VARIABLE, Token};
use crate::live::ports;
use crate::live::ports::bounds::Bounds;
use crate::live::ports::connection::Connection;
use crate::live::ports::listener::Port;
use crate::live::ports::warning::Warning;

/// How long the run may take to confirm a command, which it does between two messages.
#[cfg(not(test))]
const CONFIRMATION: Duration = Duration::from_millis(1500);
/// In tests no run confirms anything.
#[cfg(test)]
const CONFIRMATION: Duration = Duration::from_millis(10);
/// The longest request, in bytes.
pub(crate) const LONGEST: usize = 4096;

/// The reason that a run cannot be steered from an address.
#[derive(Debug, thiserror::Error)]
pub enum ControlServerError {
    /// Users of other machines could steer the run.
    #[error("not a loopback address, and {} holds no token", TOKEN_VARIABLE)]
    NoToken,
    /// The address is taken, or not this machine's.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A listener that lives as long as the process.
#[derive(Debug)]
pub struct ControlServer {
    address: SocketAddr,
}

impl ControlServer {
    /// Starts to listen; port 0 takes any that is free. Where there is a token, each request has
    /// to have it.
    ///
    /// # Errors
    /// See [`ControlServerError`].
    pub fn start(
        address: SocketAddr,
        token: Option<Token>,
        control: ControlHandle,
    ) -> Result<Self, ControlServerError> {
        if !address.ip().is_loopback() && token.is_none() {
            return Err(ControlServerError::NoToken);
        }
        let handler = Arc::new(CommandHandler::new(token, control));
        let port = Port {
            name: "control",
            capacity: Bounds::of_this_process().control,
            warnings: vec![handler.refusals().clone()],
        };
        let address = ports::listener::listen(port.name, address, |listener| async move {
            let attend = move |connection, _| {
                let handler = Arc::clone(&handler);
                async move {
                    // How a connection ends is up to its peer, and not logged.
                    let _ = handler.attend(connection).await;
                }
            };
            port.accept(listener, attend).await;
            Ok(())
        })?;
        Ok(Self { address })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Answers requests.
#[derive(Debug)]
pub struct CommandHandler {
    token: Option<Token>,
    control: ControlHandle,
    refusals: Warning,
}

impl CommandHandler {
    /// A command handler for a run. If there is a token, each request must carry it.
    #[must_use]
    pub fn new(token: Option<Token>, control: ControlHandle) -> Self {
        Self {
            token,
            control,
            refusals: Warning::of("a control request without the right token was refused"),
        }
    }

    /// What is warned of when requests lack the token.
    pub(crate) fn refusals(&self) -> &Warning {
        &self.refusals
    }

    /// Whether requests must carry a token.
    #[must_use]
    pub fn wants_token(&self) -> bool {
        self.token.is_some()
    }

    /// The answer to a request that lacks the right token; `None`: it has it.
    #[must_use]
    pub fn refuse(&self, given: Option<&str>) -> Option<Reply> {
        let token = self.token.as_ref()?;
        if token.matches(given.unwrap_or_default()) {
            return None;
        }
        self.refusals.happened();
        let reason = format!("the token is not the one in {TOKEN_VARIABLE}");
        Some(Reply::Error(reason))
    }

    async fn attend(self: Arc<Self>, mut connection: Connection) -> io::Result<()> {
        let reply = match read_line(&mut connection).await? {
            // The run is waited for: others need not do so, nor take the connection's place.
            Some(line) => {
                let _held = connection.place().hold();
                tokio::task::spawn_blocking(move || self.answer(&line)).await?
            }
            None => Reply::Error(format!("a request is one line of at most {LONGEST} bytes")),
        };
        let mut reply = serde_json::to_vec(&reply)?;
        reply.push(b'\n');
        connection.write_all(&reply).await?;
        connection.shutdown().await?;
        // Were the connection closed with a part of the request unread, the reply could be lost.
        let mut rest = [0; 1024];
        while connection.read(&mut rest).await? > 0 {}
        Ok(())
    }

    /// The answer to one line.
    pub(crate) fn answer(&self, line: &str) -> Reply {
        let request: Request = match serde_json::from_str(line) {
            Ok(request) => request,
            Err(error) => return Reply::Error(format!("not understood: {error}")),
        };
        let refused = self.refuse(request.token.as_deref());
        refused.unwrap_or_else(|| self.execute(request.action))
    }

    /// Carries out an authorised request.
    #[must_use]
    pub fn execute(&self, action: Action) -> Reply {
        if let Action::Workers = action {
            return Reply::Workers(self.workers());
        }
        if let Action::Drain { host } = &action {
            return self.drain(host);
        }
        let Some(command) = action.command() else {
            return Reply::Status(Box::new(self.status()));
        };
        if let Some(client) = action.client()
            && self.control.board().get(client).is_none()
        {
            return Reply::Error(format!("the run has no client {client}"));
        }
        if let Action::Slow { factor, .. } = action
            && let Err(error) = slowdown(factor)
        {
            return Reply::Error(error);
        }
        let done = "done; it takes effect after this round";
        reply(self.control.order(command, CONFIRMATION), done)
    }

    fn workers(&self) -> Workers {
        Workers::of(self.control.hosts().snapshot(), Instant::now())
    }

    fn drain(&self, host: &str) -> Reply {
        match self.workers().find(host) {
            Ok(host) => {
                let done = "done; it leaves when the jobs that it has are done";
                reply(self.control.drain(&host.id, CONFIRMATION), done)
            }
            Err(why) => Reply::Error(why),
        }
    }

    fn status(&self) -> Status {
        let line =
            |(client, status): (_, regatta_actors::observe::board::ClientStatus)| ClientLine {
                client,
                state: status.state,
                round: status.round,
                loss: status.loss,
            };
        let clients = self.control.board().snapshot();
        Status {
            run: self.control.status(),
            clients: clients.into_iter().map(line).collect(),
        }
    }
}

/// What the run said, or has not said yet.
fn reply(said: Result<(), Unconfirmed>, done: &str) -> Reply {
    match said {
        Ok(()) => Reply::Done(done.to_owned()),
        Err(late @ Unconfirmed::Late(_)) => Reply::NotConfirmed(late.to_string()),
        Err(refused) => Reply::Error(refused.to_string()),
    }
}

/// The factor by which a client can be made slower, if this is one.
///
/// # Errors
/// If it is not one: those that are, in words.
pub(crate) fn slowdown(factor: f64) -> Result<f64, String> {
    if SLOWDOWNS.contains(&factor) {
        return Ok(factor);
    }
    let (least, most) = (SLOWDOWNS.start(), SLOWDOWNS.end());
    Err(format!(
        "the factor must be a number from {least} to {most}"
    ))
}

/// [`slowdown`] of a text.
pub(crate) fn read_slowdown(text: &str) -> Result<f64, String> {
    slowdown(text.parse().unwrap_or(f64::NAN))
}

/// The first line that comes; `None`: it is too long. The port limits its duration.
async fn read_line(connection: &mut Connection) -> io::Result<Option<String>> {
    let mut line = Vec::with_capacity(LONGEST);
    while !line.contains(&b'\n') {
        if line.len() > LONGEST {
            return Ok(None);
        }
        let mut chunk = [0; 1024];
        match connection.read(&mut chunk).await? {
            0 => break,
            count => line.extend_from_slice(&chunk[..count]),
        }
    }
    line.truncate(line.iter().position(|b| *b == b'\n').unwrap_or(line.len()));
    if line.len() > LONGEST {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}
