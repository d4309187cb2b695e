//! The tokenizer classes of transformers: what they take for granted, and what of
//! `tokenizer.json` they override.
//!
//! Defaults and overrides are those of the fast classes' `__init__` in transformers 4.46.2.

use std::path::Path;

use tokenizers::{NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

use crate::data::error::DataError;
use crate::data::tokenizer::arguments::Arguments;
use crate::data::tokenizer::template;
use crate::data::tokenizer::token::Special;

/// What a class does to the tokenizer of `tokenizer.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overrides {
    /// Nothing.
    Nothing,
    /// `do_lower_case`, `strip_accents` and `tokenize_chinese_chars` for a `BertNormalizer`.
    BertNormalizer,
    /// `add_prefix_space` for a `ByteLevel` pre-tokenizer.
    PrefixSpace,
    /// The post-processor, by `add_bos_token` and `add_eos_token`.
    StartAndEnd,
}

/// How a class treats a mask token that is given by its name alone: it takes the space before it
/// along.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaskToken {
    pub normalized: Option<bool>,
    pub special: bool,
}

/// A tokenizer class.
#[derive(Debug)]
pub(crate) struct Class {
    names: &'static [&'static str],
    /// Special tokens by role, where the files name no others.
    pub special: &'static [(&'static str, &'static str)],
    /// `None`: a mask token that is named is one like the others.
    pub mask: Option<MaskToken>,
    /// Special tokens without a role, where the files name no others.
    pub additional: &'static [&'static str],
    /// Whether the model receives the text that each token belongs to.
    pub token_types: bool,
    overrides: Overrides,
}

const BERT_TOKENS: &[(&str, &str)] = &[
    ("unk_token", "[UNK]"),
    ("sep_token", "[SEP]"),
    ("pad_token", "[PAD]"),
    ("cls_token", "[CLS]"),
    ("mask_token", "[MASK]"),
];

const ROBERTA_TOKENS: &[(&str, &str)] = &[
    ("bos_token", "<s>"),
    ("eos_token", "</s>"),
    ("unk_token", "<unk>"),
    ("sep_token", "</s>"),
    ("pad_token", "<pad>"),
    ("cls_token", "<s>"),
    ("mask_token", "<mask>"),
];

const DEBERTA_TOKENS: &[(&str, &str)] = &[
    ("bos_token", "[CLS]"),
    ("eos_token", "[SEP]"),
    ("unk_token", "[UNK]"),
    ("sep_token", "[SEP]"),
    ("pad_token", "[PAD]"),
    ("cls_token", "[CLS]"),
    ("mask_token", "[MASK]"),
];

/// The class for a tokenizer that is all in `tokenizer.json`.
const GENERIC: Class = Class {
    names: &["PreTrainedTokenizer"],
    special: &[],
    mask: None,
    additional: &[],
    token_types: true,
    overrides: Overrides::Nothing,
};

const BERT: Class = Class {
    names: &[
        "BertTokenizer",
        "ConvBertTokenizer",
        "ElectraTokenizer",
        "LayoutLMTokenizer",
        "LxmertTokenizer",
        "MobileBertTokenizer",
        "SqueezeBertTokenizer",
    ],
    special: BERT_TOKENS,
    overrides: Overrides::BertNormalizer,
    ..GENERIC
};

const ROBERTA: Class = Class {
    names: &["RobertaTokenizer", "LongformerTokenizer"],
    special: ROBERTA_TOKENS,
    mask: Some(MaskToken {
        normalized: Some(false),
        special: false,
    }),
    token_types: false,
    overrides: Overrides::PrefixSpace,
    ..GENERIC
};

const XLM_ROBERTA: Class = Class {
    names: &["XLMRobertaTokenizer", "BarthezTokenizer"],
    mask: Some(MaskToken {
        normalized: None,
        special: false,
    }),
    overrides: Overrides::Nothing,
    ..ROBERTA
};

const LLAMA: Class = Class {
    names: &["LlamaTokenizer"],
    special: &[
        ("bos_token", "<s>"),
        ("eos_token", "</s>"),
        ("unk_token", "<unk>"),
    ],
    token_types: false,
    overrides: Overrides::StartAndEnd,
    ..GENERIC
};

static CLASSES: [Class; 13] = [
    GENERIC,
    BERT,
    Class {
        names: &["DistilBertTokenizer"],
        token_types: false,
        ..BERT
    },
    ROBERTA,
    XLM_ROBERTA,
    Class {
        names: &["CamembertTokenizer"],
        mask: Some(MaskToken {
            normalized: None,
            special: true,
        }),
        additional: &["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"],
        ..XLM_ROBERTA
    },
    Class {
        names: &["GPT2Tokenizer"],
        special: &[
            ("bos_token", "<|endoftext|>"),
            ("eos_token", "<|endoftext|>"),
            ("unk_token", "<|endoftext|>"),
        ],
        mask: None,
        ..ROBERTA
    },
    Class {
        names: &["DebertaTokenizer"],
        special: DEBERTA_TOKENS,
        mask: XLM_ROBERTA.mask,
        overrides: Overrides::PrefixSpace,
        ..GENERIC
    },
    Class {
        names: &["DebertaV2Tokenizer"],
        special: DEBERTA_TOKENS,
        ..GENERIC
    },
    Class {
        names: &["AlbertTokenizer"],
        special: &[
            ("bos_token", "[CLS]"),
            ("eos_token", "[SEP]"),
            ("unk_token", "<unk>"),
            ("sep_token", "[SEP]"),
            ("pad_token", "<pad>"),
            ("cls_token", "[CLS]"),
            ("mask_token", "[MASK]"),
        ],
        mask: Some(MaskToken {
            normalized: Some(false),
            special: false,
        }),
        ..GENERIC
    },
    LLAMA,
    Class {
        names: &["GemmaTokenizer"],
        special: &[
            ("bos_token", "<bos>"),
            ("eos_token", "<eos>"),
            ("unk_token", "<unk>"),
            ("pad_token", "<pad>"),
        ],
        ..LLAMA
    },
    Class {
        names: &["Qwen2Tokenizer"],
        special: &[
            ("eos_token", "<|endoftext|>"),
            ("unk_token", "<|endoftext|>"),
            ("pad_token", "<|endoftext|>"),
        ],
        overrides: Overrides::Nothing,
        ..LLAMA
    },
];

