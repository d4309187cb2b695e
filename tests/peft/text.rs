//! Small decoders with adapters that were trained for a step or two, as a run leaves them behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use regatta::adapter::peft::BASE_DELTA;
use regatta::adapter::peft::export::AdapterFiles;
use regatta::adapter::peft::import::PeftFolder;
use regatta::adapter::projection::Projection;
use regatta::adapter::targets::Targets;
use regatta::adapter::{Role, initial_state};
use regatta::base::tensors::{HostTensor, TensorMap};
use regatta::config::plan::Plan;
use regatta::config::settings::Settings;
use regatta::model::architecture::{Architecture, Model};
use regatta::model::config;
use regatta::model::inputs::Inputs;
use regatta::model::loss::Labels;
use regatta::model::objective::Objective;
use regatta::model::source::checkpoint::Checkpoint;
use regatta::model::weights::Weights;
use regatta::runs::export::trained::TrainedModel;
use regatta::tasks::registry;
use regatta::train::optimizers::adamw::AdamW;
use regatta::train::replica::{Replica, RoundModel};
use tch::{Device, Tensor, no_grad};
use tempfile::TempDir;

use crate::support::{adapted, plan, whole_for};

/// Names and configurations of small decoders: GPT-2; Llama with biases and a separate output; Llama
/// with one that is tied; and each of its like, with windows that are shorter than the texts.
pub const DECODERS: [(&str, &str); 7] = [
    (
        "gpt2",
        r#"{"model_type": "gpt2", "vocab_size": 40, "n_positions": 32, "n_embd": 12, "n_layer": 2,
            "n_head": 2, "n_inner": 20, "initializer_range": 0.3, "embd_pdrop": 0.0,
            "attn_pdrop": 0.0, "resid_pdrop": 0.0, "bos_token_id": 1, "eos_token_id": 2}"#,
    ),
    (
        "llama",
        r#"{"model_type": "llama", "vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6,
            "intermediate_size": 20, "initializer_range": 0.3, "attention_bias": true,
            "max_position_embeddings": 32, "bos_token_id": 1, "eos_token_id": 2}"#,
    ),
    (
        "tied",
        r#"{"model_type": "llama", "vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 20, "initializer_range": 0.3,
            "max_position_embeddings": 32, "tie_word_embeddings": true, "pad_token_id": 0,
            "bos_token_id": 1, "eos_token_id": [2, 3], "torch_dtype": "bfloat16"}"#,
    ),
    (
        "mistral",
        r#"{"model_type": "mistral", "vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6,
            "intermediate_size": 20, "initializer_range": 0.3, "sliding_window": 3,
            "max_position_embeddings": 32, "bos_token_id": 1, "eos_token_id": 2}"#,
    ),
    (
        "qwen2",
        r#"{"model_type": "qwen2", "vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 20,
            "initializer_range": 0.3, "use_sliding_window": true, "sliding_window": 3,
            "max_window_layers": 1, "max_position_embeddings": 32, "tie_word_embeddings": true,
            "bos_token_id": 1, "eos_token_id": 2}"#,
    ),
    (
        "qwen3",
        r#"{"model_type": "qwen3", "vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
            "intermediate_size": 20, "initializer_range": 0.3, "tie_word_embeddings": true,
            "max_position_embeddings": 32, "bos_token_id": 1, "eos_token_id": 2}"#,
    ),
    (
        "gemma2",
        r#"{"model_type": "gemma2", "vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
            "intermediate_size": 20, "initializer_range": 0.3, "query_pre_attn_scalar": 6,
            "attn_logit_softcapping": 2.0, "final_logit_softcapping": 8.0, "sliding_window": 3,
            "max_position_embeddings": 32, "bos_token_id": 1, "eos_token_id": 2}"#,
    ),
];

/// A decoder's snapshot, and what is made of it.
pub struct Desk(TempDir);

impl Desk {
    /// Draws the decoder of that name into `model`.
    pub fn new(name: &str) -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        let folder = desk.path("model");
        fs::create_dir(&folder).unwrap();
        let (_, json) = DECODERS.iter().find(|(known, _)| *known == name).unwrap();
        fs::write(folder.join("config.json"), json).unwrap();
        let architecture = config::read(&folder.join("config.json")).unwrap();
        let drawn = Checkpoint::random(architecture, &Objective::NextToken, 3).unwrap();
        drawn.base.write(&folder.join("model.safetensors")).unwrap();
        for file in [
            "tokenizer.json",
            "generation_config.json",
            "chat_template.jinja",
        ] {
            fs::write(folder.join(file), "{}").unwrap();
        }
        desk
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn model(&self) -> Arc<dyn Architecture> {
        config::read(&self.path("model/config.json")).unwrap()
    }

    pub fn checkpoint(&self) -> Checkpoint {
        let checkpoint = Checkpoint::read(&self.path("model"), &Objective::NextToken, 0).unwrap();
        assert_eq!(checkpoint.fresh, Vec::<String>::new());
        checkpoint
    }

