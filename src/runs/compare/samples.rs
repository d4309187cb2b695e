//! Runs for the tests of comparisons.

use std::path::PathBuf;

use regatta_actors::ids::Digest;
use regatta_actors::protocol::round_record::{PhaseSeconds, RoundRecord};

use crate::runs::compare::Compared;
use crate::runs::folder::state::RunState;
use crate::runs::history::totals::RunTotals;
use crate::tasks::registry;

/// A run of RTE with these settings and an accuracy by round; its folder has the settings' name.
pub(crate) fn run(settings: &str, accuracy: &[f64]) -> Compared {
    let settings: toml::Table = toml::from_str(settings).unwrap();
    let task = registry::find("rte").unwrap();
    let record = |(round, value): (u32, &f64)| RoundRecord {
        round,
        train_loss: None,
        eval: Some([("accuracy".into(), *value)].into()),
        exactness_error: None,
        measures: [("ideal_norm".into(), 2.0), ("residual_norm".into(), 1.0)].into(),
        virtual_seconds: 10.0 * f64::from(round),
        seconds: PhaseSeconds::default(),
        state_digest: Digest(String::new()),
        refused: Vec::new(),
        clients: Vec::new(),
    };
    let rounds: Vec<RoundRecord> = (1..).zip(accuracy).map(record).collect();
    let mut totals = RunTotals::default();
    let records = rounds.iter();
    records.for_each(|record| totals.add(record, &task.metric_set()));
    let name = |key: &str| {
        settings
            .get(key)
            .and_then(toml::Value::as_str)
            .unwrap_or("")
    };
    Compared {
        path: PathBuf::from(name("name")),
        task,
        seed: settings["seed"].as_integer().unwrap().unsigned_abs(),
        settings,
        state: RunState::Complete,
        rounds,
        totals,
    }
}
