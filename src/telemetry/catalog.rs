//! Every metric, with its name, unit, labels and meaning. No other file names a metric.
//!
//! Names follow Prometheus: the prefix `regatta_`, base units, `_total` for counters. Labels are
//! bounded: no rounds, paths or error texts. Every series also carries the label `run`.

use metrics::Unit;

use super::metric::{Counter, Described, Gauge, Histogram, Metric};

const fn metric<const L: usize>(
    name: &'static str,
    unit: Option<Unit>,
    labels: [&'static str; L],
    help: &'static str,
) -> Metric<L> {
    Metric {
        name,
        help,
        unit,
        labels,
    }
}

const SECONDS: Option<Unit> = Some(Unit::Seconds);
const BYTES: Option<Unit> = Some(Unit::Bytes);

/// The program.
pub static BUILD_INFO: Gauge<2> = Gauge(metric(
    "regatta_build_info",
    None,
    ["version", "libtorch"],
    "Always 1; the labels tell the program's version and libtorch's",
));
/// The run.
pub static RUN_INFO: Gauge<3> = Gauge(metric(
    "regatta_run_info",
    None,
    ["task", "adapter", "method"],
    "Always 1; the labels tell what is run",
));
/// Where the run is.
pub static ROUND: Gauge<0> = Gauge(metric(
    "regatta_round",
    None,
    [],
    "Round that is going on, from 1; 0 before the first",
));
/// How far it goes.
pub static ROUNDS_PLANNED: Gauge<0> = Gauge(metric(
    "regatta_rounds_planned",
    None,
    [],
    "Rounds that the run is to have",
));
/// Rounds done.
pub static ROUNDS: Counter<1> = Counter(metric(
    "regatta_rounds_total",
    None,
    ["outcome"],
    "Finished rounds: folded (some update was) or empty",
));
/// How long rounds take.
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
/// Simulated time.
pub static VIRTUAL_SECONDS: Gauge<0> = Gauge(metric(
    "regatta_virtual_seconds",
    SECONDS,
    [],
    "Virtual time since the run's start, at the last round's begin or end",
));
/// The fleet at a glance.
pub static CLIENTS: Gauge<1> = Gauge(metric(
    "regatta_clients",
    None,
    ["state"],
    "Clients by what they are doing",
));
/// Updates by fate.
pub static UPDATES: Counter<1> = Counter(metric(
    "regatta_updates_total",
    None,
    ["outcome"],
    "Clients' rounds by how they ended: folded, refused, dropped, late, lost, failed",
));
/// Replies to closed rounds.
pub static STALE_REPLIES: Counter<0> = Counter(metric(
    "regatta_stale_replies_total",
    None,
    [],
    "Replies that came to a closed round and were dropped",
));
/// Mean training loss.
pub static TRAIN_LOSS: Gauge<0> = Gauge(metric(
    "regatta_train_loss",
    None,
    [],
    "Training loss of the last round, mean over clients weighted by examples",
));
/// Scores on validation.
pub static SCORE: Gauge<1> = Gauge(metric(
    "regatta_score",
    None,
    ["score"],
    "Last score of the global model on validation, by name (loss, accuracy, ...)",
));
/// The best of them.
pub static BEST_SCORE: Gauge<1> = Gauge(metric(
    "regatta_best_score",
    None,
    ["score"],
    "Best score so far of the global model on validation: the least loss, else the highest",
));
/// What aggregation lost.
pub static EXACTNESS_ERROR: Gauge<1> = Gauge(metric(
    "regatta_exactness_error",
    None,
    ["method"],
    "Distance of the last aggregate from the ideal update, relative to the update's norm",
));
/// A client's state.
pub static CLIENT_STATE: Gauge<1> = Gauge(metric(
    "regatta_client_state",
    None,
    ["client"],
    "What a client does: 0 idle, 1 queued, 2 training, 3 sent, 4 dropped, 5 restarting, 6 retired",
));
/// A client's loss.
pub static CLIENT_TRAIN_LOSS: Gauge<1> = Gauge(metric(
    "regatta_client_train_loss",
    None,
    ["client"],
    "A client's training loss: mean over the examples of its current or last round",
));
/// Its work.
pub static CLIENT_EXAMPLES: Counter<1> = Counter(metric(
    "regatta_client_examples_total",
    None,
    ["client"],
    "Examples that a client has trained on in finished rounds, each epoch counted",
));
/// Its steps.
pub static CLIENT_STEPS: Counter<1> = Counter(metric(
    "regatta_client_steps_total",
    None,
    ["client"],
    "Optimiser steps of a client in finished rounds",
));
/// Its pace.
pub static CLIENT_ROUND_SECONDS: Gauge<1> = Gauge(metric(
    "regatta_client_round_seconds",
    SECONDS,
    ["client"],
    "Wall time that a client's last job took on its lane",
));
/// Its traffic.
pub static CLIENT_BYTES: Counter<2> = Counter(metric(
    "regatta_client_bytes_total",
    BYTES,
    ["client", "direction"],
    "Bytes between a client and the server: up (to the server) and down",
));
/// Rounds that gave nothing.
pub static CLIENT_MISSED_ROUNDS: Counter<1> = Counter(metric(
    "regatta_client_missed_rounds_total",
    None,
    ["client"],
    "Rounds in which a client was asked and no update of it was folded",
));
/// When it was last heard of.
pub static CLIENT_LAST_UPDATE: Gauge<1> = Gauge(metric(
    "regatta_client_last_update_timestamp_seconds",
    SECONDS,
    ["client"],
    "Unix time of a client's last update; 0 before its first",
));

/// All of them.
pub static ALL: [&dyn Described; 22] = [
    &BUILD_INFO,
    &RUN_INFO,
    &ROUND,
    &ROUNDS_PLANNED,
    &ROUNDS,
    &ROUND_SECONDS,
    &VIRTUAL_SECONDS,
    &CLIENTS,
    &UPDATES,
    &STALE_REPLIES,
    &TRAIN_LOSS,
    &SCORE,
    &BEST_SCORE,
    &EXACTNESS_ERROR,
    &CLIENT_STATE,
    &CLIENT_TRAIN_LOSS,
    &CLIENT_EXAMPLES,
    &CLIENT_STEPS,
    &CLIENT_ROUND_SECONDS,
    &CLIENT_BYTES,
    &CLIENT_MISSED_ROUNDS,
    &CLIENT_LAST_UPDATE,
];
