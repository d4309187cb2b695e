//! A run whose clients are trained on other hosts.

use std::num::NonZeroU32;

use anyhow::Context;
use regatta_actors::Run;
use regatta_actors::lanes::Lanes;
use regatta_actors::lanes::broker::BrokerError;
use regatta_actors::lanes::remote::verify::VerifiedShare;
use regatta_cluster::{ClusterFile, ConnectError, ConnectionEvent, NatsBroker, Options};
use tokio::runtime;

use crate::base::machine::Host;
use crate::base::table::count;
use crate::cli::cluster_args::ClusterArgs;
use crate::experiment::workload::Federation;
use crate::experiment::{FederatedRun, remote};
use crate::live::terminal::output::print_line;
use crate::runs::folder::RunFolder;

/// A cluster whose broker answers.
pub(crate) struct Cluster {
    file: ClusterFile,
    min_lanes: u32,
    verified: VerifiedShare,
}

impl Cluster {
    /// The cluster of the arguments, if they name one. Asks its broker before anything is made for
    /// a run.
    ///
    /// # Errors
    /// If its file cannot be used, or its broker does not answer.
    pub(crate) fn find(args: &ClusterArgs) -> anyhow::Result<Option<Self>> {
        let Some(path) = &args.cluster else {
            return Ok(None);
        };
        let file = ClusterFile::load(path)?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(NatsBroker::connect(
            &file,
            Options::new("0", "regatta"),
            |_| {},
        ))?;
        let min_lanes = args.min_lanes.map_or(1, NonZeroU32::get);
        Ok(Some(Self {
            file,
            min_lanes,
            verified: args.verify.unwrap_or(VerifiedShare::NONE),
        }))
    }
}

/// The run on the workers of a cluster.
///
/// # Errors
/// If this program's own file cannot be read.
pub(crate) fn on_hosts(
    mut run: FederatedRun,
    folder: &RunFolder,
    cluster: Cluster,
) -> anyhow::Result<Run<Federation>> {
    let Cluster {
        file,
        min_lanes,
        verified,
    } = cluster;
    let machine = Host::detect();
    let settings =
        remote::settings(&run, &machine, verified).context("cannot read this program's file")?;
    let id = remote::run_id(&run, folder, &machine);
    run.plan.lanes = min_lanes;
    for client in &mut run.plan.clients {
        client.lane = None;
    }
    print_line(format_args!(
        "the broker is {}; the run begins with {} of `regatta worker --cluster worker.toml`",
        file.urls.join(", "),
        count(min_lanes, "lane")
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
