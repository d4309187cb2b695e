//! One series per client, in fleets of at most `--client_series` clients.

use crate::live::metrics::catalog::row::{BYTES, SECONDS, metric};
use crate::live::metrics::metric::{Counter, Gauge};

/// A client's state.
pub static CLIENT_STATE: Gauge<1> = Gauge(metric(
    "regatta_client_state",
    None,
    ["client"],
    "State of a client: 0 idle, 1 queued, 2 training, 3 sent, 4 dropped, 5 restarting, 6 retired",
));
/// A client's training loss.
pub static CLIENT_TRAIN_LOSS: Gauge<1> = Gauge(metric(
    "regatta_client_train_loss",
    None,
    ["client"],
    "A client's training loss: mean over the examples of its current or last round",
));
/// Examples it has trained on.
pub static CLIENT_EXAMPLES: Counter<1> = Counter(metric(
    "regatta_client_examples_total",
    None,
    ["client"],
    "Examples that a client has trained on in finished rounds, each epoch counted",
));
/// Its optimiser steps.
pub static CLIENT_STEPS: Counter<1> = Counter(metric(
    "regatta_client_steps_total",
    None,
    ["client"],
    "Optimiser steps of a client in finished rounds",
));
/// Wall time of its last job.
pub static CLIENT_ROUND_SECONDS: Gauge<1> = Gauge(metric(
    "regatta_client_round_seconds",
    SECONDS,
    ["client"],
    "Wall time of a client's last job on its lane",
));
/// Wall time of one of its optimiser steps.
pub static CLIENT_STEP_SECONDS: Gauge<1> = Gauge(metric(
    "regatta_client_step_seconds",
    SECONDS,
    ["client"],
    "Wall time of an optimiser step in a client's last job",
));
/// Virtual time until its update arrives.
pub static CLIENT_VIRTUAL_SECONDS: Gauge<1> = Gauge(metric(
    "regatta_client_virtual_seconds",
    SECONDS,
    ["client"],
    "Virtual time from selecting a client until its last update arrived",
));
/// Bytes it has sent and received.
pub static CLIENT_BYTES: Counter<2> = Counter(metric(
    "regatta_client_bytes_total",
    BYTES,
    ["client", "direction"],
    "Bytes between a client and the server in finished rounds: up (to the server) and down",
));
/// Rounds without an aggregated update.
pub static CLIENT_MISSED_ROUNDS: Counter<2> = Counter(metric(
    "regatta_client_missed_rounds_total",
    None,
    ["client", "reason"],
    "Rounds in which a client was selected but no update of it was aggregated, by reason: refused, \
     dropped, late, lost, failed",
));
/// Updates that arrived too late.
pub static CLIENT_STALE_UPDATES: Counter<1> = Counter(metric(
    "regatta_client_stale_updates_total",
    None,
    ["client"],
    "A client's updates and other replies that arrived too late to be used",
));
/// Restarts after failures.
pub static CLIENT_RESTARTS: Counter<1> = Counter(metric(
    "regatta_client_restarts_total",
    None,
    ["client"],
    "Restarts of a client after a crash or a failed job",
));
/// Time of its last update.
pub static CLIENT_LAST_UPDATE: Gauge<1> = Gauge(metric(
    "regatta_client_last_update_timestamp_seconds",
    SECONDS,
    ["client"],
    "Unix time of a client's last update; 0 before its first",
));
/// Time of its last sign of life.
pub static CLIENT_LAST_SEEN: Gauge<1> = Gauge(metric(
    "regatta_client_last_seen_timestamp_seconds",
    SECONDS,
    ["client"],
    "Unix time of a client's last sign of life: a batch, an update or a change of state",
));