    /// The plan of a run with these settings.
    fn plan(&self, settings: &str) -> Plan {
        let mut settings: Settings = toml::from_str(settings).unwrap();
        settings.model = Some(self.path("model").display().to_string());
        // Nothing can be drawn that the merged model would not have.
        (settings.lora_dropout, settings.cpu) = (None, Some(true));
        let mut plan = plan(&settings);
        plan.data.task = registry::find("e2e").unwrap();
        plan.adapter.dropout = 0.0;
        plan.adapter.fan_in_fan_out = self.model().stores_in_out();
        plan
    }

    /// Trains for two steps beside a changed base weight, leaves the folder of a run, and gives its
    /// model and the logits that it computed itself.
    pub fn train(&self, settings: &str) -> (TrainedModel, Tensor) {
        let (plan, checkpoint) = (self.plan(settings), self.checkpoint());
        let architecture = &*checkpoint.architecture;
        let layers = Targets::of(&plan.adapter).choose(architecture).unwrap();
        let adapter = plan.adapter.build(&layers).unwrap();
        let mut trained = initial_state(&*adapter, &layers, 5, 0);
        for module in &plan.adapter.modules_to_save {
            let name = format!("{module}.weight");
            trained.insert(&name, checkpoint.base.get(&name).unwrap().clone());
        }
        let delta = changed(&layers[layers.len() / 2].weight(), &checkpoint.base);
        let mut base = Weights::from_map(&checkpoint.base, Device::Cpu).unwrap();
        for (name, change) in delta.iter() {
            let weight = base.get(name).unwrap() + change.to_tensor(Device::Cpu).unwrap();
            base.tensors.insert(name.to_owned(), weight);
        }
        let shared = RoundModel::new(base, &trained, &*adapter, &layers, Device::Cpu).unwrap();
        let server: Vec<String> = layers
            .iter()
            .flat_map(|layer| adapter.tensors(layer))
            .filter(|tensor| tensor.role == Role::Server)
            .map(|tensor| tensor.suffix.to_owned())
            .collect();
        let trains = |name: &str| !server.iter().any(|suffix| name.ends_with(suffix));
        let own = shared.state.clone();
        let objective = Objective::NextToken;
        let replica =
            Replica::new(&shared, architecture, &objective, &layers, own, trains).unwrap();
        let mut optimizer = AdamW::new(replica.leaves(), 0.0).unwrap();
        for _ in 0..2 {
            let hidden = replica.model.outputs(&inputs(), None).unwrap();
            let loss = replica.model.loss(&hidden, &next_tokens(), 0.0).unwrap();
            replica.backward(&loss.graph).unwrap();
            optimizer.step(0.05).unwrap();
        }
        trained.0.extend(replica.update().unwrap().0);
        self.leave(&plan, &trained, adapter.projection(), &delta);
        let mut model = TrainedModel::of_run(&self.path("run"), false).unwrap();
        model.plan.data.task = plan.data.task;
        (model, logits(&*replica.model))
    }

    /// The folder of a run that ended.
    fn leave(
        &self,
        plan: &Plan,
        trained: &TensorMap,
        projection: Option<&Projection>,
        delta: &TensorMap,
    ) {
        let (run, model) = (self.path("run"), self.model());
        let (source, objective) = (&plan.model.source, Objective::NextToken);
        let mut files =
            AdapterFiles::of(&plan.adapter, source, &objective, trained).with_tied_output(&*model);
        if let Some(projection) = projection {
            files = files.with_projection(projection);
        }
        files.write(&run.join("adapter")).unwrap();
        delta.write(&run.join(BASE_DELTA)).unwrap();
        fs::write(run.join("scenario.toml"), plan.to_toml()).unwrap();
    }

    /// The logits of the base model with an adapter's folder.
    pub fn with_adapter(&self, folder: &Path) -> Tensor {
        let peft = PeftFolder::read(folder).unwrap();
        let checkpoint = self.checkpoint();
        logits(&*adapted(&checkpoint, &peft, &Objective::NextToken))
    }

    /// The logits of a whole model's folder.
    pub fn of_whole(&self, folder: &Path) -> Tensor {
        logits(&*whole_for(&Objective::NextToken, folder))
    }
}

/// A change to one weight, as it lies.
fn changed(name: &str, base: &TensorMap) -> TensorMap {
    let mut change = HostTensor::full(base.get(name).unwrap().shape(), 0.0);
    let values = change.values_mut().iter_mut().enumerate();
    values.for_each(|(i, value)| *value = (i as f32).sin() * 0.2);
    [(name.to_owned(), change)].into_iter().collect()
}

fn ids() -> Vec<i64> {
    (0..14).map(|i| 4 + i * 11 % 36).collect()
}

/// Two texts of equal length.
pub fn inputs() -> Inputs {
    Inputs::new(2, &ids(), &[1; 14], &[0; 14], Device::Cpu).unwrap()
}

/// Each text's tokens but the first.
fn next_tokens() -> Labels {
    let places = (0..14).filter(|place| place % 7 != 6);
    let tokens: Vec<i64> = places
        .clone()
        .map(|place| ids()[place as usize + 1])
        .collect();
    Labels::tokens(&places.collect::<Vec<i64>>(), &tokens, Device::Cpu).unwrap()
}

fn logits(model: &dyn Model) -> Tensor {
    let logits = |hidden: &Tensor| model.as_causal().unwrap().logits(hidden).unwrap();
    no_grad(|| logits(&model.outputs(&inputs(), None).unwrap()))
}
