//! Templates by their names, each from its source.

use crate::data::rendered::{RenderedPart, RenderedText};
use crate::data::tokenizer::special::SpecialTokens;
use crate::tasks::instruct::conversation::{Conversation, Speaker};

/// Where a template has what the system says.
#[derive(Debug, PartialEq, Eq)]
enum System {
    /// In a message of its own, between these.
    Message(&'static str, &'static str),
    /// Before the first question, with this between.
    InQuestion(&'static str),
    /// Before all else, with this behind it; and what it says if nothing else is said.
    First {
        default: &'static str,
        behind: &'static str,
    },
    /// Nowhere.
    Nowhere,
}

/// How an answer ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// By a token of the template's.
    Token(&'static str),
    /// By the model's own end token.
    Model,
}

/// What is around questions and answers.
#[derive(Debug, PartialEq, Eq)]
enum Question {
    /// The same whatever is asked.
    Between(&'static str, &'static str),
    /// A form for an instruction, and one with what it is about: what is before, between and behind.
    /// There is only one turn.
    Instruction {
        alone: [&'static str; 2],
        with_input: [&'static str; 3],
    },
}

/// A template with a name.
#[derive(Debug, PartialEq, Eq)]
pub struct NamedForm {
    /// Its name.
    pub name: &'static str,
    /// The special tokens that it needs.
    special: &'static [&'static str],
    /// The token that it begins with, if it names one.
    start: Option<&'static str>,
    system: System,
    question: Question,
    /// What is between a question and its answer.
    before_answer: &'static str,
    /// What an answer begins with, so that its first word is the token that it is after a space.
    lead: &'static str,
    end: End,
    /// What is between an answer and the next question.
    behind_answer: &'static str,
    /// Whether white space around what is said is left out.
    trims: bool,
}

/// All that there are.
pub static NAMED: [NamedForm; 7] = [
    // Stanford Alpaca, train.py: Taori et al., 2023.
    NamedForm {
        name: "alpaca",
        special: &[],
        start: None,
        system: System::Nowhere,
        question: Question::Instruction {
            alone: [
                "Below is an instruction that describes a task. Write a response that \
                 appropriately completes the request.\n\n### Instruction:\n",
                "\n\n### Response:",
            ],
            with_input: [
                "Below is an instruction that describes a task, paired with an input that provides \
                 further context. Write a response that appropriately completes the request.\n\n\
                 ### Instruction:\n",
                "\n\n### Input:\n",
                "\n\n### Response:",
            ],
        },
        before_answer: "",
        lead: "",
        end: End::Model,
        behind_answer: "",
        trims: false,
    },
    // FastChat, conversation.py, vicuna_v1.1: Zheng et al., 2023.
    NamedForm {
        name: "vicuna",
        special: &[],
        start: None,
        system: System::First {
            default: "A chat between a curious user and an artificial intelligence assistant. The \
                      assistant gives helpful, detailed, and polite answers to the user's \
                      questions.",
            behind: " ",
        },
        question: Question::Between("USER: ", " "),
        before_answer: "ASSISTANT:",
        lead: " ",
        end: End::Model,
        behind_answer: "",
        trims: false,
    },
    // OpenAI's Chat Markup Language, openai-python v0.28, chatml.md.
    NamedForm {
        name: "chatml",
        special: &["<|im_start|>", "<|im_end|>"],
        start: None,
        system: System::Message("<|im_start|>system\n", "<|im_end|>\n"),
        question: Question::Between("<|im_start|>user\n", "<|im_end|>\n"),
        before_answer: "<|im_start|>assistant\n",
        lead: "",
        end: End::Token("<|im_end|>"),
        behind_answer: "\n",
        trims: false,
    },
    // meta-llama/llama3, llama/tokenizer.py, ChatFormat.
    NamedForm {
        name: "llama3",
        special: &["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        start: Some("<|begin_of_text|>"),
        system: System::Message(
            "<|start_header_id|>system<|end_header_id|>\n\n",
            "<|eot_id|>",
        ),
        question: Question::Between("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"),
        before_answer: "<|start_header_id|>assistant<|end_header_id|>\n\n",
        lead: "",
        end: End::Token("<|eot_id|>"),
        behind_answer: "",
        trims: true,
    },
    // docs.mistral.ai on Mistral-7B-Instruct: strictly this form.
    NamedForm {
        name: "mistral",
        special: &[],
        start: Some("<s>"),
        system: System::InQuestion("\n\n"),
        question: Question::Between("[INST] ", " [/INST]"),
        before_answer: "",
        lead: " ",
        end: End::Model,
        behind_answer: "",
        trims: false,
    },
    // ai.google.dev on Gemma's formatting; google/gemma-2b-it's template.
    NamedForm {
        name: "gemma",
        special: &["<start_of_turn>", "<end_of_turn>"],
        start: Some("<bos>"),
        system: System::Nowhere,
        question: Question::Between("<start_of_turn>user\n", "<end_of_turn>\n"),
        before_answer: "<start_of_turn>model\n",
        lead: "",
        end: End::Token("<end_of_turn>"),
        behind_answer: "\n",
        trims: true,
    },
    // EleutherAI's lm-evaluation-harness, gsm8k.yaml.
    NamedForm {
        name: "question",
        special: &[],
        start: None,
        system: System::Nowhere,
        question: Question::Instruction {
            alone: ["Question: ", "\nAnswer:"],
            with_input: ["Question: ", "\n", "\nAnswer:"],
        },
        before_answer: "",
        lead: " ",
        end: End::Model,
        behind_answer: "",
        trims: false,
    },
];

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
            read.push_str(form.behind_answer);
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
            (System::Message(before, behind), Some(said)) => {
                *read += &format!("{before}{said}{behind}");
            }
            (System::InQuestion(behind), Some(said)) => return Ok(Some(said + behind)),
            (System::First { default, behind }, said) => {
                let said = said.unwrap_or_else(|| (*default).to_owned());
                *read += &format!("{said}{behind}");
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
            (Question::Between(before, behind), None) => {
                format!("{before}{system}{asked_own}{behind}")
            }
            (Question::Between(before, behind), Some(input)) => {
                format!("{before}{system}{asked_own}\n{input}{behind}")
            }
            (
                Question::Instruction {
                    alone: [before, behind],
                    ..
                },
                None,
            ) => {
                format!("{before}{asked_own}{behind}")
            }
            (
                Question::Instruction {
                    with_input: [before, between, behind],
                    ..
                },
                Some(input),
            ) => format!("{before}{asked_own}{between}{input}{behind}"),
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
