//! Instructions and conversations, of any origin, by any template.
//!
//! * [`conversation`]: what a model reads up to an answer.
//! * `record`: records of data files as conversations.
//! * [`source`]: data files as splits.
//! * [`template`]: what a conversation looks like to a model.
//! * [`chat`]: splits of conversations as tokens.

pub mod chat;
pub mod conversation;
pub(crate) mod record;
pub mod source;
pub mod template;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::hub_error::HubError;
use crate::data::encoded::EncodedSplit;
use crate::data::error::DataError;
use crate::data::split::Split;
use crate::data::tokenize::TextEncoder;
use crate::model::generate::BeamSearch;
use crate::model::objective::Objective;
use crate::tasks::instruct::chat::Chat;
use crate::tasks::instruct::conversation::Conversation;
use crate::tasks::instruct::source::InstructFiles;
use crate::tasks::instruct::template::{Template, TemplateChoice};
use crate::tasks::metrics::generation::meteor::Meteor;
use crate::tasks::metrics::info::MetricInfo;
use crate::tasks::texts::{self, TextDefaults, WrittenText};
use crate::tasks::{Outputs, ReadOptions, SharedTask, Task, TaskData, TextTask};

/// Greedy decoding.
pub const GREEDY: BeamSearch = BeamSearch {
    width: 1,
    length_penalty: 1.0,
    no_repeat_ngram: 0,
};

/// The most tokens of an answer, where nothing else is said.
pub const MAX_NEW_TOKENS: u32 = 256;

/// Instructions, or conversations, with their answers.
#[derive(Debug, Clone, Default)]
pub struct InstructTask {
    /// The files of each split; `None`: those of the folder that is named.
    files: Option<InstructFiles>,
    /// `None`: the model's own template or, where it has none, alpaca, or chatml for conversations.
    template: Option<TemplateChoice>,
}

impl InstructTask {
    /// A task with files of its own, whatever folder a run names.
    #[must_use]
    pub fn new(files: InstructFiles, template: Option<TemplateChoice>) -> Self {
        Self {
            files: Some(files),
            template,
        }
    }

    /// The template of a model, where no other is named.
    fn chat(&self, encoder: &TextEncoder) -> Chat {
        let own = encoder.chat_template().map(|_| TemplateChoice::Model);
        Chat(self.template.or(own).unwrap_or(TemplateChoice::ALPACA))
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
        self.chat(encoder).encode(split, encoder, cache)
    }

    fn outputs(&self) -> Outputs<'_> {
        Outputs::Texts(self)
    }

    fn template(&self) -> Option<String> {
        self.template.map(|template| template.to_string())
    }

    fn with_template(&self, name: &str) -> Option<Result<SharedTask, String>> {
        let with = |template| {
            let files = self.files.clone();
            let template = Some(template);
            SharedTask(Arc::new(Self { files, template }))
        };
        Some(name.parse().map(with))
    }

    fn settled(
        &self,
        train: &Split,
        encoder: &TextEncoder,
    ) -> Result<Option<SharedTask>, DataError> {
        let choice = self.template.unwrap_or_else(|| {
            let (choice, why) = Self::default_template(train, encoder);
            tracing::warn!("the template is {choice}: {why}; --template names another");
            choice
        });
        if let Some(notice) = Template::new(choice, encoder)?.notice() {
            tracing::warn!("{notice}");
        }
        Ok(Some(SharedTask(Arc::new(Self {
            files: self.files.clone(),
            template: Some(choice),
        }))))
    }
}

impl TextTask for InstructTask {
    fn defaults(&self) -> TextDefaults {
        TextDefaults {
            search: GREEDY,
            max_new_tokens: MAX_NEW_TOKENS,
        }
    }

    fn prompt(&self, text: &str) -> String {
        Conversation::of_question(text).to_text()
    }

    fn shown(&self, prompt: &str) -> String {
        Conversation::of_text(prompt).shown()
    }

    fn encode_prompts(
        &self,
        prompts: &[&str],
        encoder: &TextEncoder,
    ) -> Result<Vec<Vec<u32>>, DataError> {
        self.chat(encoder).encode_prompts(prompts, encoder)
    }

    fn end_tokens(&self, encoder: &TextEncoder) -> Result<Vec<u32>, DataError> {
        self.chat(encoder).end_tokens(encoder)
    }

    fn score(&self, written: &[WrittenText], meteor: Option<&Meteor>) -> BTreeMap<String, f64> {
        texts::score(written, meteor)
    }
}
