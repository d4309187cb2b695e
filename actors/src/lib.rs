//! Federated rounds as actors, generic over what is learned: scripted faults on a virtual clock,
//! exact replay, and runs that survive what happens to them.
//!
//! # A tour
//! Implement three small traits of [`learner`]: a [`Workload`](learner::Workload) builds the workers,
//! a [`ClientTrainer`](learner::ClientTrainer) turns the server's state into a client's update, a
//! [`ServerAggregator`](learner::ServerAggregator) turns updates into the next state. Say in a
//! [`FederationPlan`](plan::FederationPlan) who takes part and what goes wrong. Then [`run`](fn@run)
//! it:
//! ```
//! # use std::sync::Arc;
//! # use regatta_actors::learner::*;
//! use regatta_actors::plan::{ClientPlan, Fault, FederationPlan, Late, RoundPolicy};
//! use regatta_actors::{control, run};
//! # #[derive(serde::Serialize, serde::Deserialize)]
//! # struct Number(u64);
//! # impl Payload for Number {}
//! # struct Count;
//! # impl Workload for Count {
//! #     type Global = Number;
//! #     type Update = Number;
//! #     type ClientTrainer = Count;
//! #     type ServerAggregator = Count;
//! #     fn trainer(&self, _: LaneId) -> Result<Count, BoxError> { Ok(Count) }
//! #     fn folder(&self) -> Result<Count, BoxError> { Ok(Count) }
//! # }
//! # impl ClientTrainer for Count {
//! #     type Global = Number;
//! #     type Update = Number;
//! #     fn train(&mut self, _: &TrainTask<Number>, _: &mut dyn JobContext) -> TrainResult<Number> {
//! #         Ok(Trained::new(Number(1), 0.0, 1, 1))
//! #     }
//! # }
//! # impl ServerAggregator for Count {
//! #     type Global = Number;
//! #     type Update = Number;
//! #     fn global(&self) -> Arc<Number> { Arc::new(Number(1)) }
//! #     fn aggregate(&mut self, _: u32, _: Vec<Contribution<Number>>) -> AggregateResult {
//! #         Ok(Aggregation::of(&Number(1)))
//! #     }
//! # }
//! # let learner = Arc::new(Count);
//! let clients = (0..4).map(|i| ClientPlan::new(format!("client-{i}"), 1000)).collect();
//! let plan = FederationPlan {
//!     rounds: 10,
//!     // Client 2 takes three times as long; client 3 leaves in the middle of round 5.
//!     faults: vec![
//!         Fault::straggle(3.0).on([2]),
//!         Fault::drop(0.5).on([3]).in_rounds(5, 5),
//!     ],
//!     policy: RoundPolicy::Deadline { seconds: 15.0, late: Late::Refuse },
//!     ..FederationPlan::new("tour", 42, clients)
//! };
//! let (handle, control) = control();
//! let outcome = run(plan, learner, Vec::new(), control)?;
//! assert_eq!((outcome.rounds, outcome.virtual_seconds), (10, 150.0));
//! # Ok::<(), regatta_actors::run::RunError>(())
//! ```
//! `examples/linear_regression.rs` is a whole simulation in a page; `examples/endurance.rs`
//! measures what the machinery costs.
//!
//! Whoever wants to see what happens is an [`Observer`](event::Observer) of [`Event`](event::Event)s.
//! [`run_recorded`] keeps a [`ledger`] and [`checkpoint`]s, from which [`resume`] goes on to the
//! same bits and against which [`replay_check`] compares. A [`ControlHandle`](control::ControlHandle)
//! steers a run while it goes on.
//!
//! # Why it replays
//! What happens is decided in virtual time, from the plan; jobs run on as many threads as there are
//! lanes, and a turn whose update is not there yet waits for it. Random streams are keyed by what
//! they are for, so none disturbs another. Updates are folded in client order. Wall time is
//! measured and decides nothing, unless the plan's clock is the wall's.
//!
//! # Layout
//! - [`learner`]: what to implement: what a client trains, what the server folds.
//! - [`plan`]: what a run is to do. Its parts: [`profile`] and [`availability`] of clients, scripted
//!   [`fault`]s, the [`policy`] of rounds, [`sampling`] of clients, their [`restart`].
//! - [`mod@run`]: runs it, resumes it, checks its replay.
//! - [`event`]: what a run tells. [`record`]: what a round leaves behind. [`ledger`] and
//!   [`checkpoint`]: what a run leaves behind.
//!   They are read as [`json_lines`]; whether they are where they were says [`place`].
//! - [`mod@control`]: steering a run from outside. [`board`]: what each client is doing.
//! - [`scheduler`]: the state machine that decides, on the virtual [`clock`].
//! - [`message`]: what the actors say to each other. [`lenient`]: numbers that are none.
//! - [`random`]: keyed random streams.
//!
//! Behind these: the actors (scheduler, server, clients), the device lanes with their watchdog and
//! the bus that carries events, put together and taken apart by `federation`.

pub mod availability;
pub mod board;
mod bus;
pub mod checkpoint;
mod client;
mod client_state;
pub mod clock;
pub mod control;
pub mod event;
pub mod fault;
mod federation;
mod guard;
mod interventions;
pub mod json_lines;
mod lane;
mod lane_thread;
mod lane_watch;
mod lanes;
pub mod learner;
pub mod ledger;
pub mod lenient;
pub mod message;
pub mod place;
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
mod tells;
mod watchdog;

pub use control::control;
pub use run::{replay_check, resume, run, run_recorded};
