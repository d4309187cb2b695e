//! The arguments that concern runs on many machines.

use std::ffi::OsString;
#[cfg(feature = "cluster")]
use std::net::SocketAddr;
#[cfg(feature = "cluster")]
use std::num::NonZeroU32;
#[cfg(feature = "cluster")]
use std::path::PathBuf;
#[cfg(feature = "cluster")]
use std::time::Duration;

use clap::Args;
#[cfg(feature = "cluster")]
use regatta_actors::lanes::remote::verify::VerifiedShare;

/// Whether clients are trained on other hosts.
#[derive(Debug, Clone, Default, Args)]
#[command(rename_all = "snake_case", next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// Train on workers of this cluster; `regatta broker` writes the file [default: on this machine]
    #[cfg(feature = "cluster")]
    #[arg(long, value_name = "FILE")]
    pub cluster: Option<PathBuf>,
    /// Lanes that workers must have offered before the first round [default: 1]
    #[cfg(feature = "cluster")]
    #[arg(long, value_name = "N", requires = "cluster")]
    pub min_lanes: Option<NonZeroU32>,
    /// Have two hosts do this share of the jobs, and compare what they give [default: 0%]
    #[cfg(feature = "cluster")]
    #[arg(long, value_name = "PERCENT", requires = "cluster", value_parser = share)]
    pub verify: Option<VerifiedShare>,
}

impl ClusterArgs {
    /// Whether a cluster is named.
    pub(crate) fn name_one(&self) -> bool {
        #[cfg(feature = "cluster")]
        return self.cluster.is_some();
        #[cfg(not(feature = "cluster"))]
        false
    }

    /// These, as arguments of a process that is to train there too.
    #[cfg(feature = "cluster")]
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let flag = |name: &str, value: OsString| {
            let mut flag = OsString::from(name);
            flag.push(value);
            flag
        };
        let cluster = self.cluster.iter();
        let cluster = cluster.map(|file| flag("--cluster=", file.into()));
        let lanes = self.min_lanes.iter();
        let lanes = lanes.map(|lanes| flag("--min_lanes=", lanes.to_string().into()));
        let verify = self.verify.iter();
        let verify = verify.map(|share| flag("--verify=", share.to_string().into()));
        cluster.chain(lanes).chain(verify).collect()
    }

    /// A program without clusters has none.
    #[cfg(not(feature = "cluster"))]
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        Vec::new()
    }
}

/// A host that trains.
#[cfg(feature = "cluster")]
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub struct WorkerArgs {
    /// The cluster's file for workers; `regatta broker` writes it
    #[arg(long, value_name = "FILE")]
    pub cluster: PathBuf,
    /// Clients that train at once here [default: one per GPU; on a CPU as many as have cores for
    /// their threads]
    #[arg(long, value_name = "N|auto", value_parser = lanes)]
    pub lanes: Option<LaneCount>,
    /// Where the run's data are on this host [default: as in the run]
    #[arg(long, value_name = "DIR|hub")]
    pub data: Option<String>,
    /// Where the run's model is on this host [default: as in the run]
    #[arg(long, value_name = "DIR|FILE|random:NAME|hub:NAME")]
    pub model: Option<String>,
    /// Folder for the run's scenario, as this host receives it [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Use the CPU even if CUDA is available [default: false]
    #[arg(long)]
    pub cpu: Option<bool>,
    /// This host's name in messages [default: the network's]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Time without a coordinator after which the worker exits with 75 [default: 30 min]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub patience: Option<Duration>,
    /// Train for one run after the other, such as those of a sweep, all with the same --numerics, until
    /// none has come for as long as --patience says [default: false]
    #[arg(long)]
    pub stay: Option<bool>,
}

/// Lanes of a worker.
#[cfg(feature = "cluster")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneCount {
    /// As many as the machine has devices or cores for.
    Auto,
    /// So many.
    Number(u32),
}

#[cfg(feature = "cluster")]
fn lanes(text: &str) -> Result<LaneCount, String> {
    match text.parse::<NonZeroU32>() {
        _ if text == "auto" => Ok(LaneCount::Auto),
        Ok(number) => Ok(LaneCount::Number(number.get())),
        Err(_) => Err("give a number from 1, or auto".into()),
    }
}

#[cfg(feature = "cluster")]
fn share(text: &str) -> Result<VerifiedShare, String> {
    text.parse()
}

#[cfg(feature = "cluster")]
fn duration(text: &str) -> Result<Duration, String> {
    crate::base::time::duration(text).ok_or_else(|| "give one such as \"10 min\"".into())
}

/// The broker and where it listens.
#[cfg(feature = "cluster")]
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub struct BrokerArgs {
    /// Where it listens; beyond this machine with TLS
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4222")]
    pub listen: SocketAddr,
    /// A name or address by which other machines reach this one, the first being what they are told;
    /// can be given several times [default: the address that it listens at]
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    /// Folder for its files, on a local disk; cluster.toml and worker.toml are written there
    #[arg(long, value_name = "DIR", default_value = "broker")]
    pub folder: PathBuf,
    /// The program nats-server [default: the one that set-up fetched, or one that is installed]
    #[arg(long, value_name = "FILE")]
    pub nats_server: Option<PathBuf>,
    /// A folder that all machines share, for states and large updates [default: in the broker]
    #[arg(long, value_name = "DIR")]
    pub blobs: Option<PathBuf>,
}
