//! Records of data files as conversations with their answers.
//!
//! * An instruction, what it is about, and the answer: `instruction`, `input`, `output` (Alpaca),
//!   `instruction`, `context`, `response` (Dolly), `question`, `answer` (GSM8K), `query`, `response`
//!   (MetaMathQA), `prompt`, `completion`; or `input` and `output` alone.
//! * Messages, each with who says it and what: `messages` with `role` and `content`, or
//!   `conversations` with `from` and `value` (ShareGPT).

use serde_json::{Map, Value};

use crate::base::file_error::FileError;
use crate::data::error::{DataError, SourceSpan};
use crate::data::rendered::SEPARATOR;
use crate::tasks::instruct::conversation::{Conversation, Speaker, Turn};

/// Keys of the same thing, the first by which an error names it.
const INSTRUCTION: &[&str] = &["instruction", "question", "query", "prompt"];
const INPUT: &[&str] = &["input", "context"];
const OUTPUT: &[&str] = &["output", "response", "answer", "completion"];
const MESSAGES: &[&str] = &["messages", "conversations"];
const ROLE: &[&str] = &["role", "from"];
const CONTENT: &[&str] = &["content", "value"];

/// What speakers are called, by ShareGPT too.
const ROLES: [(&str, Speaker); 6] = [
    ("system", Speaker::System),
    ("user", Speaker::User),
    ("human", Speaker::User),
    ("assistant", Speaker::Assistant),
    ("gpt", Speaker::Assistant),
    ("model", Speaker::Assistant),
];

/// A record with its place.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a> {
    pub fields: &'a Map<String, Value>,
    pub place: &'a SourceSpan,
    /// Whether there may be no answer.
    pub may_lack_answer: bool,
}

