//! Every metric, with its name, unit, labels and meaning. No other file names a metric.
//!
//! Names follow Prometheus: the prefix `regatta_`, base units, `_total` for counters. Labels are
//! bounded: no rounds, paths or error texts. Every series also carries the label `run`.
//!
//! | file | holds |
//! |---|---|
//! | `run` | the run as a whole: rounds, scores, traffic |
//! | `clients` | one series per client; in a large fleet, none of them |
//! | `fleet` | totals over clients: states, quantiles, and the worst of a large fleet |
//! | `machine` | lanes, devices, the process |

pub mod clients;
pub mod fleet;
pub mod machine;
pub(crate) mod row;
pub mod run;

pub(crate) use crate::live::metrics::catalog::clients::{
    CLIENT_BYTES, CLIENT_EXAMPLES, CLIENT_LAST_SEEN, CLIENT_LAST_UPDATE, CLIENT_MISSED_ROUNDS,
    CLIENT_RESTARTS, CLIENT_ROUND_SECONDS, CLIENT_STALE_UPDATES, CLIENT_STATE, CLIENT_STEP_SECONDS,
    CLIENT_STEPS, CLIENT_TRAIN_LOSS, CLIENT_VIRTUAL_SECONDS,
};
pub(crate) use crate::live::metrics::catalog::fleet::{
    CLIENTS, FAULTS, FLEET_STEP_SECONDS, FLEET_TRAIN_LOSS, JOB_SECONDS, RESTARTS, STALE_UPDATES,
    UPDATE_VIRTUAL_SECONDS, UPDATES, WORST_CLIENT_NUMBER, WORST_CLIENT_VALUE,
};
pub(crate) use crate::live::metrics::catalog::machine::{
    DEVICE_MEMORY, DEVICE_MEMORY_PEAK, LANE_BUSY_RATIO, LANE_EXAMPLES, PROCESS_MEMORY,
};
pub(crate) use crate::live::metrics::catalog::run::{
    BEST_SCORE, BUILD_INFO, BYTES_MOVED, CHECKPOINT_SIZE, CHECKPOINT_TIME, EXACTNESS_ERROR, ROUND,
    ROUND_RETRIES, ROUND_SECONDS, ROUNDS, ROUNDS_PLANNED, RUN_ACTIVE, RUN_INFO, SCORE, TRAIN_LOSS,
    VIRTUAL_SECONDS,
};
use crate::live::metrics::metric::Described;

/// All metrics.
pub static ALL: [&dyn Described; 45] = [
    &BUILD_INFO,
    &RUN_INFO,
    &RUN_ACTIVE,
    &ROUND,
    &ROUNDS_PLANNED,
    &ROUNDS,
    &ROUND_RETRIES,
    &ROUND_SECONDS,
    &VIRTUAL_SECONDS,
    &TRAIN_LOSS,
    &SCORE,
    &BEST_SCORE,
    &EXACTNESS_ERROR,
    &BYTES_MOVED,
    &CHECKPOINT_TIME,
    &CHECKPOINT_SIZE,
    &CLIENTS,
    &UPDATES,
    &STALE_UPDATES,
    &RESTARTS,
    &FAULTS,
    &JOB_SECONDS,
    &UPDATE_VIRTUAL_SECONDS,
    &FLEET_TRAIN_LOSS,
    &FLEET_STEP_SECONDS,
    &WORST_CLIENT_NUMBER,
    &WORST_CLIENT_VALUE,
    &CLIENT_STATE,
    &CLIENT_TRAIN_LOSS,
    &CLIENT_EXAMPLES,
    &CLIENT_STEPS,
    &CLIENT_ROUND_SECONDS,
    &CLIENT_STEP_SECONDS,
    &CLIENT_VIRTUAL_SECONDS,
    &CLIENT_BYTES,
    &CLIENT_MISSED_ROUNDS,
    &CLIENT_STALE_UPDATES,
    &CLIENT_RESTARTS,
    &CLIENT_LAST_UPDATE,
    &CLIENT_LAST_SEEN,
    &LANE_BUSY_RATIO,
    &LANE_EXAMPLES,
    &DEVICE_MEMORY,
    &DEVICE_MEMORY_PEAK,
    &PROCESS_MEMORY,
];
