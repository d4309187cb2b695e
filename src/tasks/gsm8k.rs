//! GSM8K: word problems of grade school (Cobbe et al., *Training Verifiers to Solve Math Word
//! Problems*, 2021). An answer is right if the number after its `####` is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::hub_error::HubError;
use crate::data::encoded::EncodedSplit;
use crate::data::error::DataError;
use crate::data::split::Split;
use crate::data::tokenize::TextEncoder;
use crate::model::objective::Objective;
use crate::tasks::instruct::answers::ChatAnswers;
use crate::tasks::instruct::source::InstructFiles;
use crate::tasks::instruct::template::TemplateChoice;
use crate::tasks::metrics::generation::meteor::Meteor;
use crate::tasks::metrics::info::MetricInfo;
use crate::tasks::texts::WrittenText;
use crate::tasks::{Outputs, ReadOptions, SharedTask, Task, TaskData};

const METRICS: &[MetricInfo] = &[
    MetricInfo::lower("perplexity"),
    MetricInfo::higher("exact_match").titled("exact match"),
];

const TRAIN: &str = "train.jsonl";

/// Folders within the one that is named, in which the files may be.
const FOLDERS: [&str; 2] = ["gsm8k", "grade_school_math/data"];

/// What is before the final number of an answer.
const MARK: &str = "####";

/// Word problems of grade school.
#[derive(Debug, Clone, Copy)]
pub struct Gsm8kTask {
    answers: ChatAnswers,
}

impl Default for Gsm8kTask {
    fn default() -> Self {
        Self {
            answers: ChatAnswers {
                template: Some(TemplateChoice::QUESTION),
                score,
            },
        }
    }
}

impl Task for Gsm8kTask {
    fn name(&self) -> &'static str {
        "gsm8k"
    }

    fn is_called(&self, name: &str) -> bool {
        name.eq_ignore_ascii_case("gsm8k")
    }

    fn objective(&self) -> Objective {
        Objective::NextToken
    }

    fn metrics(&self) -> &'static [MetricInfo] {
        METRICS
    }

    fn max_seq_length(&self) -> u32 {
        512
    }

    fn locate(&self, dir: &Path) -> Result<PathBuf, DataError> {
        let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|name| dir.join(name)).collect();
        folders.push(dir.to_owned());
        let found = folders.iter().find(|folder| folder.join(TRAIN).is_file());
        found.cloned().ok_or_else(|| DataError::Missing {
            task: "gsm8k",
            dir: dir.to_owned(),
            looked_for: folders.iter().map(|folder| folder.join(TRAIN)).collect(),
        })
    }

    fn is_on_hub(&self) -> bool {
        false
    }

    fn fetch(&self) -> Result<PathBuf, HubError> {
        Err(HubError::Fetch {
            repo: "openai/gsm8k".to_owned(),
            message: "download train.jsonl and test.jsonl of github.com/openai/grade-school-math, \
                      folder grade_school_math/data, and name their folder"
                .to_owned(),
        })
    }

    /// There is no validation split; a share of the training split is held out.
    fn read(&self, dir: &Path, options: &ReadOptions) -> Result<TaskData, DataError> {
        let folder = self.locate(dir)?;
        InstructFiles::find(&folder)?.read(&folder, options)
    }

    fn encode(
        &self,
        split: &Split,
        encoder: &TextEncoder,
        cache: Option<&Path>,
    ) -> Result<EncodedSplit, DataError> {
        self.answers.chat(encoder).encode(split, encoder, cache)
    }

    fn outputs(&self) -> Outputs<'_> {
        Outputs::Texts(&self.answers)
    }

    fn template(&self) -> Option<String> {
        self.answers.template.map(|template| template.to_string())
    }

    fn with_template(&self, name: &str) -> Option<Result<SharedTask, String>> {
        let with = |template| {
            let answers = self.answers.with_template(template);
            SharedTask(Arc::new(Self { answers }))
        };
        Some(name.parse().map(with))
    }

    fn settled(
        &self,
        _train: &Split,
        encoder: &TextEncoder,
    ) -> Result<Option<SharedTask>, DataError> {
        let chat = self.answers.chat(encoder);
        chat.warn_of_missing_tokens(encoder)?;
        Ok(None)
    }
}

/// The share of texts with the number of their reference.
fn score(written: &[WrittenText], _meteor: Option<&Meteor>) -> BTreeMap<String, f64> {
    if written.is_empty() || written.iter().any(|text| text.references.is_empty()) {
        return BTreeMap::new();
    }
    let right = written.iter().filter(|text| is_right(text)).count();
    let share = right as f64 / written.len() as f64;
    BTreeMap::from([("exact_match".to_owned(), share)])
}

fn is_right(text: &WrittenText) -> bool {
    let Some(found) = final_number(&text.text) else {
        return false;
    };
    let mut expected = text.references.iter().map(|it| final_number(it));
    expected.any(|it| it.as_ref() == Some(&found))
}

/// The number after the first `####`, as `grade_school_math/dataset.py` extracts it, without its
/// commas; and, as in the lm-evaluation-harness, without dollar signs and a full stop at its end.
fn final_number(text: &str) -> Option<String> {
    let (_, rest) = text.split_once(MARK)?;
    let rest = rest.trim_start().replace('$', "");
    let (sign, digits) = match rest.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", rest.as_str()),
    };
    let belongs = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',');
    let end = digits.find(|c| !belongs(c)).unwrap_or(digits.len());
    let number = digits[..end].replace(',', "");
    let number = number.trim_end_matches('.');
    let has_digit = number.contains(|c: char| c.is_ascii_digit());
    has_digit.then(|| format!("{sign}{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, reference: &str) -> WrittenText {
        WrittenText {
            prompt: "p".to_owned(),
            text: text.to_owned(),
            score: 0.0,
            references: vec![reference.to_owned()],
        }
    }

    #[test]
    fn the_final_number_is_that_behind_the_first_mark() {
        for (text, number) in [
            ("1 + 1 = <<1+1=2>>2\n#### 2", Some("2")),
            ("#### 1,234,567", Some("1234567")),
            ("#### $18.", Some("18")),
            ("#### -$5", Some("-5")),
            ("#### $-5", Some("-5")),
            ("#### 5-3", Some("5")),
            ("#### 0.5 hours", Some("0.5")),
            ("####7\n#### 8", Some("7")),
            ("#### none", None),
            ("#### .", None),
            ("the answer is 2", None),
        ] {
            assert_eq!(final_number(text).as_deref(), number, "{text}");
        }
    }

    #[test]
    fn a_text_is_right_if_its_number_is_whatever_is_before_it() {
        let texts = [
            written("so\n#### 1,000", "#### 1000"),
            written("#### 1001", "#### 1000"),
            written("1000", "#### 1000"),
            written("#### 5.", "x\n#### 5"),
        ];
        assert_eq!(score(&texts, None)["exact_match"], 0.5);
        assert!(score(&[], None).is_empty());
    }
}
