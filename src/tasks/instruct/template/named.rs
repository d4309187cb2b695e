//! Templates by their names, for a model's tokenizer; [`forms`](super::forms) lists them.

use crate::data::rendered::{RenderedPart, RenderedText};
use crate::data::tokenizer::special::SpecialTokens;
use crate::tasks::instruct::conversation::{Conversation, Speaker};
use crate::tasks::instruct::template::forms::{End, NamedForm, Question, System};

/// A template with a name, for a model's tokenizer.
#[derive(Debug)]
pub struct NamedTemplate<'a> {
    form: &'static NamedForm,
    special: &'a SpecialTokens,
    /// The token by which an answer ends, if the tokenizer has it.
    end: Option<(&'static str, u32)>,
    /// Special tokens that the tokenizer lacks.
    missing: Vec<&'static str>,
}

impl<'a> NamedTemplate<'a> {
    /// Fits a form to a tokenizer.
    #[must_use]
    pub(crate) fn new(form: &'static NamedForm, special: &'a SpecialTokens) -> Self {
        let id = |token: &'static str| Some((token, special.find(token)?.id));
        let end = match form.end {
            End::Token(token) => id(token),
            End::Model => None,
        };
        let is_missing = |token: &&&str| special.find(token).is_none();
        Self {
            form,
            special,
            end,
            missing: form.special.iter().filter(is_missing).copied().collect(),
        }
    }

    /// See [`Template::end_token`](super::Template::end_token).
    pub(crate) fn end_token(&self) -> Option<u32> {
        self.end.map(|(_, id)| id)
    }

    /// See [`Template::notice`](super::Template::notice).
    pub(crate) fn notice(&self) -> Option<String> {
        let [first, others @ ..] = &*self.missing else {
            return None;
        };
        let others: String = others.iter().map(|token| format!(" and {token}")).collect();
        Some(format!(
            "the template {} has {first}{others}, which the model's tokenizer lacks: they are \
             spelled in ordinary tokens, and an answer ends with {}",
            self.form.name,
            match self.end {
                Some((token, _)) => token,
                None => "the model's own end token",
            }
        ))
    }

    /// See [`Template::render`](super::Template::render).
    pub(crate) fn render(
        &self,
        conversation: &Conversation,
        answer: Option<&str>,
    ) -> Result<RenderedText, String> {
        let form = self.form;
        let mut read = self.start();
        let mut parts = Vec::new();
        let system = self.system(conversation.system.as_deref(), &mut read)?;
        if let Question::Instruction { .. } = form.question
            && !conversation.turns.is_empty()
        {
            return Err(
                "has room for one question; give a template of several turns, such as vicuna or \
                 chatml"
                    .to_owned(),
            );
        }
        let mut first = system;
        for turn in &conversation.turns {
            read.push_str(&self.question(first.take(), &turn.0, None));
            parts.push(RenderedPart::read(std::mem::take(&mut read)));
            parts.push(self.answer(&turn.1));
            read.push_str(form.after_answer);
        }
        let input = conversation.input.as_deref();
        read.push_str(&self.question(first.take(), &conversation.question, input));
        parts.push(RenderedPart::read(read));
        parts.extend(answer.map(|answer| self.answer(answer)));
        Ok(RenderedText {
            parts,
            has_start: true,
        })
    }

    /// The token that the template begins with, if the tokenizer has it.
    fn start(&self) -> String {
        let known = |token: &&str| self.special.find(token).is_some();
        self.form.start.filter(known).unwrap_or_default().to_owned()
    }

    /// Puts what the system says where it is read; gives it back where it is a part of the first
    /// question.
    fn system(&self, said: Option<&str>, read: &mut String) -> Result<Option<String>, String> {
        let said = said.map(|it| self.own(it));
        match (&self.form.system, said) {
            (System::Message(before, after), Some(said)) => {
                *read += &format!("{before}{said}{after}");
            }
            (System::InQuestion(after), Some(said)) => return Ok(Some(said + after)),
            (System::First { default, after }, said) => {
                let said = said.unwrap_or_else(|| (*default).to_owned());
                *read += &format!("{said}{after}");
            }
            (System::Nowhere, Some(_)) => {
                return Err(format!(
                    "has no place for what the {} says; leave that message out, or give another \
                     template, such as chatml",
                    Speaker::System.name()
                ));
            }
            (System::Message(..) | System::InQuestion(_) | System::Nowhere, None) => {}
        }
        Ok(None)
    }

    /// A question with what is around it, up to its answer.
    fn question(&self, system: Option<String>, asked: &str, input: Option<&str>) -> String {
        let system = system.unwrap_or_default();
        let asked_own = self.own(asked);
        let question = match (&self.form.question, input.map(|it| self.own(it))) {
            (Question::Between(before, after), None) => {
                format!("{before}{system}{asked_own}{after}")
            }
            (Question::Between(before, after), Some(input)) => {
                format!("{before}{system}{asked_own}\n{input}{after}")
            }
            (
                Question::Instruction {
                    alone: [before, after],
                    ..
                },
                None,
            ) => {
                format!("{before}{asked_own}{after}")
            }
            (
                Question::Instruction {
                    with_input: [before, between, after],
                    ..
                },
                Some(input),
            ) => format!("{before}{asked_own}{between}{input}{after}"),
        };
        question + self.form.before_answer
    }

    fn answer(&self, said: &str) -> RenderedPart {
        let said = format!("{}{}", self.form.lead, self.own(said));
        match self.end {
            Some((token, _)) => RenderedPart::learnt(said + token, false),
            None => RenderedPart::learnt(said, true),
        }
    }

    /// A user's text, in which no special token is found.
    fn own(&self, text: &str) -> String {
        let text = match self.form.trims {
            true => text.trim(),
            false => text,
        };
        self.special.separated(text)
    }
}

#[cfg(test)]
mod tests;
