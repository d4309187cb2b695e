//! The prompts that texts are written for, as a model reads them.

use crate::config::plan::Plan;
use crate::config::problems::Problems;
use crate::data::error::DataError;
use crate::data::schema::SplitName;
use crate::data::split::Split;
use crate::data::tokenize::TextEncoder;
use crate::experiment::inputs;
use crate::model::architecture::Architecture;
use crate::tasks::TextTask;
use crate::tasks::texts::{GenerationPlan, PromptWithAnswers, prompts};

/// A prompt of a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedPrompt {
    /// Its text, for people.
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

impl EncodedPrompt {
    /// Encodes prompts of a task.
    ///
    /// # Errors
    /// If the tokenizer cannot encode a text, or gives what the model does not embed.
    pub fn encode(
        prompts: &[PromptWithAnswers<'_>],
        task: &dyn TextTask,
        encoder: &TextEncoder,
    ) -> Result<Vec<Self>, DataError> {
        let texts: Vec<&str> = prompts.iter().map(|prompt| prompt.text).collect();
        let encoded = task.encode_prompts(&texts, encoder)?;
        let own = |(prompt, ids): (&PromptWithAnswers<'_>, Vec<u32>)| Self {
            text: task.shown(prompt.text),
            references: prompt
                .references
                .iter()
                .map(|it| (*it).to_owned())
                .collect(),
            ids: ids.into_iter().map(i64::from).collect(),
        };
        Ok(prompts.iter().zip(encoded).map(own).collect())
    }
}

/// Refuses prompts after which there is no room for a whole text.
///
/// # Errors
/// What is too long, and what would be right.
pub fn require_room(
    prompts: &[EncodedPrompt],
    plan: &GenerationPlan,
    model: &dyn Architecture,
) -> Result<(), (String, String)> {
    let longest = prompts.iter().map(|prompt| prompt.ids.len()).max();
    let longest = longest.unwrap_or(0) as i64;
    let (most, new) = (model.max_tokens(), i64::from(plan.max_new_tokens));
    if longest.saturating_add(new) <= most {
        return Ok(());
    }
    let wrong = format!(
        "the longest prompt has {longest} tokens, and {new} more are beyond the model's {most}"
    );
    let right = match most - longest {
        room if room > 0 => format!("give at most {room}, or a model of longer texts"),
        _ => "name a model of longer texts".to_owned(),
    };
    Err((wrong, right))
}

/// Encodes the prompts of splits; `None` when a problem was reported. Where no text is written there
/// are none.
pub(crate) fn of_splits<'a>(
    splits: impl Iterator<Item = &'a Split>,
    plan: &Plan,
    encoder: &TextEncoder,
    model: &dyn Architecture,
    problems: &mut Problems,
) -> Option<Vec<PromptSet>> {
    let (Some(generation), Some(task)) = (&plan.generation, plan.data.task.texts()) else {
        return Some(Vec::new());
    };
    let mut sets = Vec::new();
    for split in splits {
        let encoded = EncodedPrompt::encode(&prompts(split), task, encoder);
        let encoded = encoded
            .map_err(|error| problems.report_error(inputs::key_of(&error, plan, "data"), error))
            .ok()?;
        if let Err((wrong, right)) = require_room(&encoded, generation, model) {
            problems.report("max_new_tokens", wrong, right);
            return None;
        }
        sets.push(PromptSet {
            split: split.name(),
            prompts: encoded,
        });
    }
    Some(sets)
}
