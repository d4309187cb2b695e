//! Totals over all clients, whatever their number.

use crate::live::metrics::catalog::row::{SECONDS, metric};
use crate::live::metrics::metric::{Counter, Gauge, Histogram};

/// Clients by state.
pub static CLIENTS: Gauge<1> = Gauge(metric(
    "regatta_clients",
    None,
    ["state"],
    "Clients by state; queued is the depth of the lanes' queue",
));
/// Client rounds by outcome.
pub static UPDATES: Counter<1> = Counter(metric(
    "regatta_updates_total",
    None,
    ["outcome"],
    "Clients' rounds by outcome: aggregated, refused, dropped, late, lost, failed",
));
/// Updates that arrived too late.
pub static STALE_UPDATES: Counter<0> = Counter(metric(
    "regatta_stale_updates_total",
    None,
    [],
    "Updates and other replies that arrived too late and were dropped",
));
/// Restarts after failures.
pub static RESTARTS: Counter<0> = Counter(metric(
    "regatta_restarts_total",
    None,
    [],
    "Restarts of clients after a crash or a failed job",
));
/// Scripted faults that struck.
pub static FAULTS: Counter<1> = Counter(metric(
    "regatta_faults_total",
    None,
    ["fault"],
    "Scripted faults that struck, by kind",
));
/// Wall time of the clients' jobs.
pub static JOB_SECONDS: Histogram<0> = Histogram {
    metric: metric(
        "regatta_job_seconds",
        SECONDS,
        [],
        "Wall time of a client's job on its lane, for jobs that gave an update",
    ),
    buckets: &[
        0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
    ],
};
/// Virtual time until an update arrives.
pub static UPDATE_VIRTUAL_SECONDS: Histogram<0> = Histogram {
    metric: metric(
        "regatta_update_virtual_seconds",
        SECONDS,
        [],
        "Virtual time from selecting a client until its update arrived",
    ),
    buckets: &[
        0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
        7200.0,
    ],
};
/// Quantiles of the clients' losses.
pub static FLEET_TRAIN_LOSS: Gauge<1> = Gauge(metric(
    "regatta_fleet_train_loss",
    None,
    ["q"],
    "Quantiles over clients of their last training loss",
));
/// Seconds per optimiser step, over clients.
pub static FLEET_STEP_SECONDS: Gauge<1> = Gauge(metric(
    "regatta_fleet_step_seconds",
    SECONDS,
    ["q"],
    "Quantiles over clients of the wall time of an optimiser step in their last job",
));
/// The worst clients of a large fleet.
pub static WORST_CLIENT_NUMBER: Gauge<2> = Gauge(metric(
    "regatta_worst_client_number",
    None,
    ["by", "rank"],
    "In a fleet too large for a series per client: number of the worst clients, from 0, by \
     train_loss, step_seconds, missed_rounds and last_seen (among those training); rank from 1",
));
/// The value that ranks the worst clients.
pub static WORST_CLIENT_VALUE: Gauge<2> = Gauge(metric(
    "regatta_worst_client_value",
    None,
    ["by", "rank"],
    "The value that ranks the worst clients; last_seen is a Unix time",
));
