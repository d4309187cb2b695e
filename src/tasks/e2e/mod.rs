//! E2E NLG: sentences about restaurants from their properties (Novikova et al., *The E2E Dataset:
//! New Challenges For End-to-End Generation*, 2017).
//!
//! * [`source`]: the official files, read into splits.
//! * [`slots`]: the properties that a meaning representation names.

pub mod slots;
pub mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::base::hub_error::HubError;
use crate::data::error::DataError;
use crate::model::generate::BeamSearch;
use crate::model::objective::Objective;
use crate::tasks::metrics::generation::meteor::Meteor;
use crate::tasks::metrics::info::MetricInfo;
use crate::tasks::texts::{self, TextDefaults, WrittenText};
use crate::tasks::{Outputs, ReadOptions, Task, TaskData, TextTask};

/// The E2E NLG challenge: a meaning representation is to be put into words.
#[derive(Debug, Clone, Copy)]
pub struct E2eTask;

impl Task for E2eTask {
    fn name(&self) -> &str {
        "e2e"
    }

    fn is_called(&self, name: &str) -> bool {
        ["e2e", "e2e_nlg", "e2e-nlg"]
            .iter()
            .any(|it| it.eq_ignore_ascii_case(name))
    }

    fn objective(&self) -> Objective {
        Objective::NextToken
    }

    fn metrics(&self) -> &[MetricInfo] {
        texts::METRICS
    }

    fn locate(&self, dir: &Path) -> Result<PathBuf, DataError> {
        source::locate(dir)
    }

    fn is_on_hub(&self) -> bool {
        false
    }

    fn fetch(&self) -> Result<PathBuf, HubError> {
        Err(HubError::Fetch {
            repo: "tuetschek/e2e_nlg".to_owned(),
            message: "the hub has a script there and no files; download the release of \
                      github.com/tuetschek/e2e-dataset and name its folder"
                .to_owned(),
        })
    }

    fn read(&self, dir: &Path, options: &ReadOptions) -> Result<TaskData, DataError> {
        source::read(dir, options)
    }

    fn outputs(&self) -> Outputs<'_> {
        Outputs::Texts(self)
    }

    fn prompt_parts<'a>(&self, prompt: &'a str) -> Vec<(&'a str, &'a str)> {
        slots::slots(prompt).collect()
    }
}

impl TextTask for E2eTask {
    /// Beam search as Hu et al. (*LoRA*, 2022) have it for E2E.
    fn defaults(&self) -> TextDefaults {
        TextDefaults {
            search: BeamSearch {
                width: 10,
                length_penalty: 0.8,
                no_repeat_ngram: 4,
            },
            max_new_tokens: 64,
        }
    }

    fn prompt(&self, text: &str) -> String {
        source::prompt(text)
    }

    fn score(&self, written: &[WrittenText], meteor: Option<&Meteor>) -> BTreeMap<String, f64> {
        texts::score(written, meteor)
    }
}
