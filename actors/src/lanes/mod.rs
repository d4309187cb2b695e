//! Lanes: threads that own a device and train clients' jobs, one at a time each. A
//! [`LanePool`](pool::LanePool) leads to them: to those of this process (`local`), or to those of
//! other hosts ([`remote`]), each of which is a [`worker`], over a [`broker`]. What these tell each
//! other is in [`wire`].

pub mod broker;
pub(crate) mod group;
pub(crate) mod local;
pub mod memory;
pub(crate) mod parcels;
pub mod pool;
pub(crate) mod progress;
pub(crate) mod queue;
pub mod remote;
pub(crate) mod seat;
pub(crate) mod thread;
pub mod timing;
pub(crate) mod watchdog;
pub mod wire;
pub mod worker;

use std::future::Future;
use std::thread::JoinHandle;

use crate::lanes::broker::{Broker, BrokerError};
use crate::lanes::local::LocalLanes;
use crate::lanes::pool::{PoolContext, StartLanes, StartedLanes};
use crate::lanes::remote::RemoteLanes;
use crate::lanes::remote::settings::RemoteSettings;
use crate::protocol::outcome::RunError;
use crate::workload::Workload;

/// Where a run's jobs are trained, before it begins.
pub struct Lanes<W: Workload>(Box<dyn StartLanes<W>>);

impl<W: Workload> Lanes<W> {
    /// The plan's lanes, as threads of this process.
    #[must_use]
    pub fn local() -> Self {
        Self(Box::new(LocalLanes))
    }

    /// Lanes of other hosts, over the broker that `connect` leads to; as many as there are at any
    /// time, and at least the plan's to begin with. Clients have no lane to themselves there.
    #[must_use]
    pub fn remote<B, C, F>(connect: C, settings: RemoteSettings) -> Self
    where
        B: Broker,
        C: FnOnce() -> F + Send + 'static,
        F: Future<Output = Result<B, BrokerError>>,
    {
        Self(Box::new(RemoteLanes { connect, settings }))
    }

    pub(crate) fn start(
        self,
        run: PoolContext<W>,
        threads: &mut Vec<JoinHandle<()>>,
    ) -> Result<StartedLanes<W>, RunError> {
        self.0.start(run, threads)
    }
}
