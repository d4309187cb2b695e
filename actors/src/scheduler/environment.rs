//! What the seed decides: which faults strike, and when clients are available.

use crate::clock::VirtualTime;
use crate::ids::{ClientId, JobId};
use crate::plan::FederationPlan;
use crate::plan::availability::timeline::{Timeline, Window};
use crate::plan::fault::injection::{Faults, InjectedFaults};

/// The plan's faults and availability, drawn as the run needs them.
#[derive(Debug)]
pub(super) struct Environment {
    faults: Faults,
    /// By client.
    timelines: Vec<Timeline>,
}

impl Environment {
    /// A plan's environment, at time 0.
    pub fn new(plan: &FederationPlan) -> Self {
        let timelines = plan.clients.iter().map(|client| {
            let availability = &client.profile.availability;
            availability.timeline(plan.seed, &client.name)
        });
        Self {
            faults: Faults::new(plan.seed, &plan.faults),
            timelines: timelines.collect(),
        }
    }

    /// The faults that strike a job.
    pub fn inject(&self, plan: &FederationPlan, id: JobId) -> InjectedFaults {
        let name = &plan.clients[id.client.0 as usize].name;
        self.faults.inject(id.client, name, id.round, id.attempt)
    }

    /// Virtual seconds for which the server is down at the end of this round, if it crashes then.
    pub fn server_downtime(&self, round: u32) -> Option<f64> {
        self.faults.server_downtime(round)
    }

    /// A client's window of availability that holds `at`, or else the next one.
    pub fn window(&mut self, client: ClientId, at: VirtualTime) -> Option<Window> {
        self.timelines[client.0 as usize].window(at)
    }
}
