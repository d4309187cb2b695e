//! The dashboards and rules, held against the catalogue of metrics and against the conventions
//! that all of them follow.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use promql_parser::parser::{self, Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use regatta::live::metrics::catalog;
use serde_json::Value;

/// Stands for `$__rate_interval`, which Grafana replaces.
const RATE_INTERVAL: Duration = Duration::from_secs(4567);

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "dashboards"].iter().collect()
}

fn dashboards() -> Vec<(String, Value)> {
    let files = fs::read_dir(folder())
        .unwrap()
        .map(|file| file.unwrap().path());
    let found: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (
                name,
                serde_json::from_slice(&fs::read(path).unwrap()).unwrap(),
            )
        })
        .collect();
    assert!(found.len() >= 3, "{} dashboards", found.len());
    found
}

fn list<'a>(value: &'a Value, key: &str) -> Vec<&'a Value> {
    value[key].as_array().into_iter().flatten().collect()
}

/// Each panel with its place, rows left out.
fn panels(board: &(String, Value)) -> Vec<(String, &Value)> {
    let place = |panel: &Value| format!("{}, panel {}", board.0, panel["title"]);
    list(&board.1, "panels")
        .into_iter()
        .filter(|panel| panel["type"] != "row")
        .map(|panel| (place(panel), panel))
        .collect()
}

/// The names that recording rules give.
fn recorded() -> BTreeSet<String> {
    let rules = fs::read_to_string(folder().join("rules/recording.yml")).unwrap();
    let names = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- record: "));
    names.map(str::to_owned).collect()
}

/// The labels of a catalogued metric's series, if it is one.
fn labels(series: &str) -> Option<BTreeSet<&'static str>> {
    let metric = catalog::ALL.iter().find(|metric| {
        let suffix = series.strip_prefix(metric.name());
        match metric.kind() {
            "histogram" => suffix.is_some_and(|s| ["_bucket", "_sum", "_count"].contains(&s)),
            _ => suffix == Some(""),
        }
    })?;
    let further = ["run", "le", "instance"];
    Some(metric.labels().iter().copied().chain(further).collect())
}

/// Looks at each selector of a query.
struct Selectors<'a> {
    place: &'a str,
    recorded: &'a BTreeSet<String>,
    seen: usize,
}

impl Selectors<'_> {
    fn look_at(&mut self, selector: &VectorSelector) {
        let place = self.place;
        let name = selector.name.as_deref().unwrap_or_default();
        self.seen += 1;
        if self.recorded.contains(name) {
            return;
        }
        let known = labels(name).unwrap_or_else(|| panic!("{place}: no metric is named {name:?}"));
        for matcher in &selector.matchers.matchers {
            let label = matcher.name.as_str();
            assert!(
                known.contains(label),
                "{place}: {name} has no label {label}"
            );
        }
    }
}

impl ExprVisitor for Selectors<'_> {
    type Error = ();

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, ()> {
        match expr {
            Expr::VectorSelector(selector) => self.look_at(selector),
            Expr::MatrixSelector(selector) => {
                assert_eq!(
                    selector.range, RATE_INTERVAL,
                    "{}: not $__rate_interval",
                    self.place
                );
                self.look_at(&selector.vs);
            }
            _ => {}
        }
        Ok(true)
    }
}

#[test]
fn every_query_asks_for_catalogued_metrics_by_labels_that_they_have() {
    let recorded = recorded();
    for board in dashboards() {
        for (place, panel) in panels(&board) {
            let targets = list(panel, "targets");
            assert!(!targets.is_empty(), "{place} asks for nothing");
            for target in targets {
                let query = target["expr"].as_str().unwrap();
                let interval = format!("{}s", RATE_INTERVAL.as_secs());
                let asked = query.replace("$__rate_interval", &interval);
                let expr =
                    parser::parse(&asked).unwrap_or_else(|e| panic!("{place}: {query}: {e}"));
                let mut selectors = Selectors {
                    place: &place,
                    recorded: &recorded,
                    seen: 0,
                };
                walk_expr(&mut selectors, &expr).unwrap();
                assert!(selectors.seen > 0, "{place}: {query} asks for no metric");
            }
        }
    }
}

#[test]
fn rules_name_catalogued_metrics_only() {
    for file in ["recording.yml", "alerts.yml"] {
        let text = fs::read_to_string(folder().join("rules").join(file)).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
        let series: Vec<_> = words.filter(|word| word.starts_with("regatta_")).collect();
        assert!(!series.is_empty(), "{file}");
        for name in series {
            assert!(
                labels(name).is_some(),
                "{file}: no metric is named {name:?}"
            );
        }
    }
}

#[test]
fn every_panel_says_what_it_shows_and_in_which_unit() {
    for board in dashboards() {
        for (place, panel) in panels(&board) {
            let unit = &panel["fieldConfig"]["defaults"]["unit"];
            for text in [&panel["title"], &panel["description"], unit] {
                let text = text.as_str().unwrap_or_default();
                assert!(
                    !text.is_empty(),
                    "{place} lacks its title, description or unit"
                );
            }
            let sources = list(panel, "targets").into_iter().chain([panel]);
            for source in sources.map(|holder| &holder["datasource"]["uid"]) {
                assert_eq!(source, "${datasource}", "{place}");
            }
        }
    }
}

#[test]
fn dashboards_can_be_provisioned_anywhere() {
    let mut uids = BTreeSet::new();
    for (name, board) in dashboards() {
        assert_eq!(board["schemaVersion"], 41, "{name}");
        assert!(board["id"].is_null(), "{name}");
        let uid = board["uid"].as_str().unwrap().to_owned();
        assert!(uid.starts_with("regatta-") && uids.insert(uid), "{name}");
        let (sources, others): (Vec<_>, Vec<_>) = list(&board["templating"], "list")
            .into_iter()
            .partition(|variable| variable["type"] == "datasource");
        assert_eq!(sources.len(), 1, "{name}");
        assert_eq!(sources[0]["name"], "datasource", "{name}");
        for variable in others {
            assert_eq!(variable["datasource"]["uid"], "${datasource}", "{name}");
        }
    }
}

#[test]
fn panels_have_places_of_their_own() {
    for (name, board) in dashboards() {
        let mut ids = BTreeSet::new();
        let mut taken = BTreeSet::new();
        for panel in list(&board, "panels") {
            let number = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(
                ids.insert(panel["id"].as_u64()),
                "{name}: {}",
                panel["title"]
            );
            assert!(
                number("x") + number("w") <= 24,
                "{name}: {}",
                panel["title"]
            );
            for x in number("x")..number("x") + number("w") {
                for y in number("y")..number("y") + number("h") {
                    assert!(taken.insert((x, y)), "{name}: {} overlaps", panel["title"]);
                }
            }
        }
    }
}