impl Class {
    /// A class by its name, of the slow variant or the fast one; `None` when it is unknown.
    pub fn of_name(name: &str) -> Option<&'static Self> {
        let name = name.strip_suffix("Fast").unwrap_or(name);
        CLASSES.iter().find(|class| class.names.contains(&name))
    }

    /// The class for a tokenizer that is all in `tokenizer.json`.
    pub fn generic() -> &'static Self {
        &CLASSES[0]
    }

    /// The names of all classes.
    pub fn all_names() -> String {
        let mut names: Vec<_> = CLASSES
            .iter()
            .flat_map(|class| class.names)
            .copied()
            .collect();
        names.sort_unstable();
        names.join(", ")
    }

    /// A name that tells the class from others.
    pub fn name(&self) -> &'static str {
        self.names[0]
    }

    /// Overrides the parts of the tokenizer that differ from what the class was told.
    ///
    /// # Errors
    /// If an argument has the wrong type.
    pub fn override_parts(
        &self,
        tokenizer: &mut Tokenizer,
        arguments: &Arguments,
    ) -> Result<(), DataError> {
        match self.overrides {
            Overrides::Nothing => Ok(()),
            Overrides::BertNormalizer => override_normalizer(tokenizer, arguments),
            Overrides::PrefixSpace => override_prefix_space(tokenizer, arguments),
            Overrides::StartAndEnd => self.override_start_and_end(tokenizer, arguments),
        }
    }

    /// Puts a start token before each text and an end token behind it, as far as it was told to.
    fn override_start_and_end(
        &self,
        tokenizer: &mut Tokenizer,
        arguments: &Arguments,
    ) -> Result<(), DataError> {
        let token = |role: &str, flag: &str, default| {
            if !arguments.flag(flag, default)? {
                return Ok(None);
            }
            let token = self.special_token(role, arguments)?;
            let known =
                token.and_then(|token| Some((token.clone(), tokenizer.token_to_id(&token)?)));
            known.map(Some).ok_or_else(|| {
                let wrong = format!("{flag} asks for a {role}, and the tokenizer has none");
                match arguments.get(role).or_else(|| arguments.get(flag)) {
                    Some(argument) => argument.wrong(wrong),
                    None => DataError::model(Path::new("tokenizer_config.json"), wrong),
                }
            })
        };
        let start = token("bos_token", "add_bos_token", true)?;
        let end = token("eos_token", "add_eos_token", false)?;
        let template = template::around(start, end)
            .map_err(|error| DataError::model(Path::new("tokenizer.json"), error.to_string()))?;
        tokenizer.with_post_processor(Some(template));
        Ok(())
    }

    /// The special token of a role: as the files say, else the class's own.
    fn special_token(
        &self,
        role: &str,
        arguments: &Arguments,
    ) -> Result<Option<String>, DataError> {
        if let Some(argument) = arguments.get(role) {
            let token = Special::parse(argument)?;
            return Ok(token.map(|token| token.content().to_owned()));
        }
        let own = self.special.iter().find(|(known, _)| *known == role);
        Ok(own.map(|(_, token)| (*token).to_owned()))
    }
}

fn override_normalizer(tokenizer: &mut Tokenizer, arguments: &Arguments) -> Result<(), DataError> {
    let lowercase = arguments.flag("do_lower_case", true)?;
    let strip_accents = arguments.optional_flag("strip_accents")?;
    let handle_chinese_chars = arguments.flag("tokenize_chinese_chars", true)?;
    let Some(NormalizerWrapper::BertNormalizer(stored)) = tokenizer.get_normalizer() else {
        return Ok(());
    };
    let mut normalizer = *stored;
    normalizer.lowercase = lowercase;
    normalizer.strip_accents = strip_accents;
    normalizer.handle_chinese_chars = handle_chinese_chars;
    // The added tokens were normalized when they were added; a normalizer that comes afterwards
    // does not change them in transformers.
    let added = tokenizer.get_added_vocabulary().clone();
    tokenizer
        .with_normalizer(Some(normalizer))
        .map_err(|error| DataError::model(Path::new("tokenizer.json"), error.to_string()))?;
    tokenizer.with_added_vocabulary(added);
    Ok(())
}

fn override_prefix_space(
    tokenizer: &mut Tokenizer,
    arguments: &Arguments,
) -> Result<(), DataError> {
    let add_prefix_space = arguments.flag("add_prefix_space", false)?;
    if let Some(PreTokenizerWrapper::ByteLevel(stored)) = tokenizer.get_pre_tokenizer() {
        let mut pre_tokenizer = *stored;
        pre_tokenizer.add_prefix_space = add_prefix_space;
        tokenizer.with_pre_tokenizer(Some(pre_tokenizer));
    }
    Ok(())
}
