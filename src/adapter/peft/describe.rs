//! An adapter's plan put into the words of `adapter_config.json`.

use std::collections::BTreeMap;

use crate::adapter::peft::config::{OneOrMany, PeftConfig};
use crate::adapter::settings::{AdapterKind, AdapterPlan, Bias, LayerRank};
use crate::adapter::target_modules::{ALL_LINEAR, TargetModules};
use crate::model::objective::Objective;

/// The head's names: PEFT saves both with every sequence classifier.
const HEAD: [&str; 2] = ["classifier", "score"];

impl PeftConfig {
    /// What PEFT has to know of an adapter on this base model, its scaling merged into its
    /// tensors where PEFT has no word for it.
    #[must_use]
    pub fn of(adapter: &AdapterPlan, base_model: &str, objective: &Objective) -> Self {
        let lora = adapter.kind == AdapterKind::Lora;
        let bias = match adapter.bias {
            Bias::None => "none",
            Bias::All => "all",
            Bias::LoraOnly if lora => "lora_only",
            Bias::LoraOnly => "vera_only",
        };
        let layers = adapter.layers_to_transform.as_ref();
        Self {
            peft_type: adapter.kind,
            r: i64::from(adapter.r),
            target_modules: adapter.target_modules.as_ref().map(in_pefts_words),
            exclude_modules: None,
            bias: bias.to_owned(),
            modules_to_save: modules_to_save(&adapter.modules_to_save, objective),
            layers_to_transform: layers
                .map(|numbers| OneOrMany::Many(numbers.iter().map(|n| i64::from(*n)).collect())),
            // Newer versions of PEFT refuse a pattern without numbers.
            layers_pattern: layers
                .and(adapter.layers_pattern.clone())
                .map(OneOrMany::One),
            fan_in_fan_out: adapter.fan_in_fan_out,
            lora_alpha: lora.then_some(adapter.lora_alpha),
            lora_dropout: lora.then_some(adapter.dropout),
            use_rslora: lora.then_some(adapter.rank_stabilised),
            use_dora: None,
            init_lora_weights: None,
            d_initial: (!lora).then_some(adapter.d_initial),
            vera_dropout: (!lora).then_some(adapter.dropout),
            projection_prng_key: (!lora).then_some(adapter.projection_prng_key),
            save_projection: (!lora).then_some(adapter.save_projection),
            sorf_seed: (adapter.kind == AdapterKind::SorfVera).then_some(adapter.sorf_seed),
            rank_pattern: pattern(adapter, |own| i64::from(own.r)),
            alpha_pattern: pattern(adapter, |own| own.alpha),
            task_type: Some(task_type(objective).to_owned()),
            inference_mode: true,
            base_model_name_or_path: Some(base_model.to_owned()),
            peft_version: None,
        }
    }

    /// The same for the LoRA of rank r and scaling 1 that another adapter comes to.
    #[must_use]
    pub fn as_lora(&self) -> Self {
        Self {
            peft_type: AdapterKind::Lora,
            bias: self.bias.replace("vera_only", "lora_only"),
            lora_alpha: Some(self.r as f64),
            lora_dropout: self.vera_dropout,
            use_rslora: Some(false),
            d_initial: None,
            vera_dropout: None,
            projection_prng_key: None,
            save_projection: None,
            sorf_seed: None,
            ..self.clone()
        }
    }

    /// Adds a module that is saved in full.
    pub fn save_module(&mut self, name: &str) {
        let saved = self.modules_to_save.get_or_insert_default();
        if !saved.iter().any(|known| known == name) {
            saved.push(name.to_owned());
        }
    }
}

/// PEFT's word for what a model is trained to give.
pub(crate) fn task_type(objective: &Objective) -> &'static str {
    match objective {
        Objective::Classes(_) | Objective::Multilabel(_) | Objective::Score => "SEQ_CLS",
        Objective::NextToken => "CAUSAL_LM",
    }
}

fn in_pefts_words(targets: &TargetModules) -> OneOrMany<String> {
    match targets {
        TargetModules::Names(names) => OneOrMany::Many(names.clone()),
        TargetModules::AllLinear => OneOrMany::One(ALL_LINEAR.to_owned()),
        TargetModules::Regex(pattern) => OneOrMany::One(pattern.clone()),
    }
}

/// The head of a classifier, and further modules.
fn modules_to_save(further: &[String], objective: &Objective) -> Option<Vec<String>> {
    if *objective == Objective::NextToken {
        return (!further.is_empty()).then(|| further.to_vec());
    }
    let further = further.iter().filter(|m| !HEAD.contains(&m.as_str()));
    let head = HEAD.map(str::to_owned).into_iter();
    Some(head.chain(further.cloned()).collect())
}

/// What differs from layer to layer, by the module's name without its first part: older versions
/// of PEFT want something before what they match. A name of two parts, `pooler.dense`, is given
/// whole, for its second part alone would match other layers.
fn pattern<T>(
    adapter: &AdapterPlan,
    value: impl Fn(&LayerRank) -> T,
) -> Option<BTreeMap<String, T>> {
    let own = adapter.layer_ranks.iter();
    let entry = |(module, own): (&String, &LayerRank)| {
        let end = module.split_once('.').map(|(_, end)| end);
        let end = end.filter(|end| end.contains('.')).unwrap_or(module);
        (end.to_owned(), value(own))
    };
    (!adapter.layer_ranks.is_empty()).then(|| own.map(entry).collect())
}
