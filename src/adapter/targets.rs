//! The layers that get an adapter.

use crate::adapter::pattern::Pattern;
use crate::adapter::settings::AdapterPlan;
use crate::adapter::target_modules::TargetModules;
use crate::model::architecture::Architecture;
use crate::model::linear_layer::LinearLayer;

#[cfg(test)]
mod tests;

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
