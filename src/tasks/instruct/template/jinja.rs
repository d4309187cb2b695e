//! The model's own template, in Jinja, as transformers' `apply_chat_template` renders it (4.57,
//! `utils/chat_template_utils.py`): blocks are trimmed, strings have Python's methods, and there are
//! `raise_exception`, `strftime_now` and `tojson`.
//!
//! Two things differ. The date is always [`TODAY`], so that a run has the same tokens tomorrow. And
//! `{% generation %}`, by which a template marks the assistant's turns, is passed over: turns are
//! found by rendering the conversation up to each of them.

use std::fmt;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, context};
use minijinja_contrib::pycompat::unknown_method_callback;

use crate::data::rendered::{RenderedPart, RenderedText};
use crate::data::tokenizer::chat::ChatTemplate;
use crate::data::tokenizer::special::SpecialTokens;
use crate::tasks::instruct::conversation::{ChatMessage, Conversation, Speaker};

/// The day that templates are told: year, month and day. Llama 3.1's own, where it is told none.
pub const TODAY: (i16, i8, i8) = (2024, 7, 26);

/// Instructions after which a template is given up, such as one that never ends.
const FUEL: u64 = 10_000_000;

const NAME: &str = "chat_template";

/// A model's template, for its tokenizer.
pub struct JinjaTemplate<'a> {
    environment: Environment<'static>,
    chat: &'a ChatTemplate,
    special: &'a SpecialTokens,
    end: Option<u32>,
}

impl fmt::Debug for JinjaTemplate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.chat.file.display();
        write!(f, "JinjaTemplate({file})")
    }
}

impl<'a> JinjaTemplate<'a> {
    /// Reads a template.
    ///
    /// # Errors
    /// If it is not Jinja, or cannot render a question and its answer.
    pub(crate) fn new(chat: &'a ChatTemplate, special: &'a SpecialTokens) -> Result<Self, String> {
        let mut environment = Environment::new();
        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true);
        let syntax = syntax.build().map_err(|error| error.to_string())?;
        environment.set_syntax(syntax);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_filter("tojson", to_json);
        let file = chat.file.display();
        environment
            .add_template_owned(NAME, without_generation(&chat.source))
            .map_err(|error| format!("in {file} is not Jinja: {}", described(&error)))?;
        let mut template = Self {
            environment,
            chat,
            special,
            end: None,
        };
        let probe = template.render(&Conversation::of_question("a"), Some("b"))?;
        let answer = probe.parts.iter().rev().find(|part| part.counts);
        template.end = answer.and_then(|part| {
            let (_, last) = template.last_special(&part.text)?;
            Some(last)
        });
        Ok(template)
    }

    /// See [`Template::end_token`](super::Template::end_token).
    pub(crate) fn end_token(&self) -> Option<u32> {
        self.end
    }

    /// See [`Template::render`](super::Template::render). An answer is what the text through it
    /// adds to the text up to it.
    pub(crate) fn render(
        &self,
        conversation: &Conversation,
        answer: Option<&str>,
    ) -> Result<RenderedText, String> {
        let mut messages = conversation.messages(answer);
        for message in &mut messages {
            message.content = self.special.separated(&message.content);
        }
        let whole = self.text(&messages, answer.is_none())?;
        let mut parts = Vec::new();
        let mut start = 0;
        let all = messages.iter().enumerate();
        let answers = all.filter(|(_, message)| message.role == Speaker::Assistant);
        for (turn, (at, _)) in (1..).zip(answers) {
            let is_last = at + 1 == messages.len();
            let before = self.text(&messages[..at], true)?;
            let through = match is_last {
                true => whole.clone(),
                false => self.text(&messages[..=at], false)?,
            };
            // What is read begins where the answer before it ends, and no earlier.
            let read = before.get(start..);
            let Some(read) =
                read.filter(|_| whole.starts_with(&through) && through.starts_with(&before))
            else {
                return Err(self.no_prefix(turn));
            };
            let (said, space) = self.answer(&through[before.len()..]);
            let ends = is_last
                && self
                    .last_special(said)
                    .is_none_or(|(end, _)| end < said.len());
            parts.push(RenderedPart::read(read.to_owned()));
            parts.push(RenderedPart::learnt(said.to_owned(), ends));
            start = through.len() - space.len();
        }
        // What follows the last answer is of no use.
        if answer.is_none() {
            parts.push(RenderedPart::read(whole[start..].to_owned()));
        }
        Ok(RenderedText {
            parts,
            has_start: false,
        })
    }

    fn no_prefix(&self, turn: usize) -> String {
        format!(
            "in {} renders the text before the answer of turn {turn} otherwise once more follows, so \
             it cannot be told which tokens are the answer; give one of those with a name, such as \
             chatml, or conversations of one turn",
            self.chat.file.display()
        )
    }

    /// Splits what is rendered of an answer into the answer with the token that ends it, and white
    /// space after that.
    fn answer<'t>(&self, rendered: &'t str) -> (&'t str, &'t str) {
        match self.last_special(rendered) {
            Some((end, _)) if rendered[end..].trim().is_empty() => rendered.split_at(end),
            _ => (rendered, ""),
        }
    }

    /// The end of the last special token in a text, and its id.
    fn last_special(&self, text: &str) -> Option<(usize, u32)> {
        let (at, token) = self.special.matches(text).last()?;
        Some((at + token.content.len(), token.id))
    }

    /// The text of messages, with what an answer begins with if it is wanted.
    fn text(
        &self,
        messages: &[ChatMessage],
        add_generation_prompt: bool,
    ) -> Result<String, String> {
        let messages: Vec<Value> = messages
            .iter()
            .map(|it| context! { role => it.role.name(), content => it.content.as_str() })
            .collect();
        let values = context! {
            messages => messages,
            tools => (),
            documents => (),
            add_generation_prompt => add_generation_prompt,
            ..self.chat.tokens.clone()
        };
        let template = self.environment.get_template(NAME);
        let rendered = template.and_then(|template| template.render(values));
        rendered.map_err(|error| {
            let file = self.chat.file.display();
            match error.kind() {
                ErrorKind::InvalidOperation if error.detail().is_some_and(is_refusal) => {
                    let reason = error.detail().unwrap_or_default();
                    format!(
                        "in {file} {reason}; leave such a message out, or give another template"
                    )
                }
                _ => format!("in {file} cannot be rendered: {}", described(&error)),
            }
        })
    }
}

