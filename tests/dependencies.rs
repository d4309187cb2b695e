//! The crates that a build takes in: their licences, where they come from, and which of them come
//! in two versions. `deny.toml` says what is allowed; cargo-deny reads it as well.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

/// The part of `deny.toml` that is checked here.
#[derive(Deserialize)]
struct Deny {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    skip: Vec<Skip>,
}

/// An older version that is there beside the newest.
#[derive(Deserialize)]
struct Skip {
    /// `name@version`.
    #[serde(rename = "crate")]
    package: String,
}

/// The part of `cargo metadata` that is checked here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

/// The packages that a build for the target takes in; `packages` also has others.
#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

fn deny() -> Deny {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml");
    toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn packages() -> Vec<Package> {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args([
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--offline",
    ]);
    for target in deny().graph.targets {
        command.args(["--filter-platform", &target]);
    }
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let metadata: Metadata = serde_json::from_slice(&output.stdout).unwrap();
    let used: BTreeSet<String> = metadata.resolve.nodes.into_iter().map(|n| n.id).collect();
    let packages = metadata.packages.into_iter();
    let packages: Vec<_> = packages.filter(|p| used.contains(&p.id)).collect();
    assert!(packages.len() > 100, "{} packages", packages.len());
    packages
}

#[test]
fn every_dependency_has_a_licence_that_is_allowed() {
    let allowed = deny().licenses.allow;
    let allowed: Vec<spdx::Licensee> = allowed
        .iter()
        .map(|licence| spdx::Licensee::parse(licence).unwrap())
        .collect();
    let refused: Vec<String> = packages()
        .into_iter()
        .filter(|package| {
            let Some(licence) = &package.license else {
                return true;
            };
            let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX).unwrap();
            !expression.evaluate(|wanted| allowed.iter().any(|known| known.satisfies(wanted)))
        })
        .map(|package| {
            format!(
                "{} {}: {:?}",
                package.name, package.version, package.license
            )
        })
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn every_dependency_comes_from_crates_io_or_this_project() {
    let registry = "registry+https://github.com/rust-lang/crates.io-index";
    for package in packages() {
        let known = match &package.source {
            Some(source) => source == registry,
            // The last one is in patches/.
            None => ["regatta", "regatta-actors", "regatta-cluster", "zip"]
                .contains(&package.name.as_str()),
        };
        assert!(known, "{} comes from {:?}", package.name, package.source);
    }
}

#[test]
fn no_dependency_is_there_in_two_versions_but_those_that_deny_toml_lists() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages() {
        let known = versions.entry(package.name).or_default();
        known.insert(package.version);
    }
    let skipped: BTreeSet<String> = deny().bans.skip.into_iter().map(|s| s.package).collect();
    let mut several = BTreeSet::new();
    for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
        let listed = |version: &&String| skipped.contains(&format!("{name}@{version}"));
        let others = versions.iter().filter(|version| !listed(version)).count();
        assert_eq!(
            others, 1,
            "{name} {versions:?}: list all but one in deny.toml"
        );
        several.extend(versions.iter().map(|version| format!("{name}@{version}")));
    }
    let stale: Vec<_> = skipped.difference(&several).collect();
    assert!(stale.is_empty(), "no longer there twice: {stale:?}");
}