impl Record<'_> {
    /// The conversation and its answer, which only a test split may lack.
    ///
    /// # Errors
    /// If a key is missing, holds no text, or an empty one; or roles are out of order.
    pub fn conversation(&self) -> Result<(Conversation, Option<String>), DataError> {
        let (conversation, answer) = match find(self.fields, MESSAGES) {
            Some((key, value)) => self.of_messages(key, value)?,
            None => self.of_instruction()?,
        };
        if answer.is_none() && !self.may_lack_answer {
            return Err(self.wrong("there is no answer to learn: the last message is the user's"));
        }
        Ok((conversation, answer))
    }

    /// Whether an instruction's answer is there and empty, as some are in Alpaca's own set: there is
    /// nothing to learn from it, and it says nothing of the others.
    pub fn has_empty_output(&self) -> bool {
        let is_empty = |value: &Value| value.as_str().is_some_and(is_blank);
        !self.may_lack_answer
            && find(self.fields, MESSAGES).is_none()
            && find(self.fields, OUTPUT).is_some_and(|(_, output)| is_empty(output))
    }

    fn of_instruction(&self) -> Result<(Conversation, Option<String>), DataError> {
        let input = self.text(self.fields, INPUT)?;
        let (instruction, input) = match self.text(self.fields, INSTRUCTION)? {
            Some(instruction) => (instruction, input),
            None => (input.ok_or_else(|| self.missing("instruction"))?, None),
        };
        let is_given = |(_, text): &(&str, String)| !self.may_lack_answer || !is_blank(text);
        let output = match self.text(self.fields, OUTPUT)? {
            None if !self.may_lack_answer => return Err(self.missing("output")),
            output => output.filter(is_given),
        };
        let conversation = Conversation {
            input: input.map(|(_, text)| text).filter(|text| !is_blank(text)),
            ..Conversation::of_question(&self.filled(instruction)?)
        };
        let answer = output.map(|output| self.filled(output)).transpose()?;
        Ok((conversation, answer))
    }

    fn of_messages(
        &self,
        key: &str,
        value: &Value,
    ) -> Result<(Conversation, Option<String>), DataError> {
        let Some(list) = value.as_array() else {
            return Err(self.wrong(format!("`{key}` is not a list of messages")));
        };
        let mut conversation = Conversation::default();
        let mut question: Option<String> = None;
        let mut answer = None;
        for (number, message) in (1..).zip(list) {
            let (role, content) = self.message(number, message)?;
            let out_of_order = |expected: &str| {
                self.wrong(format!(
                    "message {number} is the {}'s, expected {expected}",
                    role.name()
                ))
            };
            match (role, question.take()) {
                (Speaker::System, None) if number == 1 => conversation.system = Some(content),
                (Speaker::System, _) => {
                    return Err(out_of_order("only the first to be the system's"));
                }
                (Speaker::User, None) => {
                    if let Some(given) = answer.take() {
                        let asked = std::mem::take(&mut conversation.question);
                        conversation.turns.push(Turn(asked, given));
                    }
                    question = Some(content);
                }
                (Speaker::User, Some(_)) => return Err(out_of_order("the assistant's answer")),
                (Speaker::Assistant, Some(asked)) => {
                    conversation.question = asked;
                    answer = Some(content);
                }
                (Speaker::Assistant, None) => return Err(out_of_order("the user's")),
            }
        }
        match (question, &answer) {
            // The last question has no answer.
            (Some(asked), _) => conversation.question = asked,
            (None, None) => return Err(self.wrong(format!("`{key}` has no message of the user's"))),
            (None, Some(_)) => {}
        }
        Ok((conversation, answer))
    }

    fn message(&self, number: usize, message: &Value) -> Result<(Speaker, String), DataError> {
        let in_message = |error: DataError| match error {
            DataError::File(FileError::Content { path, line, reason }) => FileError::Content {
                path,
                line,
                reason: format!("message {number}: {reason}"),
            }
            .into(),
            error => error,
        };
        let Some(fields) = message.as_object() else {
            return Err(self.wrong(format!("message {number} is not an object")));
        };
        let missing = |keys: &[&str]| {
            let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
            self.wrong(format!("message {number} has no {}", keys.join(" or ")))
        };
        let role = self.text(fields, ROLE).map_err(in_message)?;
        let (_, role) = role.ok_or_else(|| missing(ROLE))?;
        let known = ROLES.iter().find(|(name, _)| *name == role);
        let known = known.ok_or_else(|| {
            self.wrong(format!(
                "message {number} has the role `{role}`, expected system, user or assistant"
            ))
        })?;
        let content = self.text(fields, CONTENT).map_err(in_message)?;
        let content = content.ok_or_else(|| missing(CONTENT))?;
        Ok((known.1, self.filled(content).map_err(in_message)?))
    }

    /// The text under one of these keys, with the key.
    fn text<'a>(
        &self,
        fields: &'a Map<String, Value>,
        keys: &[&str],
    ) -> Result<Option<(&'a str, String)>, DataError> {
        match find(fields, keys) {
            None => Ok(None),
            Some((key, Value::String(text))) if text.contains(SEPARATOR) => Err(self.wrong(
                format!("`{key}` holds U+FDD0, which is not a character; remove it"),
            )),
            Some((key, Value::String(text))) => Ok(Some((key, text.clone()))),
            Some((key, other)) => Err(self.wrong(format!("`{key}` is {other}, expected text"))),
        }
    }

    fn filled(&self, (key, text): (&str, String)) -> Result<String, DataError> {
        match is_blank(&text) {
            true => Err(self.wrong(format!("`{key}` is empty, expected text"))),
            false => Ok(text),
        }
    }

    /// The error of a key that is not there, or is `null`.
    pub fn missing(&self, key: &str) -> DataError {
        let given = self.fields.iter().filter(|(_, value)| !value.is_null());
        DataError::MissingKey {
            place: self.place.clone(),
            key: key.to_owned(),
            available: given.map(|(key, _)| key.clone()).collect(),
        }
    }

    fn wrong(&self, reason: impl Into<String>) -> DataError {
        DataError::File(FileError::Content {
            path: self.place.path.clone(),
            line: Some(self.place.line),
            reason: reason.into(),
        })
    }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// The first of these keys that is there and not `null`, with its value: records of several sets put
/// together have the keys of all.
fn find<'a>(fields: &'a Map<String, Value>, keys: &[&str]) -> Option<(&'a str, &'a Value)> {
    let mut found = keys.iter().filter_map(|key| fields.get_key_value(*key));
    let (key, value) = found.find(|(_, value)| !value.is_null())?;
    Some((key.as_str(), value))
}

#[cfg(test)]
mod tests;
