//! Federated rounds as actors, generic over what is learned.
//!
//! # Layout
//! - [`learner`]: what to implement: what a client trains, what the server folds.
//! - [`plan`]: what a run is to do. [`run`]: runs it.
//! - [`event`]: what a run tells. [`record`]: what a round leaves behind.
//! - [`control`]: steering a run from outside. [`board`]: what each client is doing.
//! - [`random`]: keyed random streams.

pub mod board;
pub mod control;
pub mod event;
pub mod learner;
pub mod plan;
pub mod random;
pub mod record;
pub mod run;

pub use control::control;
pub use run::run;
