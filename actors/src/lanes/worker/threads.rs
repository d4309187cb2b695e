//! The threads of a host's lanes, and what is heard of them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::ids::{Digest, LaneId};
use crate::lanes::progress::LaneSignals;
use crate::lanes::queue::LaneGroup;
use crate::lanes::thread::{LaneKind, LaneReport, LaneThread};
use crate::lanes::watchdog::Heartbeat;
use crate::lanes::wire::LaneOffer;
use crate::lanes::worker::host::Progressed;
use crate::lanes::worker::lane::Lane;
use crate::observe::Observer;
use crate::observe::board::Board;
use crate::observe::bus::Bus;
use crate::observe::hosts::HostBoard;
use crate::protocol::event::Event;
use crate::workload::Workload;

/// The lanes of this host.
pub(super) struct HostLanes<W: Workload> {
    pub lanes: Vec<Lane<W>>,
    pub reports: mpsc::UnboundedReceiver<LaneReport>,
    pub progress: mpsc::UnboundedReceiver<Progressed>,
}

impl<W: Workload> HostLanes<W> {
    /// Starts so many.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(
        workload: &Arc<W>,
        count: u32,
        watchdog: Option<Duration>,
        threads: &mut Vec<JoinHandle<()>>,
    ) -> io::Result<Self> {
        let (report, reports) = mpsc::unbounded_channel();
        let (progressed, progress) = mpsc::unbounded_channel();
        let (bus, observing) =
            Bus::start(vec![Box::new(Forward(progressed)) as Box<dyn Observer>])?;
        threads.extend(observing);
        let mut lanes = Vec::new();
        for lane in (0..count).map(LaneId) {
            let (group, jobs) = LaneGroup::new(1);
            let (heartbeat, report) = (Arc::<Heartbeat>::default(), report.clone());
            let main = LaneThread {
                signals: LaneSignals {
                    lane,
                    board: Arc::new(Board::default()),
                    hosts: Arc::new(HostBoard::default()),
                    bus: bus.clone(),
                    heartbeat: heartbeat.clone(),
                },
                workload: workload.clone(),
                jobs,
                report: Arc::new(move |of_lane| {
                    // Once the host leaves, nobody listens.
                    let _ = report.send(of_lane);
                }),
                kind: LaneKind::Remote,
            };
            threads.push(main.start()?);
            lanes.push(Lane::new(lane, group, heartbeat, watchdog));
        }
        Ok(Self {
            lanes,
            reports,
            progress,
        })
    }

    /// Waits until each lane has done the canary job; leaves out those that could not.
    ///
    /// # Errors
    /// If none could: the reason of one.
    pub async fn offers(&mut self, workload: &W) -> Result<Vec<LaneOffer>, String> {
        let mut canaries = BTreeMap::new();
        let mut failed = Vec::new();
        while canaries.len() + failed.len() < self.lanes.len() {
            match self.reports.recv().await {
                Some(LaneReport::Ready { lane, canary }) => {
                    canaries.insert(lane, canary.unwrap_or_else(|| Digest::of(&[])));
                }
                Some(
                    LaneReport::Gone { lane, reason } | LaneReport::DeviceLost { lane, reason },
                ) => {
                    tracing::warn!("lane {} cannot be used: {reason}", lane.0);
                    failed.push(reason);
                }
                None => break,
            }
        }
        if canaries.is_empty() {
            return Err(failed.pop().unwrap_or_else(|| "it has no lane".into()));
        }
        self.lanes
            .retain(|lane| canaries.contains_key(&lane.number));
        let offers = canaries.into_iter().map(|(lane, canary)| LaneOffer {
            device: workload.device(lane),
            canary,
        });
        Ok(offers.collect())
    }
}

/// Sends the progress of jobs on.
struct Forward(mpsc::UnboundedSender<Progressed>);

impl Observer for Forward {
    fn on_event(&mut self, event: &Event) {
        if let Event::Progress {
            lane,
            client,
            progress,
            ..
        } = event
        {
            // Once the host leaves, nobody listens.
            let _ = self.0.send((*lane, *client, *progress));
        }
    }
}
