//! The end of the line that `regatta ctl` holds.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::live::control::request::Request;
use crate::live::control::{Action, Reply, Token};

/// The total time that a run may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries, where a run closed the connection unheard because others needed its place.
const PAUSE: Duration = Duration::from_millis(20);
/// The longest reply, in bytes: the status of a hundred thousand clients is a tenth of it.
const LONGEST: usize = 1 << 26;

/// The reason that a request to a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Nobody answers there, and nothing was done.
    #[error("cannot reach a run at {0}: {1}; start the run with --control {0}")]
    NoAnswer(SocketAddr, io::Error),
    /// The request is on its way or with the run, which has not said so.
    #[error(
        "not confirmed: {0} received the request but has not replied ({1}); \
         `regatta ctl --control {0} status` shows whether it took effect"
    )]
    NotConfirmed(SocketAddr, io::Error),
    /// What came back is not a reply.
    #[error("no Regatta run is listening at {0}: {1}")]
    NoReply(SocketAddr, serde_json::Error),
}

/// Asks something of the run that listens at an address, and has its reply within two seconds or
/// an error that says whether the run may have heard it.
///
/// # Errors
/// See [`RequestError`]. That the run refuses is a [`Reply::Error`].
pub fn send(
    address: SocketAddr,
    token: Option<&Token>,
    action: Action,
) -> Result<Reply, RequestError> {
    let token = token.map(|token| token.0.clone());
    let no_reply = |error| RequestError::NoReply(address, error);
    let mut request = serde_json::to_vec(&Request { token, action }).map_err(no_reply)?;
    request.push(b'\n');
    let deadline = Instant::now() + PATIENCE;
    let mut heard = false;
    loop {
        match exchange(address, &request, deadline, &mut heard) {
            Ok(reply) => {
                return match serde_json::from_slice(&reply).map_err(no_reply)? {
                    Reply::NotConfirmed(why) => {
                        Err(RequestError::NotConfirmed(address, io::Error::other(why)))
                    }
                    reply => Ok(reply),
                };
            }
            // As a rule, a run that closes a connection without a reply has heard nothing over it.
            // If it has, nothing changes: a command that is given twice does what it does once.
            Err(error) if closed(&error) && Instant::now() + PAUSE < deadline => {
                thread::sleep(PAUSE);
            }
            Err(error) if heard => return Err(RequestError::NotConfirmed(address, error)),
            Err(error) => return Err(RequestError::NoAnswer(address, error)),
        }
    }
}

/// Whether the other end closed the connection.
fn closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
    )
}

/// The line that comes back. `heard` becomes true when the whole request has been sent.
fn exchange(
    address: SocketAddr,
    request: &[u8],
    deadline: Instant,
    heard: &mut bool,
) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, left(deadline)?)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(request).map_err(in_words)?;
    *heard = true;
    let mut reply = Vec::new();
    let mut chunk = [0; 8192];
    while !reply.ends_with(b"\n") && reply.len() <= LONGEST {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut chunk).map_err(in_words)? {
            0 if reply.is_empty() => return Err(ErrorKind::UnexpectedEof.into()),
            0 => break,
            count => reply.extend_from_slice(&chunk[..count]),
        }
    }
    Ok(reply)
}

/// The time that is left.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(too_late());
    }
    Ok(left)
}

/// A socket's time-out comes as either of two kinds, neither of which tells what it is.
fn in_words(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => too_late(),
        _ => error,
    }
}

fn too_late() -> io::Error {
    let seconds = PATIENCE.as_secs();
    io::Error::new(ErrorKind::TimedOut, format!("not within {seconds} s"))
}
