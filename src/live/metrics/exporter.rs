//! Serves the metrics to Prometheus over HTTP.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::{App, Error, HttpResponse, Responder, web};
use metrics::SetRecorderError;
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use crate::live::metrics::catalog;
use crate::live::ports::bounds::Bounds;
use crate::live::ports::listener::Port;
use crate::live::ports::{guard, http};

/// Between two times that observations of histograms are put into their buckets, so that they do
/// not pile up while there are no scrapes.
const UPKEEP: Duration = Duration::from_secs(5);
/// The text format's name.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The reason that metrics cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    /// The address is taken, or not this machine's.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A metric's buckets are none.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The process has a recorder already.
    #[error(transparent)]
    Recorder(#[from] SetRecorderError<PrometheusRecorder>),
}

/// A running endpoint. It lives as long as the process.
#[derive(Debug)]
pub struct Exporter {
    address: SocketAddr,
    handle: PrometheusHandle,
}

impl Exporter {
    /// Starts to serve on `address`, and installs its recorder for the process. Port 0 takes
    /// any that is free. Every series carries the label `run`.
    ///
    /// # Errors
    /// See [`ExporterError`].
    pub fn start(address: SocketAddr, run: &str) -> Result<Self, ExporterError> {
        let recorder = builder(run)?.build_recorder();
        let handle = recorder.handle();
        let address = serve(address, handle.clone())?;
        metrics::set_global_recorder(recorder)?;
        catalog::ALL.iter().for_each(|metric| metric.describe());
        Ok(Self { address, handle })
    }

    /// The address that it serves.
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

/// Serves the recorded metrics, and returns the address.
pub(crate) fn serve(address: SocketAddr, handle: PrometheusHandle) -> io::Result<SocketAddr> {
    let loopback = address.ip().is_loopback();
    let port = Port {
        name: "metrics",
        capacity: Bounds::of_this_process().metrics,
        warnings: Vec::new(),
    };
    http::serve(port, address, move || {
        tokio::task::spawn_local(keep_up(handle.clone()));
        application(handle, loopback)
    })
}

/// The metrics, by whatever path and method they are asked for; `/health` says only that they are
/// there to be asked for.
fn application(
    handle: PrometheusHandle,
    loopback: bool,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    App::new()
        .app_data(web::Data::new(handle))
        .wrap(from_fn(move |request, next| {
            guard::admit(loopback, request, next)
        }))
        .wrap(DefaultHeaders::new().add((header::X_CONTENT_TYPE_OPTIONS, "nosniff")))
        .route("/health", web::to(async || "OK"))
        .default_service(web::to(scrape))
}

async fn scrape(handle: web::Data<PrometheusHandle>) -> impl Responder {
    HttpResponse::Ok().content_type(TEXT).body(handle.render())
}

async fn keep_up(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}

/// The exporter's settings apart from the address.
pub(crate) fn builder(run: &str) -> Result<PrometheusBuilder, BuildError> {
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
