//! Federated rounds as actors, generic over what is learned.
//!
//! # Layout
//! - [`learner`]: what to implement: what a client trains, what the server folds.
//! - [`plan`]: what a run is to do, with each client's [`profile`]. [`mod@run`]: runs it.
//! - [`event`]: what a run tells. [`record`]: what a round leaves behind.
//! - [`mod@control`]: steering a run from outside. [`board`]: what each client is doing.
//! - [`scheduler`]: the state machine that decides, on the virtual [`clock`].
//! - [`message`]: what the actors say to each other.
//! - [`random`]: keyed random streams.
//!
//! Behind these: the actors (scheduler, server, clients), the device lanes and the bus that
//! carries events, put together and taken apart by `federation`.

pub mod availability;
pub mod board;
mod bus;
pub mod checkpoint;
mod client;
pub mod clock;
pub mod control;
pub mod event;
pub mod fault;
mod federation;
mod guard;
mod lane;
mod lane_thread;
mod lane_watch;
mod lanes;
pub mod learner;
pub mod ledger;
pub mod message;
pub mod plan;
pub mod policy;
mod problems;
pub mod profile;
pub mod random;
pub mod record;
pub mod restart;
pub mod run;
pub mod sampling;
pub mod scheduler;
mod scheduler_actor;
mod server;
mod server_actor;
mod watchdog;

pub use control::control;
pub use run::{replay_check, resume, run, run_recorded};
