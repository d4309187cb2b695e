//! A client's resources: speed, connection, memory and availability.

use serde::{Deserialize, Serialize};

use crate::plan::availability::Availability;
use crate::plan::errors::PlanErrors;

/// A client's means, in virtual time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Profile {
    /// Examples trained per second.
    pub speed: f64,
    /// Bytes per second towards the server; `None`: no limit.
    pub bandwidth_up: Option<f64>,
    /// Bytes per second from the server; `None`: no limit.
    pub bandwidth_down: Option<f64>,
    /// Seconds that any message takes one way.
    pub latency: f64,
    /// Bytes of memory on its device; `None`: enough. For the workload to heed: it may train such
    /// a client in smaller micro-batches, or fail its jobs with
    /// [`JobError::OutOfMemory`](crate::workload::job::JobError::OutOfMemory).
    pub memory: Option<u64>,
    /// The times at which it is available.
    pub availability: Availability,
}

impl Default for Profile {
    /// 100 examples per second on an ideal network.
    fn default() -> Self {
        Self {
            speed: 100.0,
            bandwidth_up: None,
            bandwidth_down: None,
            latency: 0.0,
            memory: None,
            availability: Availability::Always,
        }
    }
}

impl Profile {
    /// Seconds until `bytes` from the server are here.
    #[must_use]
    pub fn download_seconds(&self, bytes: u64) -> f64 {
        self.latency + transfer_seconds(bytes, self.bandwidth_down)
    }

    /// Seconds until `bytes` from here are with the server.
    #[must_use]
    pub fn upload_seconds(&self, bytes: u64) -> f64 {
        self.latency + transfer_seconds(bytes, self.bandwidth_up)
    }

    /// Seconds that `epochs` passes over `examples` take.
    #[must_use]
    pub fn train_seconds(&self, examples: u64, epochs: u32) -> f64 {
        examples as f64 * f64::from(epochs) / self.speed
    }

    /// Adds what is wrong with it to `errors`. `path` is its place in the plan.
    pub fn check(&self, path: &str, errors: &mut PlanErrors) {
        errors.positive(self.speed, path, "speed");
        if let Some(bandwidth) = self.bandwidth_up {
            errors.positive(bandwidth, path, "bandwidth_up");
        }
        if let Some(bandwidth) = self.bandwidth_down {
            errors.positive(bandwidth, path, "bandwidth_down");
        }
        errors.not_negative(self.latency, path, "latency");
        let ok = self.memory != Some(0);
        errors.require(ok, path, "memory", "must be at least 1 byte");
        self.availability
            .check(&format!("{path}.availability"), errors);
    }
}

fn transfer_seconds(bytes: u64, bandwidth: Option<f64>) -> f64 {
    bandwidth.map_or(0.0, |bandwidth| bytes as f64 / bandwidth)
}