/// What begins an error that the template itself raises.
const REFUSAL: &str = "refuses the conversation: ";

fn is_refusal(detail: &str) -> bool {
    detail.starts_with(REFUSAL)
}

fn raise_exception(message: &str) -> Result<Value, Error> {
    Err(Error::new(
        ErrorKind::InvalidOperation,
        format!("{REFUSAL}{message}"),
    ))
}

fn strftime_now(format: &str) -> Result<String, Error> {
    let (year, month, day) = TODAY;
    let wrong = |error: jiff::Error| Error::new(ErrorKind::InvalidOperation, error.to_string());
    let today = jiff::civil::DateTime::new(year, month, day, 0, 0, 0, 0).map_err(wrong)?;
    jiff::fmt::strtime::format(format, today).map_err(wrong)
}

/// As Python's `json.dumps` with `ensure_ascii=False`.
fn to_json(value: &Value, options: Kwargs) -> Result<String, Error> {
    options.assert_all_used()?;
    let mut text = String::new();
    write_json(value, &mut text)?;
    Ok(text)
}

fn write_json(value: &Value, text: &mut String) -> Result<(), Error> {
    let quoted = |it: &str| serde_json::Value::from(it).to_string();
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => text.push_str("null"),
        ValueKind::Bool => text.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => text.push_str(&value.to_string()),
        ValueKind::Seq | ValueKind::Iterable => {
            text.push('[');
            for (at, item) in value.try_iter()?.enumerate() {
                text.push_str(if at > 0 { ", " } else { "" });
                write_json(&item, text)?;
            }
            text.push(']');
        }
        ValueKind::Map => {
            text.push('{');
            for (at, key) in value.try_iter()?.enumerate() {
                text.push_str(if at > 0 { ", " } else { "" });
                text.push_str(&quoted(&key.to_string()));
                text.push_str(": ");
                write_json(&value.get_item(&key)?, text)?;
            }
            text.push('}');
        }
        _ => text.push_str(&quoted(&value.to_string())),
    }
    Ok(())
}

/// What is wrong, and where.
fn described(error: &Error) -> String {
    let place = error.line().map(|line| format!(", line {line}"));
    let detail = error.detail().map(|detail| format!(": {detail}"));
    let (detail, place) = (detail.unwrap_or_default(), place.unwrap_or_default());
    format!("{}{detail}{place}", error.kind())
}

/// A template whose marks of the assistant's turns are conditions that always hold.
fn without_generation(source: &str) -> String {
    let mut whole = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, block)) = rest.split_once("{%") {
        let (inner, after) = block.split_once("%}").unwrap_or((block, ""));
        let has_end = inner.len() < block.len();
        whole.push_str(before);
        whole.push_str("{%");
        let word = inner.trim_matches(['-', '+']).trim();
        whole.push_str(&match word {
            "generation" => inner.replace(word, "if true"),
            "endgeneration" => inner.replace(word, "endif"),
            _ => inner.to_owned(),
        });
        whole.push_str(if has_end { "%}" } else { "" });
        rest = after;
    }
    whole + rest
}

#[cfg(test)]
mod tests;
