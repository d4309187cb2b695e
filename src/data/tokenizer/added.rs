//! The tokens that are matched in a text before all else: those of `tokenizer.json`, and what the
//! files next to it and the class add to them or say otherwise of them.
//!
//! This follows `PreTrainedTokenizerBase._from_pretrained` and `PreTrainedTokenizerFast.__init__`
//! of transformers 4.46.2. A token that is in the vocabulary keeps its id; another takes the next
//! free one, whatever id a file gives it.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;
use serde_json::Value;
use tokenizers::AddedToken;

use crate::data::error::DataError;
use crate::data::tokenizer::arguments::{Argument, Arguments, DECODER, TokenFile};
use crate::data::tokenizer::class::Class;
use crate::data::tokenizer::token::{Special, TokenSpec};

/// The roles of special tokens, in the order in which they are added.
pub(crate) const ROLES: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// The part of `tokenizer.json` that the files beside it are read with. A tokenizer that was made
/// of it no longer tells the ids that were written there.
#[derive(Debug, Deserialize)]
pub(crate) struct Stored {
    #[serde(default)]
    added_tokens: Vec<StoredToken>,
}

impl Stored {
    /// The texts of the added tokens in the file's order.
    pub fn contents(&self) -> impl Iterator<Item = &str> {
        self.added_tokens.iter().map(|it| it.token.content.as_str())
    }
}

#[derive(Debug, Deserialize)]
struct StoredToken {
    id: u64,
    #[serde(flatten)]
    token: AddedToken,
}

/// All tokens to add to the tokenizer of `tokenizer.json`, in their order, each text once.
/// `padding` is the token that the file pads with.
///
/// # Errors
/// If a file names a token in a way that is not understood.
pub(crate) fn added_tokens(
    stored: &Stored,
    padding: Option<&str>,
    arguments: &Arguments,
    class: &Class,
) -> Result<Vec<AddedToken>, DataError> {
    let stored = &stored.added_tokens;
    let listed = listed_tokens(stored, arguments)?;
    let special = special_tokens(stored, padding, arguments, class, &listed)?;
    let known = stored.iter().map(|it| it.token.content.as_str());
    let known: HashSet<&str> = known
        .chain(listed.iter().map(|it| it.content.as_str()))
        .collect();

    let before: Vec<AddedToken> = listed.iter().map(TokenSpec::resolved).collect();
    let missing = special.iter().filter_map(|it| match it {
        Special::Named(name) => (!known.contains(name.as_str())).then(|| TokenSpec::named(name)),
        Special::Token(token) => (!before.contains(&token.resolved())).then(|| token.clone()),
    });
    let mut tokens: Vec<TokenSpec> = listed.iter().cloned().chain(missing).collect();

    let is_special = |content: &str| special.iter().any(|it| it.content() == content);
    for token in &mut tokens {
        token.special |= is_special(&token.content);
    }
    let versions: Vec<AddedToken> = tokens.iter().map(TokenSpec::resolved).collect();
    Ok(settled(stored.iter().map(|it| &it.token), &versions))
}

/// One token for all that were added with the same text. The last one's properties count, but for
/// whether it is looked for in the normalized text: tokenizers 0.20, which transformers 4.46 takes,
/// decides that when a token first becomes special, and until then looks in every way it was told.
fn settled<'a>(
    stored: impl Iterator<Item = &'a AddedToken>,
    versions: &'a [AddedToken],
) -> Vec<AddedToken> {
    let stored: HashMap<&str, &AddedToken> = stored
        .map(|token| (token.content.as_str(), token))
        .collect();
    let mut of_content: HashMap<&str, Vec<&AddedToken>> = HashMap::new();
    let mut order = Vec::new();
    for version in versions {
        let group = of_content.entry(&version.content).or_default();
        if group.is_empty() {
            order.push(version.content.as_str());
        }
        group.push(version);
    }
    let settle = |content: &str| {
        let (before, group) = (stored.get(content), of_content.get(content)?);
        let normalized = match (before, group.iter().find(|it| it.special)) {
            (Some(before), _) if before.special => before.normalized,
            (before, first) => {
                let looked_for = |it: &&AddedToken| it.normalized;
                let new = first.map_or_else(|| group.iter().any(looked_for), looked_for);
                new || before.is_some_and(looked_for)
            }
        };
        let last = (*group.last()?).clone();
        let special = last.special || before.is_some_and(|it| it.special);
        Some(last.normalized(normalized).special(special))
    };
    order.into_iter().filter_map(settle).collect()
}

