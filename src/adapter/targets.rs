//! The layers that get an adapter.

use crate::adapter::pattern::Pattern;
use crate::adapter::settings::AdapterPlan;
use crate::adapter::target_modules::TargetModules;
use crate::model::architecture::Architecture;
use crate::model::linear_layer::LinearLayer;

/// The choice of layers, as PEFT's configuration words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// Layers by name; `None`: those that PEFT adapts in such a model where nothing is said.
    pub modules: Option<TargetModules>,
    /// Transformer layers by number; `None`: all.
    pub layers: Option<Vec<i64>>,
    /// The name before the number in the layers' names; `None`: the model's own.
    pub pattern: Option<String>,
}

/// What a choice lacks in a model: the setting that says it, and what there is.
pub type Unmatched = (&'static str, String);

impl Targets {
    /// The choice that a plan makes.
    #[must_use]
    pub fn of(plan: &AdapterPlan) -> Self {
        let layers = plan.layers_to_transform.as_ref();
        Self {
            modules: plan.target_modules.clone(),
            layers: layers.map(|numbers| numbers.iter().map(|n| i64::from(*n)).collect()),
            pattern: plan.layers_pattern.clone(),
        }
    }

    /// The layers chosen, in the order of the forward pass.
    ///
    /// # Errors
    /// Everything that matches nothing. An expression that cannot be used is among it.
    pub fn choose(&self, model: &dyn Architecture) -> Result<Vec<LinearLayer>, Vec<Unmatched>> {
        let numbers = self.wrong_numbers(model);
        let named = self.named(model);
        let mut layers = named.map_err(|misses| [misses, numbers.clone()].concat())?;
        if !numbers.is_empty() {
            return Err(numbers);
        }
        let has_number = |layer: &LinearLayer| {
            let numbers = self.layers.as_ref();
            numbers.is_none_or(|numbers| numbers.contains(&layer.layer))
        };
        layers.retain(has_number);
        if layers.is_empty() {
            let none = "none of these layers has a number in layers_to_transform; choose others";
            return Err(vec![("target_modules", none.to_owned())]);
        }
        Ok(layers)
    }

    /// The layers chosen by name, whatever their number.
    fn named(&self, model: &dyn Architecture) -> Result<Vec<LinearLayer>, Vec<Unmatched>> {
        let wrong = |error: String| ("target_modules", error);
        let layers = model.linear_layers();
        match &self.modules {
            None => Ok(called(&layers, model.default_targets())),
            Some(TargetModules::AllLinear) => Ok(layers),
            Some(TargetModules::Names(names)) => {
                let unknown = names
                    .iter()
                    .filter(|name| called(&layers, &[name.as_str()]).is_empty());
                let known = listed(model.layer_names());
                let miss = |name: &String| {
                    wrong(format!(
                        "no linear layer of the model is called {name}; there are {known}"
                    ))
                };
                let misses: Vec<Unmatched> = unknown.map(miss).collect();
                match misses.is_empty() {
                    true => Ok(called(&layers, names)),
                    false => Err(misses),
                }
            }
            Some(TargetModules::Regex(source)) => {
                matching(layers, source, model).map_err(|error| vec![wrong(error)])
            }
        }
    }

    fn wrong_numbers(&self, model: &dyn Architecture) -> Vec<Unmatched> {
        let count = model.num_layers();
        let numbers = self.layers.iter().flatten();
        let mut misses: Vec<Unmatched> = numbers
            .filter(|number| !(0..count).contains(*number))
            .map(|number| {
                let last = count - 1;
                let error = format!("there is no layer {number}; the model has 0 to {last}");
                ("layers_to_transform", error)
            })
            .collect();
        let right = model.layers_pattern();
        if self.pattern.as_ref().is_some_and(|given| given != right) {
            let error = format!("no layer of the model is called that; it calls them {right}");
            misses.push(("layers_pattern", error));
        }
        misses
    }
}

/// The layers whose names are one of these or end in one. The pooler must be named, `dense` is not
/// enough.
fn called(layers: &[LinearLayer], names: &[impl AsRef<str>]) -> Vec<LinearLayer> {
    let is_called = |layer: &&LinearLayer, name: &str| {
        ends_in(&layer.module, name) && (name != "dense" || !layer.module.ends_with("pooler.dense"))
    };
    let layers = layers.iter();
    layers
        .filter(|layer| names.iter().any(|name| is_called(layer, name.as_ref())))
        .cloned()
        .collect()
}

/// The layers whose whole name an expression matches.
fn matching(
    layers: Vec<LinearLayer>,
    source: &str,
    model: &dyn Architecture,
) -> Result<Vec<LinearLayer>, String> {
    let pattern = Pattern::whole(source)?;
    let example = layers.first().map(|layer| layer.module.clone());
    let mut chosen = Vec::new();
    for layer in layers {
        if pattern.matches(&layer.module)? {
            chosen.push(layer);
        }
    }
    if chosen.is_empty() {
        return Err(format!(
            "it matches the whole name of no linear layer, such as {}; there are {}",
            example.unwrap_or_default(),
            listed(model.layer_names())
        ));
    }
    Ok(chosen)
}

/// `query, key and value`.
pub(crate) fn listed(names: &[&str]) -> String {
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Whether a module has this name, or one that ends in it.
pub(crate) fn ends_in(module: &str, end: &str) -> bool {
    module
        .strip_suffix(end)
        .is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::source::known::ArchitectureName;

    fn model(name: &str) -> Arc<dyn Architecture> {
        name.parse::<ArchitectureName>().unwrap().read().unwrap()
    }

    fn targets(text: &str) -> Targets {
        Targets {
            modules: Some(text.parse().unwrap()),
            layers: None,
            pattern: None,
        }
    }

    /// The names chosen in the first layer, without what they begin with, and how many there are.
    fn chosen(name: &str, targets: &Targets) -> (Vec<String>, usize) {
        let layers = targets.choose(&*model(name)).unwrap();
        let first = layers.iter().filter(|layer| layer.layer == layers[0].layer);
        let short = |layer: &LinearLayer| {
            let parts: Vec<_> = layer.module.rsplitn(3, '.').collect();
            format!("{}.{}", parts[1], parts[0])
        };
        (first.map(short).collect(), layers.len())
    }

    #[test]
    fn names_all_linear_layers_and_expressions_choose_layers_of_decoders() {
        for (name, text, first, count) in [
            ("gpt2", "c_attn", "attn.c_attn", 12),
            ("gpt2", "c_proj", "attn.c_proj mlp.c_proj", 24),
            ("gpt2", "attn.c_proj,c_fc", "attn.c_proj mlp.c_fc", 24),
            ("gpt2", "transformer.h.3.mlp.c_fc", "mlp.c_fc", 1),
            (
                "gpt2",
                "all-linear",
                "attn.c_attn attn.c_proj mlp.c_fc mlp.c_proj",
                48,
            ),
            (
                "gpt2",
                r"regex:.*\.h\.1\d{0,1}\.(attn|mlp)\.c_proj",
                "attn.c_proj mlp.c_proj",
                6,
            ),
            (
                "smollm2-135m",
                r"regex:.*\.(?:q|v)_proj",
                "self_attn.q_proj self_attn.v_proj",
                60,
            ),
            (
                "smollm2-135m",
                "all-linear",
                "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj \
                 mlp.gate_proj mlp.up_proj mlp.down_proj",
                210,
            ),
            (
                "roberta-base",
                "all-linear",
                "self.query self.key self.value output.dense intermediate.dense output.dense",
                72,
            ),
        ] {
            let first = first.split(' ').map(str::to_owned).collect();
            assert_eq!(
                chosen(name, &targets(text)),
                (first, count),
                "{name} {text}"
            );
        }
    }

    #[test]
    fn where_nothing_is_said_it_is_what_peft_adapts_in_such_a_model() {
        for (name, first) in [
            ("gpt2", "attn.c_attn"),
            ("smollm2-135m", "self_attn.q_proj self_attn.v_proj"),
            ("bert-base", "self.query self.value"),
        ] {
            let own = Targets {
                modules: None,
                ..targets("")
            };
            let first: Vec<_> = first.split(' ').map(str::to_owned).collect();
            assert_eq!(chosen(name, &own).0, first, "{name}");
        }
    }

    #[test]
    fn layers_of_decoders_are_chosen_by_number_and_the_name_before_it() {
        for (name, pattern) in [("gpt2", "h"), ("smollm2-135m", "layers")] {
            let some = |pattern: &str| Targets {
                layers: Some(vec![2, 5]),
                pattern: Some(pattern.to_owned()),
                ..targets("all-linear")
            };
            let layers = some(pattern).choose(&*model(name)).unwrap();
            assert!(layers.iter().all(|layer| [2, 5].contains(&layer.layer)));
            let misses = some("layer").choose(&*model(name)).unwrap_err();
            assert_eq!(misses.len(), 1);
            assert_eq!(misses[0].0, "layers_pattern");
            assert!(misses[0].1.ends_with(pattern), "{}", misses[0].1);
        }
    }

    #[test]
    fn what_matches_nothing_is_told_with_what_there_is() {
        for (text, miss) in [
            (
                "query",
                "no linear layer of the model is called query; there are attn.c_attn",
            ),
            ("lm_head", "is called lm_head"),
            (
                "regex:c_attn",
                "it matches the whole name of no linear layer, such as transformer.h.0.attn.c_attn; \
                 there are attn.c_attn",
            ),
            ("regex:.*query", "no linear layer"),
            ("regex:(", "cannot be used"),
        ] {
            let misses = targets(text).choose(&*model("gpt2")).unwrap_err();
            assert_eq!((misses.len(), misses[0].0), (1, "target_modules"), "{text}");
            assert!(misses[0].1.contains(miss), "{}", misses[0].1);
        }
        let nowhere = Targets {
            layers: Some(vec![1]),
            ..targets("transformer.h.0.mlp.c_fc")
        };
        let misses = nowhere.choose(&*model("gpt2")).unwrap_err();
        assert!(misses[0].1.contains("layers_to_transform"), "{misses:?}");
    }

    #[test]
    fn berts_pooler_is_adapted_if_it_is_named() {
        for (text, has_pooler) in [
            ("dense", false),
            ("pooler.dense", true),
            ("all-linear", true),
            (r"regex:.*\.dense", true),
        ] {
            let layers = targets(text).choose(&*model("bert-base")).unwrap();
            let last = &layers[layers.len() - 1].module;
            assert_eq!(last == "bert.pooler.dense", has_pooler, "{text}");
        }
    }
}
