//! What an adapter's folder means for a model: its layers, and the rank and α of each.

use std::collections::BTreeMap;

use crate::adapter::peft::choice::choose;
use crate::adapter::peft::config::{OneOrMany, PeftConfig, PeftError};
use crate::adapter::peft::describe::task_type;
use crate::adapter::peft::import::PeftFolder;
use crate::adapter::peft::ranks::{Patterns, adapter_part};
use crate::adapter::population::tensor_name;
use crate::adapter::settings::{AdapterKind, AdapterPlan, LayerRank};
use crate::adapter::target_modules::TargetModules;
use crate::adapter::targets::Targets;
use crate::adapter::{lora, vera};
use crate::model::architecture::Architecture;
use crate::model::linear_layer::LinearLayer;
use crate::model::objective::Objective;
use crate::model::source::checkpoint::Checkpoint;

/// An adapter's layers in a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The adapted layers, in the order of the forward pass.
    pub layers: Vec<LinearLayer>,
    /// The rank and α that most of them have.
    pub common: LayerRank,
    /// Those of the others, by module.
    pub own: BTreeMap<String, LayerRank>,
}

impl PeftFolder {
    /// The layers that the folder adapts in this model. Every tensor of an adapter has its layer,
    /// and the ranks are those of the tensors.
    ///
    /// # Errors
    /// [`PeftError::File`] with the file that is wrong.
    pub fn fit(&self, model: &dyn Architecture) -> Result<Fit, PeftError> {
        let layers = choose(&self.config, model).map_err(|reason| self.wrong_config(reason))?;
        self.refuse_strays(&layers)?;
        let common = LayerRank {
            r: u32::try_from(self.config.r).unwrap_or(u32::MAX),
            alpha: self.config.lora_alpha.unwrap_or(LORA_ALPHA),
        };
        let own = match self.config.peft_type {
            AdapterKind::Lora => self.own_ranks(&layers, &common)?,
            AdapterKind::Vera | AdapterKind::SorfVera => BTreeMap::new(),
        };
        let mut fit = Fit {
            layers,
            common,
            own,
        };
        fit.simplify();
        Ok(fit)
    }

    /// Where a model's output is its table of embeddings, PEFT trains copies of the two. If they
    /// became the same, the model stays tied and the folder keeps one of them; otherwise the model
    /// gets an output of its own.
    pub fn match_output(&mut self, checkpoint: &mut Checkpoint) {
        let Some([table, output]) = checkpoint.architecture.tied_output() else {
            return;
        };
        let before = checkpoint.base.get(table);
        let saved = |name| self.tensors.get(name).or(before);
        if saved(table) == saved(output) {
            self.tensors.0.remove(output);
        } else {
            checkpoint.untie();
        }
    }

    /// Refuses an adapter of a model that was trained to give something else.
    ///
    /// # Errors
    /// [`PeftError::File`] with the file and the key.
    pub fn check_objective(&self, objective: &Objective) -> Result<(), PeftError> {
        let right = task_type(objective);
        match self.config.task_type.as_deref() {
            Some(other) if other != right => Err(self.wrong_config(format!(
                "task_type is {other:?}, but the run's task is one for {right:?}"
            ))),
            _ => Ok(()),
        }
    }

    /// Adapters on what the configuration does not choose, or what Regatta cannot adapt.
    fn refuse_strays(&self, layers: &[LinearLayer]) -> Result<(), PeftError> {
        for (name, _) in self.tensors.iter() {
            let Some((module, kind)) = adapter_part(name) else {
                continue;
            };
            let known = [lora::A, lora::B, vera::LAMBDA_B, vera::LAMBDA_D];
            let reason = if !known.contains(&kind) && !kind.starts_with("sorf_") {
                format!("it holds {name}: Regatta has no adapter with a {kind}")
            } else if layers.iter().any(|layer| layer.module == module) {
                continue;
            } else if module
                .split('.')
                .any(|part| ["classifier", "pre_classifier"].contains(&part))
            {
                format!(
                    "it holds {name}, an adapter within the classification head, which Regatta \
                     trains in full; merge it into the head when saving"
                )
            } else {
                format!(
                    "it holds {name}, but {module} is not a layer that adapter_config.json chooses \
                     by target_modules, exclude_modules, modules_to_save, layers_to_transform and \
                     layers_pattern, or none of the model's that can be adapted"
                )
            };
            return Err(self.wrong_tensors(reason));
        }
        Ok(())
    }

