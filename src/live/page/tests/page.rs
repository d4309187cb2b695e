//! The page's files among each other.

use std::collections::BTreeSet;

use crate::live::page::assets::{ASSETS, Asset};

fn own() -> impl Iterator<Item = &'static Asset> {
    ASSETS
        .iter()
        .filter(|asset| !asset.path.starts_with("/uplot."))
}

fn content(path: &str) -> &'static str {
    let asset = ASSETS.iter().find(|asset| asset.path == path);
    asset
        .unwrap_or_else(|| panic!("there is no {path}"))
        .content
}

/// What stands between `before` and `after`, wherever that is.
fn between<'a>(text: &'a str, before: &'a str, after: char) -> impl Iterator<Item = &'a str> {
    let rest = text.split(before).skip(1);
    rest.filter_map(move |rest| rest.split_once(after).map(|(found, _)| found))
}

#[test]
fn nothing_is_loaded_from_anywhere_else() {
    for asset in own() {
        let text = asset.content.replace("http://www.w3.org/2000/svg", "");
        for outside in ["http://", "https://", "src=\"//", "@import", "url("] {
            assert!(!text.contains(outside), "{outside} in {}", asset.path);
        }
    }
}

#[test]
fn nothing_stands_in_the_document_that_the_policy_forbids() {
    let html = content("/");
    for inline in ["<style", " style=", "onclick=", "<script>"] {
        assert!(!html.contains(inline), "{inline}");
    }
    for asset in own() {
        for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "eval("] {
            assert!(!asset.content.contains(sink), "{sink} in {}", asset.path);
        }
    }
}

#[test]
fn every_file_that_is_named_is_there_and_none_is_left_over() {
    let mut named: BTreeSet<String> = ["/".to_owned()].into();
    let html = content("/");
    for attribute in ["href=\"", "src=\""] {
        let links = between(html, attribute, '"').filter(|link| !link.starts_with('#'));
        named.extend(links.map(|link| format!("/{link}")));
    }
    for asset in own() {
        named.extend(between(asset.content, "from \"./", '"').map(|file| format!("/{file}")));
    }
    let served: BTreeSet<String> = ASSETS.iter().map(|asset| asset.path.to_owned()).collect();
    assert_eq!(named, served);
}

#[test]
fn every_element_that_a_script_asks_for_is_in_the_document() {
    for asset in own() {
        for id in between(asset.content, "byId(\"", '"') {
            assert!(
                content("/").contains(&format!("id=\"{id}\"")),
                "{id} in {}",
                asset.path
            );
        }
    }
}
