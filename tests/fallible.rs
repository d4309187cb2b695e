//! Calls of libtorch are those that return their errors: where memory runs out, the others panic, and
//! a lane cannot try again with less.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// Names of tch's that no other library in use has, without the `f_` of those that return errors.
const PANICKING: [&str; 23] = [
    ".copy()",
    ".grad()",
    ".zero_grad()",
    ".backward()",
    ".matmul(",
    ".to_kind(",
    ".to_device(",
    ".double_value(",
    ".int64_value(",
    ".set_requires_grad(",
    ".narrow(",
    ".index_select(",
    ".softmax(",
    ".view(",
    ".view_as(",
    ".unsqueeze(",
    ".detach()",
    "Tensor::cat(",
    "Tensor::stack(",
    "Tensor::zeros(",
    "Tensor::ones(",
    "Tensor::from_slice(",
    "Tensor::arange(",
];

/// Rust files below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// Whether a file has tests alone.
fn is_test(path: &Path) -> bool {
    let mut names = path.components().rev().map(|part| part.as_os_str());
    let file = names.next().is_some_and(|name| {
        let name = name.to_string_lossy();
        name == "tests.rs" || name.ends_with("_tests.rs")
    });
    file || names.any(|name| name == "tests")
}

/// The lines of a file with their numbers, up to its tests and without comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let code = text.split("#[cfg(test)]\nmod tests {").next();
    let lines = code.unwrap_or_default().lines().enumerate();
    lines.map(|(at, line)| (at + 1, line.split("//").next().unwrap_or_default()))
}

fn panicking(text: &str) -> Vec<String> {
    let calls = |line: &str| PANICKING.iter().any(|name| line.contains(name));
    let found = code(text).filter(|(_, line)| calls(line));
    found
        .map(|(at, line)| format!("{at}: {}", line.trim()))
        .collect()
}

#[test]
fn no_call_of_libtorch_panics() {
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    assert!(files.len() > 100);
    let mut found = Vec::new();
    for path in files.iter().filter(|path| !is_test(path)) {
        let calls = panicking(&fs::read_to_string(path).unwrap());
        found.extend(
            calls
                .iter()
                .map(|call| format!("{}:{call}", path.display())),
        );
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_call_that_panics_is_found_and_one_in_a_comment_or_a_test_is_not() {
    let text = "let a = b.matmul(&c);\n// b.matmul(&c)\nlet d = b.f_matmul(&c)?;\n\
                #[cfg(test)]\nmod tests {\n    b.matmul(&c);\n";
    assert_eq!(panicking(text), ["1: let a = b.matmul(&c);"]);
}