    /// Layers whose rank or α is not the common one.
    fn own_ranks(
        &self,
        layers: &[LinearLayer],
        common: &LayerRank,
    ) -> Result<BTreeMap<String, LayerRank>, PeftError> {
        let patterns = Patterns::of(&self.config).map_err(|reason| self.wrong_config(reason))?;
        let mut own = BTreeMap::new();
        for layer in layers {
            let found = patterns.find(&layer.module, common);
            let read = found.map_err(|reason| self.wrong_config(reason))?;
            let rank = self.agreeing(layer, &read)?;
            if rank != *common {
                own.insert(layer.module.clone(), rank);
            }
        }
        Ok(own)
    }

    /// The reading of the patterns that a layer's tensors agree with.
    fn agreeing(&self, layer: &LinearLayer, read: &[LayerRank]) -> Result<LayerRank, PeftError> {
        let name = tensor_name(layer, lora::A);
        let tensor = self.tensors.get(&name);
        let tensor =
            tensor.ok_or_else(|| self.wrong_tensors(format!("it has no tensor {name}")))?;
        let rows = tensor.shape().first().copied().unwrap_or_default();
        let mut agreeing = read.iter().filter(|rank| i64::from(rank.r) == rows);
        match (agreeing.next(), agreeing.next()) {
            (Some(rank), None) => Ok(rank.clone()),
            (Some(one), Some(other)) => Err(self.wrong_config(format!(
                "alpha_pattern gives {} the alpha {:?} by PEFT's rules since 0.14, and {:?} by \
                 those before; give every key of rank_pattern and alpha_pattern in both",
                layer.module, one.alpha, other.alpha
            ))),
            (None, _) => {
                let r = read.first().map_or(0, |rank| rank.r);
                Err(self.wrong_config(format!(
                    "r and rank_pattern give {} the rank {r}, but {name} in {} has {rows}",
                    layer.module,
                    self.tensor_file().display()
                )))
            }
        }
    }
}

impl Fit {
    /// Makes what all layers have the common rank and α.
    fn simplify(&mut self) {
        let mut ranks = self.own.values();
        if let Some(first) = ranks.next().cloned()
            && self.own.len() == self.layers.len()
            && ranks.all(|rank| *rank == first)
        {
            self.common = first;
            self.own.clear();
        }
    }

    /// Makes a plan's adapter the one of the folder. Layers are named in the folder's own words
    /// where Regatta understands them as PEFT does, otherwise each by its full name.
    pub fn apply_to(
        &self,
        adapter: &mut AdapterPlan,
        config: &PeftConfig,
        model: &dyn Architecture,
    ) {
        config.apply_to(adapter);
        adapter.r = self.common.r;
        if adapter.kind == AdapterKind::Lora {
            adapter.lora_alpha = self.common.alpha;
        }
        adapter.layer_ranks = self.own.clone();
        let same = |targets: &Targets| targets.choose(model).is_ok_and(|it| it == self.layers);
        let targets = plain_targets(config).filter(same);
        let each = || self.layers.iter().map(|layer| layer.module.clone());
        let targets = targets.unwrap_or_else(|| Targets {
            modules: Some(TargetModules::Names(each().collect())),
            layers: None,
            pattern: None,
        });
        adapter.target_modules = targets.modules;
        adapter.fan_in_fan_out = model.stores_in_out();
        adapter.layers_to_transform = targets
            .layers
            .map(|numbers| numbers.iter().map(|n| *n as u32).collect());
        adapter.layers_pattern = targets.pattern;
    }
}

/// PEFT's α where the file has none.
const LORA_ALPHA: f64 = 8.0;

/// The choice of layers in a scenario's words, if the configuration has a list of names.
fn plain_targets(config: &PeftConfig) -> Option<Targets> {
    let Some(OneOrMany::Many(modules)) = &config.target_modules else {
        return None;
    };
    let numbers = config.layer_numbers();
    let numbers = (!numbers.is_empty()).then_some(numbers);
    let patterns = config.layers_pattern.as_ref().map(OneOrMany::to_vec);
    let patterns = patterns.unwrap_or_default().into_iter();
    Some(Targets {
        modules: Some(TargetModules::Names(modules.clone())),
        pattern: numbers.as_ref().and(patterns.into_iter().next()),
        layers: numbers,
    })
}
