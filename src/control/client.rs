//! The end of the line that `regatta ctl` holds.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{Ask, Reply, Request, Token};

/// How long a run may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a run could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody answers there.
    #[error("no run answers at {0}: {1}; start it with --control {0}")]
    NoAnswer(SocketAddr, #[source] io::Error),
    /// What came back is no reply.
    #[error("what answers at {0} is no run: {1}")]
    NoReply(SocketAddr, #[source] serde_json::Error),
}

/// Asks something of the run that listens at an address.
///
/// # Errors
/// See [`AskError`]. That the run refuses is a [`Reply::Error`].
pub fn ask(address: SocketAddr, token: Option<&Token>, ask: Ask) -> Result<Reply, AskError> {
    let token = token.map(|token| token.0.clone());
    let no_reply = |error| AskError::NoReply(address, error);
    let request = serde_json::to_string(&Request { token, ask }).map_err(no_reply)?;
    let line = exchange(address, &request).map_err(|e| AskError::NoAnswer(address, e))?;
    serde_json::from_str(&line).map_err(no_reply)
}

fn exchange(address: SocketAddr, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{request}\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line)
}
