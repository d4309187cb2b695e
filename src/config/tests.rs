//! For tests: from the text of a scenario to its plan or its problems.

use crate::base::machine::Host;
use crate::config::load;
use crate::config::plan::{Plan, PlanDraft};
use crate::config::problems::Problems;
use crate::config::settings::Settings;

/// Loads the text from a file named `demo.toml`.
pub(crate) fn plan_on(machine: &Host, scenario: &str) -> Result<PlanDraft, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.toml");
    std::fs::write(&path, scenario).unwrap();
    load(Some(&path), &Settings::default(), machine)
}

/// The plan on a machine with two cores.
pub(crate) fn plan(scenario: &str) -> Plan {
    let draft = plan_on(&Host::cpu(2), scenario);
    draft
        .unwrap_or_else(|problems| panic!("{problems}"))
        .into_plan()
}

/// The problems' texts, without the folder's name.
pub(crate) fn problems(scenario: &str) -> Vec<String> {
    let problems = plan_on(&Host::cpu(2), scenario).expect_err("a scenario with errors");
    let texts = problems.sorted().into_iter().map(ToString::to_string);
    texts
        .map(|text| text[text.find("demo.toml").unwrap_or(0)..].to_owned())
        .collect()
}

/// Each text begins as it is to begin, and there are no others.
pub(crate) fn assert_starts(found: &[String], starts: &[&str]) {
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (text, start) in found.iter().zip(starts) {
        assert!(
            text.starts_with(start),
            "{text:?} does not start with {start:?}"
        );
    }
}