/// The tokens that the files list with their ids, in the order of these.
fn listed_tokens(
    stored: &[StoredToken],
    arguments: &Arguments,
) -> Result<Vec<TokenSpec>, DataError> {
    let mut listed = BTreeMap::new();
    if let Some(argument) = arguments.get(DECODER) {
        let Value::Object(entries) = &argument.value else {
            return Err(argument.wrong("expected an object from ids to tokens"));
        };
        for (id, token) in entries {
            let (Ok(id), Value::Object(token)) = (id.parse::<u64>(), token) else {
                return Err(argument.wrong(format_args!(
                    "entry {id:?} is {token}, expected an id and an object with \"content\""
                )));
            };
            listed.insert(id, TokenSpec::parse(token, argument)?);
        }
    } else {
        let special = early_special_contents(arguments);
        for (id, content) in arguments.added()? {
            let special = special.contains(&content);
            let token = TokenSpec {
                normalized: Some(!special),
                special,
                ..TokenSpec::named(content)
            };
            if listed.insert(id, token).is_some() {
                return Err(arguments.wrong_added(content, id));
            }
        }
        for StoredToken { id, token } in stored {
            listed.insert(*id, token.into());
        }
    }
    Ok(listed.into_values().collect())
}

/// The special tokens as `added_tokens.json` is compared with them: at that point objects of
/// `tokenizer_config.json` are not yet read as tokens.
fn early_special_contents(arguments: &Arguments) -> Vec<&str> {
    let roles = ROLES.iter().filter_map(|role| arguments.get(role));
    let all = roles.chain(arguments.additional().unwrap_or_default());
    all.filter_map(|argument| match (&argument.value, argument.origin) {
        (Value::String(name), _) => Some(name.as_str()),
        (Value::Object(token), TokenFile::SpecialTokensMap) => token.get("content")?.as_str(),
        _ => None,
    })
    .collect()
}

/// The special tokens, each once, in the order of their roles.
fn special_tokens(
    stored: &[StoredToken],
    padding: Option<&str>,
    arguments: &Arguments,
    class: &Class,
    listed: &[TokenSpec],
) -> Result<Vec<Special>, DataError> {
    // Those of `added_tokens.json` do not lend their properties to a role's token.
    let known: Vec<TokenSpec> = match arguments.get(DECODER) {
        Some(_) => listed.to_vec(),
        None => stored.iter().map(|it| TokenSpec::from(&it.token)).collect(),
    };
    let by_content: HashMap<&str, &TokenSpec> = known
        .iter()
        .map(|token| (token.content.as_str(), token))
        .collect();
    let mut special: Vec<Special> = Vec::new();
    for role in ROLES {
        let token = match arguments.get(role) {
            Some(argument) => {
                Special::parse(argument)?.map(|it| match by_content.get(it.content()) {
                    Some(token) => Special::Token((*token).clone()),
                    None => it,
                })
            }
            None => default_token(role, class, padding).map(Special::Named),
        };
        let token = token
            .map(|it| {
                if role == "mask_token" {
                    mask(it, class)
                } else {
                    it
                }
            })
            .filter(|it| !special.iter().any(|seen| seen.content() == it.content()));
        special.extend(token);
    }
    let roles = special.len();
    let additional = match arguments.additional() {
        Some(given) => given
            .iter()
            .map(additional_token)
            .collect::<Result<_, _>>()?,
        None => {
            let defaults = class.additional.iter();
            defaults
                .map(|name| Special::Named((*name).to_owned()))
                .collect::<Vec<_>>()
        }
    };
    for token in additional {
        if !special[..roles]
            .iter()
            .any(|seen| seen.content() == token.content())
        {
            special.push(token);
        }
    }
    special.retain(|it| !matches!(it, Special::Named(name) if name.is_empty()));
    Ok(special)
}

fn additional_token(argument: &Argument) -> Result<Special, DataError> {
    Special::parse(argument)?.ok_or_else(|| argument.wrong("null is not a token"))
}

/// A role's token where no file names one: the class's, else what `tokenizer.json` pads with.
fn default_token(role: &str, class: &Class, padding: Option<&str>) -> Option<String> {
    let of_class = class.special.iter().find(|(it, _)| *it == role);
    let padding = padding.filter(|_| role == "pad_token");
    of_class
        .map(|(_, token)| *token)
        .or(padding)
        .map(str::to_owned)
}

fn mask(token: Special, class: &Class) -> Special {
    match (token, class.mask) {
        (Special::Named(content), Some(mask)) => Special::Token(TokenSpec {
            content,
            lstrip: true,
            normalized: mask.normalized,
            special: mask.special,
            ..TokenSpec::default()
        }),
        (token, _) => token,
    }
}
