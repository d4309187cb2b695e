//! Which settings decide a run's results, so that a run is not resumed with others.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::plan::Plan;
use crate::config::scenario::to_table;
use crate::config::setting::Effect;
use crate::config::settings::{ALL, Settings};

/// The settings and tables that decide what the plan's run comes to, by key, as TOML writes their
/// values. Files are left out.
#[must_use]
pub fn of(plan: &Plan) -> BTreeMap<String, String> {
    let decides =
        |key: &str| Settings::find(key).is_some_and(|s| s.facts().effect == Effect::Results);
    let mut tables = plan.tables.clone();
    tables.task = tables.task.map(|task| task.without_files());
    let tables = toml::Table::try_from(tables).unwrap_or_default();
    let mut settings = to_table(&plan.settings);
    // A run from before its method was renamed has to be recognised.
    if let Some(method) = plan.settings.agg_type {
        settings.insert("agg_type".into(), method.info().first_name().into());
    }
    settings
        .into_iter()
        .filter(|(key, _)| decides(key))
        .chain(tables)
        .map(|(key, value)| (key, value.to_string()))
        .collect()
}

/// Settings that decide nothing of what a run comes to.
#[must_use]
pub fn free() -> BTreeSet<String> {
    let free = ALL.iter().map(|setting| setting.facts());
    let free = free.filter(|facts| facts.effect == Effect::Nothing);
    free.map(|facts| facts.key.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::plan;

    fn fingerprint(text: &str) -> BTreeMap<String, String> {
        of(&plan(text))
    }

    #[test]
    fn where_a_run_computes_and_what_is_seen_of_it_does_not_count() {
        let free = fingerprint(
            "lanes = 2\nmetrics = \"off\"\nmetrics_linger = \"1 s\"\nclient_series = 3\n\
             control = \"127.0.0.1:0\"\nquiet = true\nledger = false\ncheckpoint_every = 7\nkeep_checkpoints = 9\n\
             watchdog = \"off\"\nout = \"elsewhere\"\ncpu = true\ndata = \"moved\"\n\
             model = \"models/moved\"\n",
        );
        assert_eq!(free, fingerprint(""));
    }

    #[test]
    fn a_method_counts_under_its_first_name_however_it_is_spelled() {
        for (first, now) in [
            ("normal", "fedit"),
            ("ours", "fedex"),
            ("ours_vera", "fedex_vera"),
            ("flora", "flora"),
        ] {
            let fingerprint_with =
                |name| fingerprint(&format!("name = \"x\"\nagg_type = \"{name}\""));
            assert_eq!(fingerprint_with(first)["agg_type"], format!("\"{first}\""));
            assert_eq!(fingerprint_with(first), fingerprint_with(now));
        }
    }

    #[test]
    fn what_changes_the_results_counts_under_its_key() {
        let plain = fingerprint("");
        for (key, text) in [
            ("lr", "lr = 0.5"),
            ("seed", "seed = 7"),
            ("r", "r = 2"),
            ("lora_dropout", "lora_dropout = 0.2"),
            ("max_seq_length", "max_seq_length = 32"),
            ("limit_train", "limit_train = 100"),
            ("weighting", "weighting = \"examples\""),
            ("threads_per_lane", "threads_per_lane = 3"),
            ("name", "name = \"other\""),
            ("policy", "[policy]\nkind = \"quorum\"\nupdates = 2"),
            ("faults", "[[faults]]\nkind = \"crash\"\nclients = 1"),
        ] {
            let changed = fingerprint(text);
            let keys = plain.keys().chain(changed.keys());
            let differing: BTreeSet<_> =
                keys.filter(|k| plain.get(*k) != changed.get(*k)).collect();
            assert_eq!(differing.into_iter().collect::<Vec<_>>(), [key], "{text}");
        }
    }
}
