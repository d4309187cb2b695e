//! Which layers get an adapter.

use crate::model::{LinearLayer, ModelConfig};

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
    /// The layers chosen, in the order of the forward pass.
    ///
    /// # Errors
    /// When a name or a number matches nothing, with what there is.
    pub fn choose(&self, config: &ModelConfig) -> Result<Vec<LinearLayer>, String> {
        let all = config.linear_layers();
        let ends_in = |layer: &LinearLayer, name: &str| {
            layer.module == name || layer.module.ends_with(&format!(".{name}"))
        };
        if let Some(name) = self
            .modules
            .iter()
            .find(|n| !all.iter().any(|l| ends_in(l, n)))
        {
            return Err(format!(
                "target module {name:?} matches no linear layer of the encoder; there are query, \
                 key, value, attention.output.dense, intermediate.dense and output.dense"
            ));
        }
        let count = config.num_hidden_layers;
        if let Some(bad) = self
            .layers
            .iter()
            .flatten()
            .find(|n| !(0..count).contains(*n))
        {
            return Err(format!(
                "layer {bad} is not there; the model has layers 0 to {}",
                count - 1
            ));
        }
        if let Some(pattern) = self.pattern.as_deref().filter(|p| *p != "layer") {
            return Err(format!(
                "layers_pattern {pattern:?} matches no layer; the encoder calls them \"layer\""
            ));
        }
        let chosen = |layer: &LinearLayer| {
            let by_number = self
                .layers
                .as_ref()
                .is_none_or(|n| n.contains(&layer.layer));
            by_number && self.modules.iter().any(|name| ends_in(layer, name))
        };
        Ok(all.into_iter().filter(chosen).collect())
    }
}
