//! Texts that a model writes for prompts: what they are compared with, their scores, their files.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::file_error::FileError;
use crate::base::files;
use crate::data::schema::SplitName;
use crate::data::split::Split;
use crate::model::generate::{BeamSearch, Decoding};
use crate::tasks::metrics::generation::instance::Instance;
use crate::tasks::metrics::generation::meteor::Meteor;
use crate::tasks::metrics::generation::scores::{GenerationScores, evaluate};
use crate::tasks::metrics::info::MetricInfo;

/// How a task's texts are written where nothing else is said.
#[derive(Debug, Clone, Copy)]
pub struct TextDefaults {
    /// By beam search.
    pub search: BeamSearch,
    /// The most tokens of a text.
    pub max_new_tokens: u32,
}

/// The metrics of texts that are compared with their references word by word. The best round is chosen
/// by the one that every evaluation has; the others need texts.
pub const METRICS: &[MetricInfo] = &[
    MetricInfo::lower("perplexity"),
    MetricInfo::higher("bleu").titled("BLEU"),
    MetricInfo::higher("nist").titled("NIST"),
    MetricInfo::higher("meteor").titled("METEOR"),
    MetricInfo::higher("rouge_l").titled("ROUGE-L"),
    MetricInfo::higher("cider").titled("CIDEr"),
];

/// How and when a run's model writes texts.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationPlan {
    /// How each token is chosen.
    pub decoding: Decoding,
    /// The most tokens of a text.
    pub max_new_tokens: u32,
    /// After every N rounds; `None`: only after the last.
    pub every: Option<u32>,
    /// For the first N prompts; for all of them after the last round.
    pub limit: u64,
    /// METEOR's program, if it is there.
    pub meteor_jar: Option<PathBuf>,
}

impl GenerationPlan {
    /// METEOR's program.
    #[must_use]
    pub fn meteor(&self) -> Option<Meteor> {
        self.meteor_jar.clone().map(Meteor::new)
    }

    /// The number of prompts that texts are written for after a round, of `all` that there are;
    /// `None`: no text is written.
    #[must_use]
    pub fn prompts_after(&self, round: u32, last: u32, all: usize) -> Option<usize> {
        if round == last {
            return Some(all);
        }
        let every = self.every.filter(|every| round.is_multiple_of(*every));
        every.map(|_| usize::try_from(self.limit).map_or(all, |limit| limit.min(all)))
    }
}

/// A prompt of a split, with every answer that the split has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptWithAnswers<'a> {
    /// What a model reads.
    pub text: &'a str,
    /// What it may write; none where the answers are secret.
    pub references: Vec<&'a str>,
}

/// The prompts of a split, each once, in the order of their first examples.
#[must_use]
pub fn prompts(split: &Split) -> Vec<PromptWithAnswers<'_>> {
    let mut prompts: Vec<PromptWithAnswers<'_>> = Vec::new();
    let mut places = HashMap::new();
    for example in split.iter() {
        let at = *places.entry(example.text_a).or_insert_with(|| {
            prompts.push(PromptWithAnswers {
                text: example.text_a,
                references: Vec::new(),
            });
            prompts.len() - 1
        });
        let answer = example.text_b.unwrap_or_default().trim();
        if !answer.is_empty() {
            prompts[at].references.push(answer);
        }
    }
    prompts
}

/// A text that a model wrote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WrittenText {
    /// What it read.
    pub prompt: String,
    /// What it wrote, without the spaces around it.
    pub text: String,
    /// The score by which it was chosen, or the log-probability of a text that was drawn.
    pub score: f64,
    /// The right answers.
    pub references: Vec<String>,
}

/// The scores, by metric, of texts against their references; none where a text has no references,
/// or there is no text.
#[must_use]
pub fn score(texts: &[WrittenText], meteor: Option<&Meteor>) -> BTreeMap<String, f64> {
    let instance = |text: &WrittenText| Instance {
        output: text.text.clone(),
        references: text.references.clone(),
    };
    let instances: Vec<Instance> = texts.iter().map(instance).collect();
    let Ok(scores) = evaluate(&instances, meteor) else {
        return BTreeMap::new();
    };
    if let Some(failure) = &scores.meteor_failure {
        tracing::warn!("no METEOR: {failure}");
    }
    by_metric(&scores)
}

