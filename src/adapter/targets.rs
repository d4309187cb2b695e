//! The layers that get an adapter.

use crate::adapter::settings::AdapterPlan;
use crate::model::architecture::Architecture;
use crate::model::linear_layer::LinearLayer;

/// The choice of layers, as PEFT's configuration words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// Module names, or ends of them: `query`, `attention.output.dense`.
    pub modules: Vec<String>,
    /// Encoder layers by number; `None`: all.
    pub layers: Option<Vec<i64>>,
    /// The name before the number in the layers' names; `None`: the model's own.
    pub pattern: Option<String>,
}

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

    /// Everything that matches nothing: the setting, and what there is.
    #[must_use]
    pub fn misses(&self, model: &dyn Architecture) -> Vec<(&'static str, String)> {
        let mut misses = Vec::new();
        let all = model.linear_layers();
        for name in self
            .modules
            .iter()
            .filter(|n| !all.iter().any(|layer| ends_in(layer, n)))
        {
            let known = listed(model.layer_names());
            let error = format!("no linear layer of the model is called {name}; there are {known}");
            misses.push(("target_modules", error));
        }
        let count = model.num_layers();
        for number in self
            .layers
            .iter()
            .flatten()
            .filter(|n| !(0..count).contains(*n))
        {
            let error = format!(
                "there is no layer {number}; the model has 0 to {}",
                count - 1
            );
            misses.push(("layers_to_transform", error));
        }
        let right = model.layers_pattern();
        if self.pattern.as_ref().is_some_and(|given| given != right) {
            let error = format!("no layer of the model is called that; it calls them {right}");
            misses.push(("layers_pattern", error));
        }
        misses
    }

    /// The layers chosen, in the order of the forward pass.
    #[must_use]
    pub fn choose(&self, model: &dyn Architecture) -> Vec<LinearLayer> {
        let chosen = |layer: &LinearLayer| {
            let by_number = self
                .layers
                .as_ref()
                .is_none_or(|n| n.contains(&layer.layer));
            by_number && self.modules.iter().any(|name| ends_in(layer, name))
        };
        let mut layers = model.linear_layers();
        layers.retain(chosen);
        layers
    }
}

/// `query, key and value`.
pub(crate) fn listed(names: &[&str]) -> String {
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Whether a layer's name ends in this one. The pooler must be named, `dense` is not enough.
fn ends_in(layer: &LinearLayer, name: &str) -> bool {
    let ends = layer.module == name || layer.module.ends_with(&format!(".{name}"));
    ends && (name != "dense" || !layer.module.ends_with("pooler.dense"))
}
