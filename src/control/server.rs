//! The end of the line that a run holds.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use regatta_actors::control::ControlHandle;

use super::{Ask, ClientLine, Reply, Request, Status, TOKEN_VARIABLE, Token};

/// How long somebody who has connected may take to say what is wanted, in all.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the run may take to confirm a command, which it does between two messages.
const CONFIRMATION: Duration = Duration::from_millis(1500);
/// Threads that attend to connections. A connection that says nothing keeps one of them busy for
/// as long as their patience lasts, and no longer; further ones wait in line.
pub(super) const DESKS: usize = 8;
/// A rest after a connection could not be accepted, for want of file handles say.
const REST: Duration = Duration::from_millis(100);
/// The longest request, in bytes.
const LONGEST: usize = 4096;

/// Why a run cannot be steered from an address.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Others than this machine's could steer the run.
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
    /// See [`StartError`].
    pub fn start(
        address: SocketAddr,
        token: Option<Token>,
        control: ControlHandle,
    ) -> Result<Self, StartError> {
        if !address.ip().is_loopback() && token.is_none() {
            return Err(StartError::NoToken);
        }
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let listener = Arc::new(listener);
        let desk = Arc::new(Desk::new(token, control));
        for number in 0..DESKS {
            let (listener, desk) = (Arc::clone(&listener), Arc::clone(&desk));
            thread::Builder::new()
                .name(format!("control-{number}"))
                .spawn(move || desk.serve(&listener))?;
        }
        Ok(Self { address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Answers requests.
#[derive(Debug)]
pub struct Desk {
    token: Option<Token>,
    control: ControlHandle,
}

impl Desk {
    /// A desk for a run. Where there is a token, each request has to have it.
    #[must_use]
    pub fn new(token: Option<Token>, control: ControlHandle) -> Self {
        Self { token, control }
    }

    /// Whether requests have to have a token.
    #[must_use]
    pub fn wants_token(&self) -> bool {
        self.token.is_some()
    }

    /// The answer to a request that has not the right token; `None`: it has.
    #[must_use]
    pub fn refuse(&self, given: Option<&str>) -> Option<Reply> {
        let token = self.token.as_ref()?;
        if token.matches(given.unwrap_or_default()) {
            return None;
        }
        tracing::warn!("a control request without the right token was refused");
        let reason = format!("the token is not the one in {TOKEN_VARIABLE}");
        Some(Reply::Error(reason))
    }

    /// Attends to one connection after the other.
    fn serve(&self, listener: &TcpListener) {
        for stream in listener.incoming() {
            match stream {
                Ok(stream) => {
                    if let Err(error) = self.attend(stream) {
                        tracing::debug!("a control connection ended: {error}");
                    }
                }
                Err(error) => {
                    tracing::warn!("a control connection was not accepted: {error}");
                    thread::sleep(REST);
                }
            }
        }
    }

    fn attend(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_write_timeout(Some(PATIENCE))?;
        let reply = match read_line(&mut stream)? {
            Some(line) => self.answer(&line),
            None => Reply::Error(format!("a request is one line of at most {LONGEST} bytes")),
        };
        let mut reply = serde_json::to_vec(&reply)?;
        reply.push(b'\n');
        stream.write_all(&reply)
    }

    /// The answer to one line.
    pub(super) fn answer(&self, line: &str) -> Reply {
        let request: Request = match serde_json::from_str(line) {
            Ok(request) => request,
            Err(error) => return Reply::Error(format!("not understood: {error}")),
        };
        let refused = self.refuse(request.token.as_deref());
        refused.unwrap_or_else(|| self.carry_out(request.ask))
    }

    /// Does what is asked by somebody who may ask.
    #[must_use]
    pub fn carry_out(&self, ask: Ask) -> Reply {
        let Some(command) = ask.command() else {
            return Reply::Status(Box::new(self.status()));
        };
        if let Some(client) = ask.client()
            && self.control.board().get(client).is_none()
        {
            return Reply::Error(format!("the run has no client {client}"));
        }
        if let Ask::Slow { factor, .. } = ask
            && !(factor.is_finite() && factor > 0.0)
        {
            return Reply::Error("the factor has to be a number above 0".to_owned());
        }
        match self.control.order(command, CONFIRMATION) {
            Ok(()) => Reply::Done("done; it takes effect after this round".to_owned()),
            Err(unconfirmed) => Reply::Error(unconfirmed.to_string()),
        }
    }

    fn status(&self) -> Status {
        let line = |(client, status): (_, regatta_actors::board::ClientStatus)| ClientLine {
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

/// The first line that comes; `None`: it is too long. One byte now and then
/// does not prolong the wait.
fn read_line(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let deadline = Instant::now() + PATIENCE;
    let mut line = Vec::new();
    let mut chunk = [0; 1024];
    while !line.contains(&b'\n') {
        if line.len() > LONGEST {
            return Ok(None);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk)? {
            0 => break,
            count => line.extend_from_slice(&chunk[..count]),
        }
    }
    line.truncate(line.iter().position(|b| *b == b'\n').unwrap_or(line.len()));
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}
