//! Why a broker could not be connected to, and what to do about it.

use std::error::Error;
use std::io;

use async_nats::ConnectErrorKind;
use async_nats::rustls;

/// Why a broker could not be connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Nobody is there.
    #[error(
        "no broker can be reached at {address}: {reason}. Start it with `regatta broker`, or correct \
         `urls` in the cluster file"
    )]
    Unreachable {
        /// Where.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// Something is there that does not speak NATS.
    #[error(
        "what answers at {address} is not a NATS server ({reason}); correct `urls` in the cluster \
         file"
    )]
    NotNats {
        /// Where.
        address: String,
        /// What came instead.
        reason: String,
    },
    /// The secret is another broker's.
    #[error(
        "the broker at {address} refuses {who}: the secret in the cluster file is not this broker's; \
         use the file that `regatta broker` wrote last"
    )]
    WrongSecret {
        /// Where.
        address: String,
        /// The user, or the kind of secret.
        who: String,
    },
    /// The broker's certificate cannot be trusted.
    #[error(
        "the certificate of the broker at {address} is not trusted ({reason}): `ca` in the cluster \
         file is another broker's, or `urls` names it otherwise than its certificate; use the file \
         that `regatta broker` wrote last"
    )]
    Certificate {
        /// Where.
        address: String,
        /// What is wrong with the certificate.
        reason: String,
    },
    /// The server is too old.
    #[error(
        "the broker at {address} is nats-server {version}, but 2.11 or newer is needed; `make setup \
         NATS=1` fetches one"
    )]
    TooOld {
        /// Where.
        address: String,
        /// Its version.
        version: String,
    },
    /// The server keeps nothing.
    #[error(
        "the broker at {address} runs without JetStream, which keeps jobs and replies; start it with \
         `regatta broker`, or nats-server with `-js`"
    )]
    NoJetStream {
        /// Where.
        address: String,
    },
    /// The cluster file or the run's name cannot be used.
    #[error("{0}")]
    Settings(String),
}

impl ConnectError {
    /// Whether another try may succeed although nobody corrects anything.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// What the client's error means, for whoever connects as `who`.
    pub(crate) fn of(error: &async_nats::ConnectError, address: &str, who: &str) -> Self {
        let address = address.to_owned();
        let reason = reason(error);
        if error.kind() == ConnectErrorKind::AuthorizationViolation {
            let who = who.to_owned();
            return Self::WrongSecret { address, who };
        }
        if find::<rustls::Error>(error).is_some() {
            return Self::Certificate { address, reason };
        }
        // It may be the network, or something else that waits to be spoken to.
        if error.kind() == ConnectErrorKind::TimedOut {
            let reason = "no NATS server answered within 5 seconds".to_owned();
            return Self::Unreachable { address, reason };
        }
        let system = find::<io::Error>(error).and_then(io::Error::raw_os_error);
        if error.kind() == ConnectErrorKind::Dns || system.is_some() {
            return Self::Unreachable { address, reason };
        }
        Self::NotNats { address, reason }
    }
}

/// The innermost cause, in words.
fn reason(error: &async_nats::ConnectError) -> String {
    let mut last: &(dyn Error + 'static) = error;
    while let Some(inner) = inner(last) {
        last = inner;
    }
    last.to_string()
}

/// The first cause of this type.
fn find<E: Error + 'static>(error: &async_nats::ConnectError) -> Option<&E> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref::<E>()
            // One that only carries another is not it.
            && inner(cause).is_none()
        {
            return Some(found);
        }
        next = inner(cause);
    }
    None
}

/// An error of the system's that carries another does not name it as its source.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(carried) => Some(carried),
        None => error.source(),
    }
}
