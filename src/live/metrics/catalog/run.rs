//! The run as a whole.

use crate::live::metrics::catalog::row::{BYTES, SECONDS, metric};
use crate::live::metrics::metric::{Counter, Gauge, Histogram};

/// Versions of the program and of libtorch.
pub static BUILD_INFO: Gauge<2> = Gauge(metric(
    "regatta_build_info",
    None,
    ["version", "libtorch"],
    "Always 1; the labels give the versions of the program and of libtorch",
));
/// Labels that describe the run.
pub static RUN_INFO: Gauge<3> = Gauge(metric(
    "regatta_run_info",
    None,
    ["task", "adapter", "method"],
    "Always 1; the labels describe the run",
));
/// Whether the run is active.
pub static RUN_ACTIVE: Gauge<0> = Gauge(metric(
    "regatta_run_active",
    None,
    [],
    "1 while the run is active, 0 while it is paused or has ended",
));
/// The current round.
pub static ROUND: Gauge<0> = Gauge(metric(
    "regatta_round",
    None,
    [],
    "Current round, from 1; 0 before the first",
));
/// The planned number of rounds.
pub static ROUNDS_PLANNED: Gauge<0> = Gauge(metric(
    "regatta_rounds_planned",
    None,
    [],
    "Planned number of rounds",
));
/// Finished rounds.
pub static ROUNDS: Counter<1> = Counter(metric(
    "regatta_rounds_total",
    None,
    ["outcome"],
    "Finished rounds: aggregated (some update was) or empty",
));
/// Rounds that selected clients again.
pub static ROUND_RETRIES: Counter<0> = Counter(metric(
    "regatta_round_retries_total",
    None,
    [],
    "Times that a round selected clients again because too few updates arrived",
));
/// Wall time of rounds, by phase.
pub static ROUND_SECONDS: Histogram<1> = Histogram {
    metric: metric(
        "regatta_round_seconds",
        SECONDS,
        ["phase"],
        "Wall time of a round by phase: train, aggregate, evaluate",
    ),
    buckets: &[
        0.001, 0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
    ],
};
/// Virtual time.
pub static VIRTUAL_SECONDS: Gauge<0> = Gauge(metric(
    "regatta_virtual_seconds",
    SECONDS,
    [],
    "Virtual time since the run's start, at the start or end of the last round",
));
/// Mean training loss.
pub static TRAIN_LOSS: Gauge<0> = Gauge(metric(
    "regatta_train_loss",
    None,
    [],
    "Training loss of the last round, mean over clients weighted by examples",
));
/// Validation scores.
pub static SCORE: Gauge<1> = Gauge(metric(
    "regatta_score",
    None,
    ["score"],
    "Last score of the global model on validation, by name (loss, accuracy, ...)",
));
/// Best validation scores.
pub static BEST_SCORE: Gauge<1> = Gauge(metric(
    "regatta_best_score",
    None,
    ["score"],
    "Best score so far of the global model on validation: the least loss, else the highest",
));
/// The exactness error.
pub static EXACTNESS_ERROR: Gauge<1> = Gauge(metric(
    "regatta_exactness_error",
    None,
    ["method"],
    "Distance of the last aggregate from the ideal update, relative to the update's norm",
));
/// Bytes between clients and server.
pub static BYTES_MOVED: Counter<1> = Counter(metric(
    "regatta_bytes_total",
    BYTES,
    ["direction"],
    "Bytes between all clients and the server in finished rounds: up (to the server) and down",
));
/// Time of the last checkpoint.
pub static CHECKPOINT_TIME: Gauge<0> = Gauge(metric(
    "regatta_checkpoint_timestamp_seconds",
    SECONDS,
    [],
    "Unix time of the last checkpoint; of the run's start before the first",
));
/// Size of the last checkpoint.
pub static CHECKPOINT_SIZE: Gauge<0> = Gauge(metric(
    "regatta_checkpoint_size_bytes",
    BYTES,
    [],
    "Size of the last checkpoint; 0 before the first",
));
