//! Serves the metrics to Prometheus over HTTP.

use std::net::{SocketAddr, TcpListener};
use std::thread;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::catalog;

/// A running endpoint. It lives as long as the process.
#[derive(Debug)]
pub struct Exporter {
    address: SocketAddr,
    handle: PrometheusHandle,
}

impl Exporter {
    /// Starts to serve on `address`, and makes the recorder behind it the process's. Port 0 takes
    /// any that is free. Every series carries the label `run`.
    ///
    /// # Errors
    /// When the address is taken or not this machine's, or the process has a recorder already.
    pub fn start(address: SocketAddr, run: &str) -> Result<Self, BuildError> {
        let address = with_port(address);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| BuildError::FailedToCreateRuntime(error.to_string()))?;
        let (recorder, server) = {
            let _guard = runtime.enter();
            builder(run)?.with_http_listener(address).build()?
        };
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder)?;
        catalog::ALL.iter().for_each(|metric| metric.describe());
        thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || {
                if runtime.block_on(server).is_err() {
                    tracing::warn!("the metrics endpoint has stopped; the run goes on");
                }
            })
            .map_err(|error| BuildError::FailedToCreateRuntime(error.to_string()))?;
        Ok(Self { address, handle })
    }

    /// Where it serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All series as a scrape would show them now.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }
}

/// The exporter's settings apart from the address.
pub(super) fn builder(run: &str) -> Result<PrometheusBuilder, BuildError> {
    let builder = PrometheusBuilder::new()
        .with_recommended_naming(true)
        .add_global_label("run", run);
    catalog::ALL
        .iter()
        .filter_map(|metric| Some((metric.name(), metric.buckets()?)))
        .try_fold(builder, |builder, (name, buckets)| {
            builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets)
        })
}

/// The address with port 0 replaced by a free one. The exporter binds it a moment later; should
/// somebody else be quicker, that is an error like any busy port.
fn with_port(address: SocketAddr) -> SocketAddr {
    match address.port() {
        0 => TcpListener::bind(address)
            .and_then(|listener| listener.local_addr())
            .unwrap_or(address),
        _ => address,
    }
}
