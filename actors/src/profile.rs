//! How fast a client is, in virtual time.

use serde::{Deserialize, Serialize};

/// A client's speed and connection, in virtual time. It decides who is late, and nothing else.
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
}

impl Default for Profile {
    /// 100 examples per second on an ideal network.
    fn default() -> Self {
        Self {
            speed: 100.0,
            bandwidth_up: None,
            bandwidth_down: None,
            latency: 0.0,
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

    /// What is wrong with it, one sentence each.
    #[must_use]
    pub fn faults(&self) -> Vec<&'static str> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        [
            (positive(self.speed), "speed is not a positive number"),
            (
                self.bandwidth_up.is_none_or(positive),
                "bandwidth_up is not a positive number",
            ),
            (
                self.bandwidth_down.is_none_or(positive),
                "bandwidth_down is not a positive number",
            ),
            (
                self.latency.is_finite() && self.latency >= 0.0,
                "latency is not a number of seconds from 0",
            ),
        ]
        .into_iter()
        .filter_map(|(ok, fault)| (!ok).then_some(fault))
        .collect()
    }
}

fn transfer_seconds(bytes: u64, bandwidth: Option<f64>) -> f64 {
    bandwidth.map_or(0.0, |bandwidth| bytes as f64 / bandwidth)
}
