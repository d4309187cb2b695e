//! A run whose clients are trained on other hosts.

use std::num::NonZeroU32;
use std::path::Path;

use anyhow::Context;
use regatta_actors::Run;
use regatta_actors::lanes::Lanes;
use regatta_actors::lanes::broker::BrokerError;
use regatta_cluster::{ClusterFile, ConnectError, ConnectionEvent, NatsBroker, Options};

use crate::base::machine::Host;
use crate::experiment::workload::Federation;
use crate::experiment::{FederatedRun, remote};
use crate::live::terminal::output::print_line;
use crate::runs::folder::RunFolder;

/// The run on the workers of a cluster.
///
/// # Errors
/// If the cluster's file cannot be used.
pub(crate) fn on_hosts(
    mut run: FederatedRun,
    folder: &RunFolder,
    file: &Path,
    min_lanes: Option<NonZeroU32>,
) -> anyhow::Result<Run<Federation>> {
    let file = ClusterFile::load(file)?;
    let machine = Host::detect();
    let settings = remote::settings(&run, &machine).context("cannot read this program's file")?;
    let id = remote::run_id(&run, folder, &machine);
    let min_lanes = min_lanes.map_or(1, NonZeroU32::get);
    run.plan.lanes = min_lanes;
    for client in &mut run.plan.clients {
        client.lane = None;
    }
    print_line(format_args!(
        "the broker is {}; the run begins with {min_lanes} lanes of `regatta worker --cluster \
         worker.toml`",
        file.urls.join(", ")
    ));
    let name = settings.name.clone();
    let connect = move || async move {
        let broker = connect(&file, &id, &name).await.map_err(as_broker_error)?;
        broker.invite();
        Ok(broker)
    };
    Ok(run.local().on(Lanes::remote(connect, settings)))
}

/// The broker's part of a run.
///
/// # Errors
/// If the broker cannot be used.
pub(crate) async fn connect(
    file: &ClusterFile,
    run: &str,
    name: &str,
) -> Result<NatsBroker, ConnectError> {
    NatsBroker::connect(file, Options::new(run, name), |event| match event {
        ConnectionEvent::Connected => tracing::info!("connected to the broker"),
        ConnectionEvent::Disconnected => tracing::warn!("the broker is away"),
        ConnectionEvent::Problem(problem) => tracing::warn!("the broker: {problem}"),
    })
    .await
}

/// An error of the connection, as whoever uses a broker has it.
pub(crate) fn as_broker_error(error: ConnectError) -> BrokerError {
    if error.may_pass() {
        BrokerError::Away(error.to_string())
    } else {
        BrokerError::Refused(error.to_string())
    }
}
