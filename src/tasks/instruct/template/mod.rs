//! What a conversation looks like to a model. One template trains, evaluates and writes.
//!
//! * [`forms`]: templates by their names, [`named`] for a model's tokenizer.
//! * [`jinja`]: the model's own, in Jinja.

pub mod forms;
pub mod jinja;
pub mod named;

use std::fmt;
use std::str::FromStr;

use crate::data::error::DataError;
use crate::data::rendered::RenderedText;
use crate::data::tokenize::TextEncoder;
use crate::tasks::instruct::conversation::Conversation;
use crate::tasks::instruct::template::forms::{NAMED, NamedForm};
use crate::tasks::instruct::template::jinja::JinjaTemplate;
use crate::tasks::instruct::template::named::NamedTemplate;

/// The name of the model's own template.
const MODEL: &str = "model";

/// Which template is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateChoice {
    /// One of those with a name.
    Named(&'static NamedForm),
    /// The model's own.
    Model,
}

impl TemplateChoice {
    /// Stanford Alpaca's.
    pub const ALPACA: Self = Self::Named(&NAMED[0]);
    /// OpenAI's Chat Markup Language.
    pub const CHATML: Self = Self::Named(&NAMED[2]);
    /// A question after `Question:`, and its answer after `Answer:`.
    pub const QUESTION: Self = Self::Named(&NAMED[6]);

    /// The names that there are.
    #[must_use]
    pub fn names() -> String {
        let names = NAMED.iter().map(|form| form.name);
        names.chain([MODEL]).collect::<Vec<_>>().join(", ")
    }
}

impl FromStr for TemplateChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == MODEL {
            return Ok(Self::Model);
        }
        let found = NAMED.iter().find(|form| form.name == text);
        let unknown = || format!("there is no template `{text}`; known are {}", Self::names());
        found.map(Self::Named).ok_or_else(unknown)
    }
}

impl fmt::Display for TemplateChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Named(form) => form.name,
            Self::Model => MODEL,
        })
    }
}

/// A template that is ready for a model's tokenizer.
#[derive(Debug)]
pub enum Template<'a> {
    /// One of those with a name.
    Named(NamedTemplate<'a>),
    /// The model's own.
    Model(Box<JinjaTemplate<'a>>),
}

impl<'a> Template<'a> {
    /// The template for a model's tokenizer.
    ///
    /// # Errors
    /// If the model has none, or one that is not Jinja or does not render a question and an answer.
    pub fn new(choice: TemplateChoice, encoder: &'a TextEncoder) -> Result<Self, DataError> {
        let special = encoder.special_tokens()?;
        let refused = |reason: String| DataError::Template {
            template: choice.to_string(),
            place: None,
            reason,
        };
        match choice {
            TemplateChoice::Named(form) => Ok(Self::Named(NamedTemplate::new(form, special))),
            TemplateChoice::Model => {
                let Some(chat) = encoder.chat_template() else {
                    let file = encoder.file().display();
                    return Err(refused(format!(
                        "is the model's own, but {file} has none and nor have chat_template.jinja, \
                         tokenizer_config.json or chat_template.json beside it; give one of {}",
                        TemplateChoice::names()
                    )));
                };
                let template = JinjaTemplate::new(chat, special);
                let template = template.map_err(refused)?;
                Ok(Self::Model(Box::new(template)))
            }
        }
    }

    /// A conversation and its answer, if it is known, as the model reads them. Without an answer it
    /// ends where the answer begins.
    ///
    /// # Errors
    /// Why the template does not take the conversation.
    pub fn render(
        &self,
        conversation: &Conversation,
        answer: Option<&str>,
    ) -> Result<RenderedText, String> {
        match self {
            Self::Named(template) => template.render(conversation, answer),
            Self::Model(template) => template.render(conversation, answer),
        }
    }

    /// The token by which an answer ends, where it is the template's and not the model's.
    #[must_use]
    pub fn end_token(&self) -> Option<u32> {
        match self {
            Self::Named(template) => template.end_token(),
            Self::Model(template) => template.end_token(),
        }
    }

    /// What the user is to know of the template on this tokenizer.
    #[must_use]
    pub fn notice(&self) -> Option<String> {
        match self {
            Self::Named(template) => template.notice(),
            Self::Model(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_that_the_program_names_are_those_of_their_names() {
        for (choice, name) in [
            (TemplateChoice::ALPACA, "alpaca"),
            (TemplateChoice::CHATML, "chatml"),
            (TemplateChoice::QUESTION, "question"),
        ] {
            assert_eq!(choice.to_string(), name);
        }
    }

    #[test]
    fn a_template_is_found_by_its_name_and_an_unknown_one_is_refused_with_those_there_are() {
        for name in TemplateChoice::names().split(", ") {
            assert_eq!(name.parse::<TemplateChoice>().unwrap().to_string(), name);
        }
        let error = "zephyr".parse::<TemplateChoice>().unwrap_err();
        assert!(
            error.contains("`zephyr`") && error.contains("chatml"),
            "{error}"
        );
    }
}
