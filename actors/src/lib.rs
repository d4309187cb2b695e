//! Federated rounds as actors, generic over what is trained: scripted faults on a virtual clock,
//! exact replay, and runs that survive failures.
//!
//! # A tour
//! Implement the traits of [`workload`]: a [`Workload`](workload::Workload) builds the trainers, a
//! [`ClientTrainer`](workload::ClientTrainer) turns the server's state into a client's update, and
//! a [`ServerAggregator`](workload::ServerAggregator), which a
//! [`ServerWorkload`](workload::ServerWorkload) builds, turns updates into the next state. A
//! [`FederationPlan`](plan::FederationPlan) says who takes part and what goes wrong.
//! A [`Run`] of it is started:
//! ```
//! # use std::sync::Arc;
//! use regatta_actors::plan::policy::{Late, RoundPolicy};
//! use regatta_actors::plan::{ClientPlan, FederationPlan, fault::Fault};
//! use regatta_actors::prelude::*;
//! use regatta_actors::Run;
//! # #[derive(serde::Serialize, serde::Deserialize)]
//! # struct Number(u64);
//! # impl Payload for Number {}
//! # struct Count;
//! # impl Workload for Count {
//! #     type State = Number;
//! #     type Update = Number;
//! #     type Trainer = Count;
//! #     fn trainer(&self, _: LaneId) -> Result<Count, BoxError> { Ok(Count) }
//! # }
//! # impl ServerWorkload for Count {
//! #     type Aggregator = Count;
//! #     fn aggregator(&self) -> Result<Count, BoxError> { Ok(Count) }
//! # }
//! # impl ClientTrainer<Count> for Count {
//! #     fn train(&mut self, _: &TrainTask<Number>, _: &mut dyn JobContext) -> TrainResult<Number>
//! # {
//! #         Ok(Trained::new(Number(1), 0.0, 1, 1))
//! #     }
//! # }
//! # impl ServerAggregator<Count> for Count {
//! #     fn state(&self) -> Arc<Number> { Arc::new(Number(1)) }
//! #     fn aggregate(&mut self, _: u32, _: Vec<Contribution<Number>>) -> AggregateResult {
//! #         Ok(Aggregation::of(&Number(1)))
//! #     }
//! # }
//! # let workload = Arc::new(Count);
//! let clients = (0..4).map(|i| ClientPlan::new(format!("client-{i}"), 1000)).collect();
//! let plan = FederationPlan {
//!     rounds: 10,
//!     // Client 2 takes three times as long; client 3 drops out halfway through round 5.
//!     faults: vec![
//!         Fault::straggle(3.0).on([2]),
//!         Fault::drop(0.5).on([3]).in_rounds(5, 5),
//!     ],
//!     policy: RoundPolicy::Deadline { seconds: 15.0, late: Late::Cancel },
//!     ..FederationPlan::new("tour", 42, clients)
//! };
//! let outcome = Run::new(plan, workload).start()?;
//! assert_eq!((outcome.rounds, outcome.virtual_seconds), (10, 150.0));
//! # Ok::<(), regatta_actors::protocol::outcome::RunError>(())
//! ```
//! `examples/linear_regression.rs` is a whole simulation in a page; `examples/endurance.rs`
//! measures the overhead of the machinery.
//!
//! An [`Observer`](observe::Observer) sees each [`Event`](protocol::event::Event) of a run.
//! A run that is [recorded](Run::recorded_in) keeps a [ledger](journal::ledger) and
//! [checkpoints](journal::checkpoint), from which [`Run::resume`] continues to the same bits and
//! against which [`Run::replay`] compares. A
//! [`ControlHandle`](observe::control::ControlHandle) steers a run.
//!
//! # Why it replays
//! What happens is decided in virtual time, from the plan; jobs run on as many threads as there are
//! lanes, and a turn whose update has not arrived yet waits for it. Random streams are keyed by
//! their purpose, so none disturbs another. Updates are aggregated in client order. Wall time is
//! measured and decides nothing, unless the plan's clock is the wall clock.
//!
//! # Layout
//! Each room imports from those above it only:
//! - [`ids`], [`random`], [`clock`]: identifiers, keyed random streams, virtual time.
//! - [`plan`]: what a run is to do, as data that checks itself: clients and their profiles,
//!   scripted faults, the policy of rounds, sampling, restarts.
//! - [`workload`]: the traits to implement, and what travels between them.
//! - [`protocol`]: what the parts of a run tell each other, as data: inputs and commands of the
//!   scheduler, events, outcomes, records of rounds.
//! - [`scheduler`]: the state machine that decides, pure.
//! - [`observe`]: observers, the status board, the control line.
//! - [`journal`]: files on disk: ledger, checkpoints, control commands.
//! - [`lanes`]: the threads that own a device each, in this process or on other hosts.
//! - [`runtime`]: the actors around all this, and the functions that run a plan. Only this room
//!   knows actix.

pub mod clock;
pub mod ids;
pub mod journal;
pub mod lanes;
pub mod observe;
mod panics;
pub mod plan;
pub mod protocol;
pub mod random;
pub mod runtime;
pub mod scheduler;
pub mod workload;

/// Everything that an implementation of a [`workload`] needs.
pub mod prelude {
    pub use crate::ids::{ClientId, Digest, LaneId};
    pub use crate::workload::job::{
        DeviceLost, JobContext, JobError, Progress, TrainResult, TrainTask, Trained,
    };
    pub use crate::workload::update::{
        AggregateResult, Aggregation, BoxError, Contribution, Payload, Refusal, Scores,
    };
    pub use crate::workload::{ClientTrainer, ServerAggregator, ServerWorkload, Workload};
}

pub use observe::control::control;
pub use runtime::Run;
