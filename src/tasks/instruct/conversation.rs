//! A conversation up to an answer: what a model reads. A split's first texts are conversations, its
//! second texts the answers to them.

use serde::{Deserialize, Serialize};

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// Who sets the rules, before all else.
    System,
    /// Who asks.
    User,
    /// Who answers: the model.
    Assistant,
}

impl Speaker {
    /// As templates spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// Something that is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// By whom.
    pub role: Speaker,
    /// What.
    pub content: String,
}

/// A question and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn(pub String, pub String);

/// A conversation up to an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// What the system says first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The turns before the last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<Turn>,
    /// The last question, or an instruction.
    pub question: String,
    /// What an instruction is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
}

impl Conversation {
    /// A question alone.
    #[must_use]
    pub fn of_question(question: &str) -> Self {
        Self {
            question: question.to_owned(),
            ..Self::default()
        }
    }

    /// As a split has it.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The conversation that a split has as this text; any other text is a question.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|_| Self::of_question(text))
    }

    /// The last question as one text: an instruction, and what it is about on lines of its own.
    #[must_use]
    pub fn last(&self) -> String {
        match &self.input {
            Some(input) => format!("{}\n{input}", self.question),
            None => self.question.clone(),
        }
    }

    /// All that is said, and the answer if it is known.
    #[must_use]
    pub fn messages(&self, answer: Option<&str>) -> Vec<ChatMessage> {
        let message = |role, content: &str| ChatMessage {
            role,
            content: content.to_owned(),
        };
        let system = self.system.iter();
        let mut messages: Vec<ChatMessage> =
            system.map(|it| message(Speaker::System, it)).collect();
        for Turn(question, answer) in &self.turns {
            messages.push(message(Speaker::User, question));
            messages.push(message(Speaker::Assistant, answer));
        }
        messages.push(message(Speaker::User, &self.last()));
        messages.extend(answer.map(|it| message(Speaker::Assistant, it)));
        messages
    }

    /// For people: the question alone where there is nothing else.
    #[must_use]
    pub fn shown(&self) -> String {
        if self.system.is_none() && self.turns.is_empty() {
            return self.last();
        }
        let line = |it: ChatMessage| format!("{}: {}", it.role.name(), it.content);
        let lines: Vec<String> = self.messages(None).into_iter().map(line).collect();
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_comes_back_from_its_text_and_other_text_is_a_question() {
        let whole = Conversation {
            system: Some("Be brief.".to_owned()),
            turns: vec![Turn("Hi".to_owned(), "Hello".to_owned())],
            question: "{\"x\": 1}".to_owned(),
            input: Some("é\n".to_owned()),
        };
        assert_eq!(Conversation::of_text(&whole.to_text()), whole);
        for text in ["2 + 2?", "{\"x\": 1}", "7"] {
            assert_eq!(Conversation::of_text(text), Conversation::of_question(text));
            let question = Conversation::of_question(text);
            assert_eq!(Conversation::of_text(&question.to_text()), question);
        }
    }

    #[test]
    fn people_see_the_question_alone_or_who_said_what() {
        assert_eq!(Conversation::of_question("2 + 2?").shown(), "2 + 2?");
        let two = Conversation {
            turns: vec![Turn("Hi".to_owned(), "Hello".to_owned())],
            ..Conversation::of_question("2 + 2?")
        };
        assert_eq!(two.shown(), "user: Hi\nassistant: Hello\nuser: 2 + 2?");
        assert_eq!(two.messages(Some("4")).len(), 4);
    }
}
