//! The prompts that texts are written for, as a model reads them.

use crate::config::plan::Plan;
use crate::config::problems::Problems;
use crate::data::schema::SplitName;
use crate::data::split::Split;
use crate::data::tokenize::TextEncoder;
use crate::experiment::inputs;
use crate::model::architecture::Architecture;
use crate::tasks::texts::prompts;

/// A prompt of a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedPrompt {
    /// Its text.
    pub text: String,
    /// The right answers; none where they are secret.
    pub references: Vec<String>,
    /// Its tokens.
    pub ids: Vec<i64>,
}

/// A split's prompts, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptSet {
    /// The split.
    pub split: SplitName,
    /// The prompts, in the order of their first examples.
    pub prompts: Vec<EncodedPrompt>,
}

/// Encodes the prompts of splits; `None` when a problem was reported. Without texts to be written
/// there are none.
pub(crate) fn encode<'a>(
    splits: impl Iterator<Item = &'a Split>,
    plan: &Plan,
    encoder: &TextEncoder,
    model: &dyn Architecture,
    problems: &mut Problems,
) -> Option<Vec<PromptSet>> {
    let Some(generation) = &plan.generation else {
        return Some(Vec::new());
    };
    let mut sets = Vec::new();
    for split in splits {
        let prompts = prompts(split);
        let texts: Vec<&str> = prompts.iter().map(|prompt| prompt.text).collect();
        let encoded = encoder.encode_prompts(&texts);
        let encoded = encoded
            .map_err(|error| problems.report_error(inputs::key_of(&error, plan, "data"), error))
            .ok()?;
        let longest = encoded.iter().map(Vec::len).max().unwrap_or(0) as i64;
        let (most, new) = (model.max_tokens(), i64::from(generation.max_new_tokens));
        if longest.saturating_add(new) > most {
            let wrong = format_args!(
                "the longest prompt of the {} split has {longest} tokens, and {new} more are beyond \
                 the model's {most}",
                split.name()
            );
            let right = format_args!(
                "give at most {}, or a model of longer texts",
                most - longest
            );
            problems.report("max_new_tokens", wrong, right);
            return None;
        }
        let prompts = prompts.into_iter().zip(encoded);
        sets.push(PromptSet {
            split: split.name(),
            prompts: prompts
                .map(|(prompt, ids)| EncodedPrompt {
                    text: prompt.text.to_owned(),
                    references: prompt.references.into_iter().map(str::to_owned).collect(),
                    ids: ids.into_iter().map(i64::from).collect(),
                })
                .collect(),
        });
    }
    Some(sets)
}
