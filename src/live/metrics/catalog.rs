//! Every metric, with its name, unit, labels and meaning. No other file names a metric.
//!
//! Names follow Prometheus: the prefix `regatta_`, base units, `_total` for counters. Labels are
//! bounded: no rounds, paths or error texts. Every series also carries the label `run`.

use metrics::Unit;

use crate::live::metrics::metric::{Counter, Described, Gauge, Histogram, Metric};

/// Declares each metric and the list of all. A row: kind (with the unit, or `Count`), static,
/// name, labels, a histogram's buckets, and the help text.
macro_rules! metrics {
    ($($kind:ident<$unit:ident> $metric:ident $name:literal [$($label:ident),*]
        $(buckets [$($bound:literal),*])? $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $metric: $kind<{ <[&str]>::len(&[$(stringify!($label)),*]) }> = $kind {
                metric: Metric {
                    name: $name,
                    help: $help,
                    unit: Unit::$unit,
                    labels: [$(stringify!($label)),*],
                },
                $(buckets: &[$($bound),*],)?
            };
        )*

        /// All metrics.
        pub static ALL: &[&dyn Described] = &[$(&$metric),*];
    };
}

metrics! {
    // The run as a whole.
    Gauge<Count> BUILD_INFO "regatta_build_info" [version, libtorch]
        "Always 1; the labels give the versions of the program and of libtorch";
    Gauge<Count> RUN_INFO "regatta_run_info" [task, adapter, method]
        "Always 1; the labels describe the run";
    Gauge<Count> RUN_ACTIVE "regatta_run_active" []
        "1 while the run is active, 0 while it is paused or has ended";
    Gauge<Count> ROUND "regatta_round" []
        "Current round, from 1; 0 before the first";
    Gauge<Count> ROUNDS_PLANNED "regatta_rounds_planned" []
        "Planned number of rounds";
    Counter<Count> ROUNDS "regatta_rounds_total" [outcome]
        "Finished rounds: aggregated (some update was) or empty";
    Counter<Count> ROUND_RETRIES "regatta_round_retries_total" []
        "Times that a round selected clients again because too few updates arrived";
    Histogram<Seconds> ROUND_SECONDS "regatta_round_seconds" [phase]
        buckets [0.001, 0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
            1800.0, 3600.0]
        "Wall time of a round by phase: train, aggregate, evaluate";
    Gauge<Seconds> VIRTUAL_SECONDS "regatta_virtual_seconds" []
        "Virtual time since the run's start, at the start or end of the last round";
    Gauge<Count> TRAIN_LOSS "regatta_train_loss" []
        "Training loss of the last round, mean over clients weighted by examples";
    Gauge<Count> SCORE "regatta_score" [score]
        "Last score of the global model on validation, by name (loss, accuracy, ...)";
    Gauge<Count> BEST_SCORE "regatta_best_score" [score]
        "Best score so far of the global model on validation: the least loss or perplexity, else \
         the highest";
    Gauge<Count> BASE_SCORE "regatta_base_score" [score]
        "Score of the model before training on the same examples, by name, in runs that write texts";
    Gauge<Count> EXACTNESS_ERROR "regatta_exactness_error" [method]
        "Distance of the last aggregate from the ideal update, relative to the update's norm";
    Counter<Bytes> BYTES_MOVED "regatta_bytes_total" [direction]
        "Bytes between all clients and the server in finished rounds: up (to the server) and down";
    Gauge<Seconds> CHECKPOINT_TIME "regatta_checkpoint_timestamp_seconds" []
        "Unix time of the last checkpoint; of the run's start before the first";
    Gauge<Bytes> CHECKPOINT_SIZE "regatta_checkpoint_size_bytes" []
        "Size of the last checkpoint; 0 before the first";

    // Totals over all clients, whatever their number.
    Gauge<Count> CLIENTS "regatta_clients" [state]
        "Clients by state; queued is the depth of the lanes' queue";
    Counter<Count> UPDATES "regatta_updates_total" [outcome]
        "Clients' rounds by outcome: aggregated, refused, dropped, late, lost, failed";
    Counter<Count> STALE_UPDATES "regatta_stale_updates_total" []
        "Updates and other replies that arrived too late and were dropped";
    Counter<Count> RESTARTS "regatta_restarts_total" []
        "Restarts of clients after a crash or a failed job";
    Counter<Count> FAULTS "regatta_faults_total" [fault]
        "Scripted faults injected, by kind";
    Histogram<Seconds> JOB_SECONDS "regatta_job_seconds" []
        buckets [0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0,
            1800.0, 3600.0]
        "Wall time of a client's job on its lane, for jobs that gave an update";
    Histogram<Seconds> UPDATE_VIRTUAL_SECONDS "regatta_update_virtual_seconds" []
        buckets [0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
            3600.0, 7200.0]
        "Virtual time from selecting a client until its update arrived";
    Gauge<Count> FLEET_TRAIN_LOSS "regatta_fleet_train_loss" [q]
        "Quantiles over clients of their last training loss";
    Gauge<Seconds> FLEET_STEP_SECONDS "regatta_fleet_step_seconds" [q]
        "Quantiles over clients of the wall time of an optimiser step in their last job";
    Gauge<Count> WORST_CLIENT_NUMBER "regatta_worst_client_number" [by, rank]
        "In a fleet too large for a series per client: number of the worst clients, from 0, by \
         train_loss, step_seconds, missed_rounds and last_seen (among those training); rank from 1";
    Gauge<Count> WORST_CLIENT_VALUE "regatta_worst_client_value" [by, rank]
        "The value that ranks the worst clients; last_seen is a Unix time";

    // One series per client, in fleets of at most `--client_series` clients.
    Gauge<Count> CLIENT_STATE "regatta_client_state" [client]
        "State of a client: 0 idle, 1 queued, 2 training, 3 sent, 4 dropped, 5 restarting, \
         6 retired";
    Gauge<Count> CLIENT_TRAIN_LOSS "regatta_client_train_loss" [client]
        "A client's training loss: mean over the examples of its current or last round";
    Counter<Count> CLIENT_EXAMPLES "regatta_client_examples_total" [client]
        "Examples that a client has trained on in finished rounds, each epoch counted";
    Counter<Count> CLIENT_STEPS "regatta_client_steps_total" [client]
        "Optimiser steps of a client in finished rounds";
    Gauge<Seconds> CLIENT_ROUND_SECONDS "regatta_client_round_seconds" [client]
        "Wall time of a client's last job on its lane";
    Gauge<Seconds> CLIENT_STEP_SECONDS "regatta_client_step_seconds" [client]
        "Wall time of an optimiser step in a client's last job";
    Gauge<Seconds> CLIENT_VIRTUAL_SECONDS "regatta_client_virtual_seconds" [client]
        "Virtual time from selecting a client until its last update arrived";
    Counter<Bytes> CLIENT_BYTES "regatta_client_bytes_total" [client, direction]
        "Bytes between a client and the server in finished rounds: up (to the server) and down";
    Counter<Count> CLIENT_MISSED_ROUNDS "regatta_client_missed_rounds_total" [client, reason]
        "Rounds in which a client was selected but no update of it was aggregated, by reason: \
         refused, dropped, late, lost, failed";
    Counter<Count> CLIENT_STALE_UPDATES "regatta_client_stale_updates_total" [client]
        "A client's updates and other replies that arrived too late to be used";
    Counter<Count> CLIENT_RESTARTS "regatta_client_restarts_total" [client]
        "Restarts of a client after a crash or a failed job";
    Gauge<Seconds> CLIENT_LAST_UPDATE "regatta_client_last_update_timestamp_seconds" [client]
        "Unix time of a client's last update; 0 before its first";
    Gauge<Seconds> CLIENT_LAST_SEEN "regatta_client_last_seen_timestamp_seconds" [client]
        "Unix time of a client's last sign of life: a batch, an update or a change of state";

    // Other hosts, in runs that train on them; no series in a run on one machine.
    Gauge<Count> BROKER_CONNECTED "regatta_broker_connected" []
        "1 while the broker between the run and its hosts answers, else 0";
    Gauge<Count> HOSTS "regatta_hosts" []
        "Other hosts that train for the run";
    Gauge<Count> HOST_LANES "regatta_host_lanes" []
        "Lanes of these hosts";
    Counter<Count> HOSTS_LOST "regatta_hosts_lost_total" []
        "Hosts that were lost while they trained for the run";
    Counter<Count> JOBS_REDONE "regatta_jobs_redone_total" []
        "Jobs that were done once more, because a host was lost, failed or gave them back";
    Counter<Count> JOBS_VERIFIED "regatta_jobs_verified_total" []
        "Jobs that two hosts did on purpose, with the same result";
    Counter<Count> HOSTS_WRONG "regatta_hosts_wrong_total" []
        "Hosts that gave for such a job what two others did not";
    Counter<Bytes> HOST_BYTES "regatta_host_bytes_total" [direction]
        "Bytes that all hosts sent (results) and received (states)";

    // Use of the machine.
    Gauge<Count> LANE_BUSY_RATIO "regatta_lane_busy_ratio" [lane, device]
        "Share of time that a lane spent training, over about the last 15 seconds";
    Counter<Count> LANE_EXAMPLES "regatta_lane_examples_total" [lane, device]
        "Examples trained on a lane, counted by batch, whatever became of the update";
    Gauge<Bytes> DEVICE_MEMORY "regatta_device_memory_bytes" [device]
        "Memory in use: on a GPU, by libtorch's allocator; on the CPU, by the process";
    Gauge<Bytes> DEVICE_MEMORY_PEAK "regatta_device_memory_peak_bytes" [device]
        "Peak memory in use on a device, as sampled";
    Gauge<Bytes> PROCESS_MEMORY "regatta_process_resident_memory_bytes" []
        "Resident memory of the process";
}
