//! Instructions and conversations, of any origin, by any template.
//!
//! * [`conversation`]: what a model reads up to an answer.
//! * `record`: records of data files as conversations.
//! * [`source`]: data files as splits.
//! * [`template`]: what a conversation looks like to a model.
//! * [`chat`]: splits of conversations as tokens.
//! * [`answers`]: how a model answers them.

pub mod answers;
pub mod chat;
pub mod conversation;
pub(crate) mod record;
pub mod source;
pub mod template;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::hub_error::HubError;
use crate::data::encoded::EncodedSplit;
use crate::data::error::DataError;
use crate::data::split::Split;
use crate::data::tokenize::TextEncoder;
use crate::model::objective::Objective;
use crate::tasks::instruct::answers::ChatAnswers;
use crate::tasks::instruct::chat::Chat;
use crate::tasks::instruct::conversation::Conversation;
use crate::tasks::instruct::source::InstructFiles;
use crate::tasks::instruct::template::TemplateChoice;
use crate::tasks::metrics::info::MetricInfo;
use crate::tasks::{Outputs, ReadOptions, SharedTask, Task, TaskData, texts};

/// Instructions, or conversations, with their answers.
#[derive(Debug, Clone)]
pub struct InstructTask {
    /// The files of each split; `None`: those of the folder that is named.
    files: Option<InstructFiles>,
    /// Without a template until it is settled.
    answers: ChatAnswers,
}

impl Default for InstructTask {
    fn default() -> Self {
        Self {
            files: None,
            answers: ChatAnswers {
                template: None,
                score: texts::score,
            },
        }
    }
}

impl InstructTask {
    /// A task with files of its own, whatever folder a run names.
    #[must_use]
    pub fn new(files: InstructFiles) -> Self {
        Self {
            files: Some(files),
            ..Self::default()
        }
    }

    /// The same with this template.
    fn with(&self, template: TemplateChoice) -> SharedTask {
        SharedTask(Arc::new(Self {
            files: self.files.clone(),
            answers: self.answers.with_template(template),
        }))
    }

    /// The template of a model and these examples, where no other is named.
    fn default_template(train: &Split, encoder: &TextEncoder) -> (TemplateChoice, &'static str) {
        if encoder.chat_template().is_some() {
            return (TemplateChoice::Model, "it is the model's own");
        }
        let mut conversations = train.iter().map(|it| Conversation::of_text(it.text_a));
        match conversations.any(|it| it.system.is_some() || !it.turns.is_empty()) {
            true => (
                TemplateChoice::CHATML,
                "the model has none of its own, and there are conversations",
            ),
            false => (TemplateChoice::ALPACA, "the model has none of its own"),
        }
    }
}

impl Task for InstructTask {
    fn name(&self) -> &'static str {
        "instruct"
    }

    fn is_called(&self, name: &str) -> bool {
        name.eq_ignore_ascii_case("instruct")
    }

    fn objective(&self) -> Objective {
        Objective::NextToken
    }

    fn metrics(&self) -> &'static [MetricInfo] {
        texts::METRICS
    }

    fn max_seq_length(&self) -> u32 {
        512
    }

    fn locate(&self, dir: &Path) -> Result<PathBuf, DataError> {
        InstructFiles::find(dir).map(|_| dir.to_owned())
    }

    fn is_on_hub(&self) -> bool {
        false
    }

    fn fetch(&self) -> Result<PathBuf, HubError> {
        Err(HubError::Fetch {
            repo: "instruct".to_owned(),
            message: "name a file of JSON or JSON lines, or a folder of them, with --data"
                .to_owned(),
        })
    }

    fn read(&self, dir: &Path, options: &ReadOptions) -> Result<TaskData, DataError> {
        match &self.files {
            Some(files) => files.read(dir, options),
            None => InstructFiles::find(dir)?.read(dir, options),
        }
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
        Some(name.parse().map(|template| self.with(template)))
    }

    fn settled(
        &self,
        train: &Split,
        encoder: &TextEncoder,
    ) -> Result<Option<SharedTask>, DataError> {
        let choice = self.answers.template.unwrap_or_else(|| {
            let (choice, why) = Self::default_template(train, encoder);
            tracing::warn!("the template is {choice}: {why}; choose another with --template");
            choice
        });
        Chat(choice).warn_of_missing_tokens(encoder)?;
        Ok(Some(self.with(choice)))
    }
}
