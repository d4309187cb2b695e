//! Scores and tokens of generated texts, against reference values of the official scripts.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::{Path, PathBuf};

use regatta::tasks::metrics::generation::cider::cider_of_each;
use regatta::tasks::metrics::generation::corpus::Corpus;
use regatta::tasks::metrics::generation::instance::Instance;
use regatta::tasks::metrics::generation::mteval::{Script, mteval_tokens};
use regatta::tasks::metrics::generation::ptb::{coco_tokens, ptb_tokens};
use regatta::tasks::metrics::generation::rouge_l::rouge_l_of;
use regatta::tasks::metrics::generation::scores::evaluate;
use serde::Deserialize;

/// The folder of reference values for text: in `REGATTA_GOLDEN`, or beside the project.
fn golden() -> Option<PathBuf> {
    let named = std::env::var_os("REGATTA_GOLDEN").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/golden");
    let folder = named.unwrap_or(beside).join("nlg");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no reference values in {}", folder.display());
    None
}

#[derive(Deserialize)]
struct Expected {
    references_file: String,
    #[serde(rename = "BLEU")]
    bleu: f64,
    #[serde(rename = "NIST")]
    nist: f64,
    #[serde(rename = "BLEU_perl")]
    bleu_perl: f64,
    #[serde(rename = "NIST_perl")]
    nist_perl: f64,
    #[serde(rename = "ROUGE_L")]
    rouge_l: f64,
    #[serde(rename = "CIDEr")]
    cider: f64,
    per_instance: PerInstance,
}

#[derive(Deserialize)]
struct PerInstance {
    #[serde(rename = "ROUGE_L")]
    rouge_l: Vec<f64>,
    #[serde(rename = "CIDEr")]
    cider: Vec<f64>,
}

/// A set of outputs with its references; none if these are elsewhere and not there.
fn instances(set: &Path, references: &str) -> Option<Vec<Instance>> {
    let references = if references.ends_with(".csv") {
        // From the folder that holds the reference values.
        let file = set.join("../../..").join(references);
        if !file.exists() {
            eprintln!("skipped: {} needs {}", set.display(), file.display());
            return None;
        }
        by_meaning(&file)
    } else {
        by_paragraph(&fs::read_to_string(set.join(references)).unwrap())
    };
    let outputs = fs::read_to_string(set.join("system.txt")).unwrap();
    let outputs: Vec<&str> = outputs.strip_suffix('\n').unwrap().split('\n').collect();
    assert_eq!(outputs.len(), references.len(), "{}", set.display());
    let instance = |(output, references): (&str, _)| Instance {
        output: output.to_owned(),
        references,
    };
    Some(outputs.into_iter().zip(references).map(instance).collect())
}

/// Rows of one meaning lie together.
fn by_meaning(file: &Path) -> Vec<Vec<String>> {
    let mut rows = csv::Reader::from_path(file).unwrap();
    let rows: Vec<(String, String)> = rows.deserialize().map(Result::unwrap).collect();
    let meanings = rows.chunk_by(|a, b| a.0 == b.0);
    meanings
        .map(|rows| rows.iter().map(|row| row.1.clone()).collect())
        .collect()
}

/// Instances are parted by empty lines; without any, each line is one.
fn by_paragraph(text: &str) -> Vec<Vec<String>> {
    let text = text.strip_suffix('\n').unwrap();
    let parting = if text.contains("\n\n") { "\n\n" } else { "\n" };
    let lines = |part: &str| part.split('\n').map(str::to_owned).collect();
    text.split(parting).map(lines).collect()
}

fn assert_near(what: &str, got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (place, (got, expected)) in got.iter().zip(expected).enumerate() {
        let difference = (got - expected).abs();
        assert!(
            difference < 1e-9,
            "{what}, value {place}: {got}, expected {expected}"
        );
    }
}

#[test]
fn golden_nlg_scores_within_a_billionth() {
    let Some(golden) = golden() else { return };
    let mut compared = 0;
    for entry in fs::read_dir(golden).unwrap() {
        let set = entry.unwrap().path();
        let Ok(expected) = fs::read(set.join("expected.json")) else {
            continue;
        };
        let expected: Expected = serde_json::from_slice(&expected).unwrap();
        let Some(instances) = instances(&set, &expected.references_file) else {
            continue;
        };
        let name = set.display().to_string();
        let scores = evaluate(&instances, None).unwrap();
        assert_near(
            &format!("{name}: BLEU, NIST, those of Perl, ROUGE-L, CIDEr"),
            &[
                scores.bleu,
                scores.nist,
                scores.bleu_perl,
                scores.nist_perl,
                scores.rouge_l,
                scores.cider,
            ],
            &[
                expected.bleu,
                expected.nist,
                expected.bleu_perl,
                expected.nist_perl,
                expected.rouge_l,
                expected.cider,
            ],
        );
        let corpus = Corpus::new(&instances, coco_tokens);
        let rouge_l: Vec<f64> = corpus.instances.iter().map(rouge_l_of).collect();
        let expected = expected.per_instance;
        assert_near(&format!("{name}: ROUGE-L"), &rouge_l, &expected.rouge_l);
        let cider = cider_of_each(&corpus);
        assert_near(&format!("{name}: CIDEr"), &cider, &expected.cider);
        compared += 1;
    }
    assert!(compared >= 10, "only {compared} sets were there to compare");
}

#[derive(Deserialize)]
struct Tokens {
    text: String,
    ptb: Vec<String>,
    mteval: Vec<String>,
}

#[test]
fn golden_nlg_tokens_are_the_official_ones() {
    let Some(golden) = golden() else { return };
    let lines = fs::read_to_string(golden.join("tokens.jsonl")).unwrap();
    let mut compared = 0;
    for line in lines.lines() {
        let expected: Tokens = serde_json::from_str(line).unwrap();
        let text = &expected.text;
        assert_eq!(ptb_tokens(text), expected.ptb, "{text}");
        let mteval = mteval_tokens(text, Script::Python);
        assert_eq!(mteval, expected.mteval, "{text}");
        compared += 1;
    }
    assert!(
        compared >= 100,
        "only {compared} lines were there to compare"
    );
}
