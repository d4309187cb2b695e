//! The course of a coordinator: it begins, coordinates, and ends with the run, also when the broker
//! keeps it waiting.

use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time;

use crate::lanes::broker::{Broker, BrokerError};
use crate::lanes::pool::PoolContext;
use crate::lanes::remote::coordinator::{Coordinator, Request};
use crate::lanes::remote::right::Right;
use crate::lanes::remote::settings::RemoteSettings;
use crate::observe::hosts::HostBoard;
use crate::protocol::control::ControlCommand;
use crate::protocol::input::Input;
use crate::workload::Workload;

/// How long the broker may be away while a run that was told to stop finishes its round: one that
/// is started again is there within this time.
const GRACE: Duration = Duration::from_secs(1);
/// Pause between two tries to reach it then.
const PAUSE: Duration = Duration::from_millis(100);

/// What leads from the pool to its coordinator.
pub(super) struct Session<W: Workload> {
    pub requests: mpsc::UnboundedReceiver<Request<W>>,
    /// Ends with the pool.
    pub pool: oneshot::Receiver<()>,
}

impl<W: Workload> Session<W> {
    /// Coordinates a run until its pool is gone or the lanes cannot go on. A run that is told to end
    /// after its round is stopped at once where nobody is left to finish the round.
    pub async fn hold<B, C, F>(mut self, connect: C, settings: RemoteSettings, run: PoolContext<W>)
    where
        B: Broker,
        C: FnOnce() -> F,
        F: Future<Output = Result<B, BrokerError>>,
    {
        let (report, hosts) = (run.report.clone(), run.hosts.clone());
        let (mut finishing, beat) = (run.finishing.clone(), settings.timing.beat);
        let stop = || report(Input::Control(ControlCommand::StopNow));
        let begun = tokio::select! {
            begun = Coordinator::begin(connect, settings, run) => begun,
            () = becomes_true(&mut finishing) => return stop(),
            _ = &mut self.pool => return,
        };
        let mut coordinator: Coordinator<W, B> = match begun {
            Ok(coordinator) => coordinator,
            Err(reason) => return report(Input::LanesFailed { reason }),
        };
        let mut hopes = Hopes {
            finishing,
            needs_lanes: coordinator.needs_lanes(),
            hosts,
            right: coordinator.right().clone(),
            beat,
        };
        tokio::select! {
            result = coordinator.conduct(&mut self.requests) => if let Err(reason) = result {
                report(Input::LanesFailed { reason });
                // Nothing is cleared: whoever resumes the run uses it.
                let _ = coordinator.right().release().await;
                return;
            },
            reason = hopes.end() => {
                let what = reason.as_str();
                tracing::warn!("{what} to finish the round with: it is done when the run is resumed");
                stop();
                if reason == Hopeless::Away {
                    return;
                }
            }
            _ = &mut self.pool => {}
        }
        coordinator.end().await;
    }
}

/// The reason that a round will not be finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hopeless {
    /// No host is there.
    NoLane,
    /// The broker is away.
    Away,
}

impl Hopeless {
    fn as_str(self) -> &'static str {
        match self {
            Self::NoLane => "there is no lane",
            Self::Away => "there is no broker",
        }
    }
}

/// What tells whether a run that is to end after its round will come to that.
struct Hopes<B> {
    finishing: watch::Receiver<bool>,
    needs_lanes: watch::Receiver<bool>,
    hosts: Arc<HostBoard>,
    right: Right<B>,
    beat: Duration,
}

impl<B: Broker> Hopes<B> {
    /// Waits until the run is to end after its round, and nobody is left to finish that.
    async fn end(&mut self) -> Hopeless {
        becomes_true(&mut self.finishing).await;
        loop {
            becomes_true(&mut self.needs_lanes).await;
            if self.hosts.lanes() == 0 {
                return Hopeless::NoLane;
            }
            let reached = async {
                while self.right.renew().await.is_err() {
                    time::sleep(PAUSE).await;
                }
            };
            if time::timeout(GRACE, reached).await.is_err() {
                return Hopeless::Away;
            }
            time::sleep(self.beat).await;
        }
    }
}

/// Waits until it is true, which may be for ever.
async fn becomes_true(what: &mut watch::Receiver<bool>) {
    if what.wait_for(|is| *is).await.is_err() {
        pending::<()>().await;
    }
}
