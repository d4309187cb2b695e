//! The forms of templates with names, each from its source.

/// Where a template has what the system says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum System {
    /// In a message of its own, between these.
    Message(&'static str, &'static str),
    /// Before the first question, with this between.
    InQuestion(&'static str),
    /// Before all else, with this after it; and what it says if nothing else is said.
    First {
        default: &'static str,
        after: &'static str,
    },
    /// Nowhere.
    Nowhere,
}

/// How an answer ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By a token of the template's.
    Token(&'static str),
    /// By the model's own end token.
    Model,
}

/// What is around questions and answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// The same whatever is asked.
    Between(&'static str, &'static str),
    /// A form for an instruction, and one with what it is about: what is before, between and after.
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
    pub(super) special: &'static [&'static str],
    /// The token that it begins with, if it names one.
    pub(super) start: Option<&'static str>,
    pub(super) system: System,
    pub(super) question: Question,
    /// What is between a question and its answer.
    pub(super) before_answer: &'static str,
    /// What an answer begins with, so that its first word is the token that it is after a space.
    pub(super) lead: &'static str,
    pub(super) end: End,
    /// What is between an answer and the next question.
    pub(super) after_answer: &'static str,
    /// Whether white space around what is said is trimmed.
    pub(super) trims: bool,
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
        after_answer: "",
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
            after: " ",
        },
        question: Question::Between("USER: ", " "),
        before_answer: "ASSISTANT:",
        lead: " ",
        end: End::Model,
        after_answer: "",
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
        after_answer: "\n",
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
        after_answer: "",
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
        after_answer: "",
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
        after_answer: "\n",
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
        after_answer: "",
        trims: false,
    },
];
