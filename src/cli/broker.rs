//! `regatta broker`: the message broker of a cluster, watched until it is told to end.

use anyhow::Context;
use regatta_cluster::{Settings, Supervisor};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::cluster_args::BrokerArgs;
use crate::live::terminal::output::print_line;

/// Runs the broker until SIGINT or SIGTERM.
///
/// # Errors
/// If it cannot be started, or dies again and again.
pub fn broker(args: &BrokerArgs) -> anyhow::Result<()> {
    let settings = Settings {
        names: args.name.clone(),
        program: args.nats_server.clone(),
        blobs: args.blobs.clone(),
        ..Settings::new(&args.folder, args.listen)
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start")?.block_on(async {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        let (mut interrupt, mut end) = (
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
        );
        let broker = Supervisor::start(&settings).await?;
        let (cluster, worker) = (broker.cluster_file(), broker.worker_file());
        print_line(format_args!(
            "the broker listens at {}\n\
             runs:    regatta run SCENARIO --cluster {}\n\
             workers: regatta worker --cluster {}\n\
             Both files are secret: whoever has one can take part.",
            settings.listen,
            cluster.display(),
            worker.display()
        ));
        let ended = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = end.recv() => {}
            }
        };
        Ok(broker.run_until(ended).await?)
    })
}
