//! The layers that get an adapter.

use crate::adapter::settings::AdapterPlan;
use crate::model::config::{LinearLayer, ModelConfig};

/// The choice of layers, as PEFT's configuration words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// Module names, or ends of them: `query`, `attention.output.dense`.
    pub modules: Vec<String>,
    /// Encoder layers by number; `None`: all.
    pub layers: Option<Vec<i64>>,
    /// The name before the number in the layers' names; `None`: `layer`.
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
    pub fn misses(&self, config: &ModelConfig) -> Vec<(&'static str, String)> {
        let mut misses = Vec::new();
        let all = config.adaptable_layers();
        for name in self
            .modules
            .iter()
            .filter(|n| !all.iter().any(|layer| ends_in(layer, n)))
        {
            let error = format!(
                "no linear layer of the encoder is called {name}; there are query, key, value, \
                 attention.output.dense, intermediate.dense and output.dense"
            );
            misses.push(("target_modules", error));
        }
        let count = config.num_hidden_layers;
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
        if self
            .pattern
            .as_ref()
            .is_some_and(|pattern| pattern != "layer")
        {
            let error = "no layer of the model is called that; the encoder calls them layer";
            misses.push(("layers_pattern", error.to_owned()));
        }
        misses
    }

    /// The layers chosen, in the order of the forward pass.
    #[must_use]
    pub fn choose(&self, config: &ModelConfig) -> Vec<LinearLayer> {
        let chosen = |layer: &LinearLayer| {
            let by_number = self
                .layers
                .as_ref()
                .is_none_or(|n| n.contains(&layer.layer));
            by_number && self.modules.iter().any(|name| ends_in(layer, name))
        };
        let mut layers = config.adaptable_layers();
        layers.retain(chosen);
        layers
    }
}

/// Whether a layer's name ends in this one. The pooler must be named, `dense` is not enough.
fn ends_in(layer: &LinearLayer, name: &str) -> bool {
    let ends = layer.module == name || layer.module.ends_with(&format!(".{name}"));
    ends && (name != "dense" || !layer.module.ends_with("pooler.dense"))
}
