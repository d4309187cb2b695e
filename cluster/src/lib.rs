//! Runs over many machines, by way of the message broker NATS.
//!
//! A coordinator and its hosts speak through [`NatsBroker`], which is the [`Broker`] of the actors'
//! crate: jobs wait in a stream until a lane has done them, replies in another until the coordinator
//! forgets them, blobs in a third or in a folder that all machines share. `regatta broker` starts
//! the server by a [`Supervisor`], which writes one [`ClusterFile`] for the coordinator and one for
//! hosts: how to reach the broker, and as whom.
//!
//! | module | what is in it |
//! |---|---|
//! | `config` | the cluster file |
//! | `connection` | one connection to the broker, and requests over it |
//! | `jetstream` | requests to the broker's streams |
//! | `names` | what a run's streams and subjects are called |
//! | `queue`, `replies`, `claim`, `notes`, `blobs` | the parts of a broker |
//! | `nats` | the broker of those parts |
//! | `supervisor` | the server: found, configured, started, watched |
//!
//! Of NATS only messages are taken from its client; its key-value and object stores are not used.
//! They are streams as well, and their client would hide which subject was refused, leave the chunks
//! of an interrupted upload behind for ever, and demand that hosts may create consumers.
//!
//! [`Broker`]: regatta_actors::lanes::broker::Broker

#![warn(missing_docs)]

mod blobs;
mod claim;
mod config;
mod connection;
mod errors;
mod jetstream;
mod names;
mod nats;
mod notes;
mod queue;
mod replies;
mod supervisor;
mod version;

pub use config::{ClusterFile, ConfigError, Secret};
pub use connection::ConnectionEvent;
pub use errors::ConnectError;
pub use nats::{NatsBroker, Options};
pub use queue::JobLease;
pub use supervisor::{Settings, Supervisor, SupervisorError};
