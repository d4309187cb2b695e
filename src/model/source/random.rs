//! A model whose weights are drawn, as transformers draws those of a model without a checkpoint.

use std::sync::Arc;

use crate::base::allocator;
use crate::model::ModelError;
use crate::model::architecture::Architecture;
use crate::model::base_form::BaseForm;
use crate::model::config::keys::MOST_WEIGHTS;
use crate::model::objective::Objective;
use crate::model::source::checkpoint::Checkpoint;
use crate::model::source::draw::draw;
use crate::model::source::gather::Gathered;
use crate::model::tensor_spec::TensorSpec;

impl Checkpoint {
    /// Draws all weights from the seed, to be held in float32; see [`Checkpoint::random_as`].
    ///
    /// # Errors
    /// As [`Checkpoint::random_as`].
    pub fn random(
        architecture: Arc<dyn Architecture>,
        objective: &Objective,
        seed: u64,
    ) -> Result<Self, ModelError> {
        Self::random_as(architecture, objective, seed, &BaseForm::float32())
    }

    /// Draws all weights from the seed and holds them in a form: normal with the architecture's
    /// spread, biases 0, norms 1, and 0 for the padding's rows of the embeddings that have one
    /// (`padding_idx`). Each tensor is a function of the seed, its name and its shape.
    ///
    /// # Errors
    /// If the model would be too large to be meant, or for this machine.
    pub fn random_as(
        architecture: Arc<dyn Architecture>,
        objective: &Objective,
        seed: u64,
        form: &BaseForm<'_>,
    ) -> Result<Self, ModelError> {
        let weights = architecture.base_weights();
        if weights > MOST_WEIGHTS {
            return Err(ModelError::Refused(format!(
                "the architecture has {weights} weights, but at most {MOST_WEIGHTS} are supported; \
                 check its sizes"
            )));
        }
        allocator::require(form.bytes(&*architecture)).map_err(ModelError::Refused)?;
        let draw = |tensor: TensorSpec| {
            let values = draw(&tensor, architecture.initial_spread(), seed);
            (tensor.name, values)
        };
        let mut gathered = Gathered::new(form, &*architecture);
        for (name, values) in architecture.base_tensors().into_iter().map(draw) {
            gathered.add(name, values);
        }
        gathered.check().map_err(ModelError::Refused)?;
        let head = architecture.head_tensors(objective).into_iter();
        Ok(Self {
            base: gathered.tensors,
            quantised: gathered.quantised,
            head: head.map(draw).collect(),
            architecture,
            fresh: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::encoder::bert::BERT;
    use crate::model::encoder::config::EncoderConfig;
    use crate::model::encoder::family::Family;
    use crate::model::encoder::roberta::ROBERTA;
    use crate::model::source::known::known_encoder;

    fn tiny(family: Family) -> EncoderConfig {
        let mut config = known_encoder("roberta-base").unwrap();
        config.family = family;
        (config.vocab_size, config.max_position_embeddings) = (50, 12);
        (config.hidden_size, config.intermediate_size) = (16, 32);
        (config.num_hidden_layers, config.num_attention_heads) = (2, 2);
        config
    }

    #[test]
    fn weights_are_normal_biases_zero_norms_one_and_the_paddings_rows_zero() {
        let checkpoint =
            Checkpoint::random(Arc::new(tiny(ROBERTA)), &Objective::classes(2), 1).unwrap();
        let of = |name: &str| checkpoint.base.get(name).unwrap().values();
        let layer = "roberta.encoder.layer.1.attention";
        assert!(
            of(&format!("{layer}.self.query.bias"))
                .iter()
                .all(|x| *x == 0.0)
        );
        assert!(
            of(&format!("{layer}.output.LayerNorm.weight"))
                .iter()
                .all(|x| *x == 1.0)
        );
        let dense = "roberta.encoder.layer.0.intermediate.dense.weight";
        let spread = spread_of(&checkpoint, dense);
        assert!((spread - 0.02).abs() < 0.002, "{spread}");
        for table in ["word_embeddings", "position_embeddings"] {
            let table = of(&format!("roberta.embeddings.{table}.weight"));
            assert!(table[16..32].iter().all(|x| *x == 0.0));
            assert!(table[..16].iter().all(|x| *x != 0.0));
        }
        let head = checkpoint.head.get("classifier.dense.weight").unwrap();
        assert!(head.values().iter().any(|x| *x != 0.0));
    }

    fn spread_of(checkpoint: &Checkpoint, name: &str) -> f64 {
        let values = checkpoint.base.get(name).unwrap().values();
        let squares = values.iter().map(|x| f64::from(x * x)).sum::<f64>();
        (squares / values.len() as f64).sqrt()
    }

    #[test]
    fn gpt2_draws_what_adds_to_the_residual_stream_narrower_the_more_layers_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        let sizes = r#"{"model_type": "gpt2", "vocab_size": 60, "n_positions": 16, "n_embd": 48,
            "n_layer": 8, "n_head": 2}"#;
        std::fs::write(&file, sizes).unwrap();
        let architecture = crate::model::config::read(&file).unwrap();
        let drawn = Checkpoint::random(architecture, &Objective::NextToken, 1).unwrap();
        for (name, expected) in [
            ("wte", 0.02),
            ("h.7.attn.c_attn", 0.02),
            ("h.7.mlp.c_fc", 0.02),
            ("h.7.attn.c_proj", 0.005),
            ("h.7.mlp.c_proj", 0.005),
        ] {
            let spread = spread_of(&drawn, &format!("transformer.{name}.weight"));
            assert!((spread / expected - 1.0).abs() < 0.06, "{name}: {spread}");
        }
        let bias = drawn.base.get("transformer.h.0.mlp.c_proj.bias").unwrap();
        assert!(bias.values().iter().all(|x| *x == 0.0));
    }

    #[test]
    fn a_seed_gives_the_same_weights_and_another_seed_others() {
        let drawn =
            |seed| Checkpoint::random(Arc::new(tiny(BERT)), &Objective::classes(3), seed).unwrap();
        let (one, again, other) = (drawn(1), drawn(1), drawn(2));
        assert_eq!((&one.base, &one.head), (&again.base, &again.head));
        assert_ne!(one.base, other.base);
    }

    #[test]
    fn every_tensor_of_the_classifier_is_there() {
        use crate::model::weights::{View, Weights};
        for family in [ROBERTA, BERT] {
            let checkpoint =
                Checkpoint::random(Arc::new(tiny(family)), &Objective::classes(2), 1).unwrap();
            let mut all = checkpoint.base;
            all.0.extend(checkpoint.head.0);
            let weights = Weights::from_map(&all, tch::Device::Cpu).unwrap();
            let built = checkpoint
                .architecture
                .build(&View::new(&weights), &Objective::classes(2));
            assert!(built.is_ok());
        }
    }

    #[test]
    fn sizes_beyond_all_measure_are_refused() {
        let mut config = tiny(BERT);
        config.vocab_size = i64::MAX / 4;
        let error = Checkpoint::random(Arc::new(config), &Objective::classes(2), 1).unwrap_err();
        assert!(error.to_string().contains("check its sizes"), "{error}");
    }
}