fn by_metric(scores: &GenerationScores) -> BTreeMap<String, f64> {
    let all = [
        ("bleu", Some(scores.bleu)),
        ("nist", Some(scores.nist)),
        ("meteor", scores.meteor),
        ("rouge_l", Some(scores.rouge_l)),
        ("cider", Some(scores.cider)),
    ];
    let known = all.into_iter();
    known
        .filter_map(|(name, score)| Some((name.to_owned(), score?)))
        .collect()
}

/// Writes texts as the E2E challenge's scripts read them: `NAME-SPLIT.txt` with one text a line, and
/// `NAME-SPLIT-references.txt` with a prompt's references on lines of their own, and an empty line
/// between prompts. The second only where all have references.
///
/// # Errors
/// If a file cannot be written. An earlier file of that name then stays as it was.
pub fn write(
    texts: &[WrittenText],
    task: &str,
    split: SplitName,
    folder: &Path,
) -> Result<(), FileError> {
    files::make_folder(folder)?;
    let lines: String = texts.iter().map(|text| line(&text.text)).collect();
    let path = |end: &str| folder.join(format!("{task}-{split}{end}.txt"));
    files::write_atomically(&path(""), lines.as_bytes())?;
    if texts.iter().all(|text| !text.references.is_empty()) {
        let block = |text: &WrittenText| text.references.iter().map(|it| line(it)).collect();
        let blocks: Vec<String> = texts.iter().map(block).collect();
        files::write_atomically(&path("-references"), blocks.join("\n").as_bytes())?;
    }
    Ok(())
}

/// A text in one line.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::split::Example;

    fn split(pairs: &[(&str, &str)]) -> Split {
        let mut split = Split::new(true, SplitName::Validation);
        for (id, (prompt, answer)) in (0..).zip(pairs) {
            split.push(Example {
                id,
                text_a: prompt,
                text_b: Some(answer),
                label: None,
            });
        }
        split
    }

    fn written(text: &str, references: &[&str]) -> WrittenText {
        WrittenText {
            prompt: "p".to_owned(),
            text: text.to_owned(),
            score: -1.0,
            references: references.iter().map(|it| (*it).to_owned()).collect(),
        }
    }

    #[test]
    fn a_prompt_is_there_once_with_all_its_answers() {
        let split = split(&[("a ->", " one"), ("b ->", " two"), ("a ->", " three")]);
        let found = prompts(&split);
        let expected = [("a ->", vec!["one", "three"]), ("b ->", vec!["two"])];
        for (prompt, (text, references)) in found.iter().zip(expected) {
            assert_eq!((prompt.text, &prompt.references), (text, &references));
        }
    }

    #[test]
    fn texts_without_references_have_no_scores_and_no_file_of_references() {
        let texts = [written("a pub", &[])];
        assert!(score(&texts, None).is_empty() && score(&[], None).is_empty());
        let folder = tempfile::tempdir().unwrap();
        write(&texts, "e2e", SplitName::Test, folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn files_have_a_text_a_line_and_an_empty_line_between_prompts() {
        let texts = [written("a\npub", &["x", "y\r\nz"]), written("", &["w"])];
        let folder = tempfile::tempdir().unwrap();
        write(&texts, "e2e", SplitName::Test, folder.path()).unwrap();
        let read = |name| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("e2e-test.txt"), "a pub\n\n");
        assert_eq!(read("e2e-test-references.txt"), "x\ny z\n\nw\n");
        let scores = score(&texts, None);
        let names: Vec<_> = scores.keys().map(String::as_str).collect();
        assert_eq!(names, ["bleu", "cider", "nist", "rouge_l"]);
    }
}
