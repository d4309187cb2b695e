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
    /// When a name or a number matches nothing: the setting, and what there is.
    pub fn choose(&self, config: &ModelConfig) -> Result<Vec<LinearLayer>, (&'static str, String)> {
        let all = config.linear_layers();
        let ends_in = |layer: &LinearLayer, name: &str| {
            layer.module == name || layer.module.ends_with(&format!(".{name}"))
        };
        if let Some(name) = self
            .modules
            .iter()
            .find(|n| !all.iter().any(|l| ends_in(l, n)))
        {
            let error = format!(
                "target module {name:?} matches no linear layer of the encoder; there are query, \
                 key, value, attention.output.dense, intermediate.dense and output.dense"
            );
            return Err(("target_modules", error));
        }
        let count = config.num_hidden_layers;
        if let Some(bad) = self
            .layers
            .iter()
            .flatten()
            .find(|n| !(0..count).contains(*n))
        {
            let error = format!("layer {bad} is not there; the model has 0 to {}", count - 1);
            return Err(("layers_to_transform", error));
        }
        if let Some(pattern) = self.pattern.as_deref().filter(|p| *p != "layer") {
            let error = format!("{pattern:?} matches no layer; the encoder calls them \"layer\"");
            return Err(("layers_pattern", error));
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
