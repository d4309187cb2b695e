//! Architectures by name, for models whose weights are drawn.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::architecture::Architecture;
use crate::model::config;
use crate::model::decoder::gpt2::Gpt2Config;
use crate::model::decoder::llama::LLAMA;
use crate::model::decoder::rope::{Rope, RopeScaling};
use crate::model::decoder::rotary::config::{LayerType, RotaryConfig};
use crate::model::encoder::bert::BERT;
use crate::model::encoder::config::EncoderConfig;
use crate::model::encoder::family::Family;
use crate::model::encoder::roberta::ROBERTA;

/// The sizes of a well-known encoder.
#[derive(Debug, PartialEq, Eq)]
struct KnownEncoder {
    name: &'static str,
    family: Family,
    vocabulary: i64,
    layers: i64,
    width: i64,
    heads: i64,
    wide: i64,
}

/// The encoders that have a name, from the smallest to the largest of each family.
const ENCODERS: [KnownEncoder; 6] = [
    known("minilm-l6", BERT, 30_522, 6, 384),
    known("bert-base", BERT, 30_522, 12, 768),
    known("bert-large", BERT, 30_522, 24, 1024),
    known("distilroberta-base", ROBERTA, 50_265, 6, 768),
    known("roberta-base", ROBERTA, 50_265, 12, 768),
    known("roberta-large", ROBERTA, 50_265, 24, 1024),
];

/// All of them have a feed-forward of four times their width; heads are 64 wide but for MiniLM's.
const fn known(
    name: &'static str,
    family: Family,
    vocabulary: i64,
    layers: i64,
    width: i64,
) -> KnownEncoder {
    KnownEncoder {
        name,
        family,
        vocabulary,
        layers,
        width,
        heads: if width == 384 { 12 } else { width / 64 },
        wide: 4 * width,
    }
}

impl KnownEncoder {
    fn config(&self) -> EncoderConfig {
        let (positions, types, epsilon) = match self.family.positions_after_padding {
            true => (514, 1, 1e-5),
            false => (512, 2, 1e-12),
        };
        EncoderConfig {
            family: self.family,
            vocab_size: self.vocabulary,
            embedding_size: None,
            hidden_size: self.width,
            num_hidden_layers: self.layers,
            num_attention_heads: self.heads,
            intermediate_size: self.wide,
            hidden_act: Activation::Gelu,
            max_position_embeddings: positions,
            type_vocab_size: types,
            layer_norm_eps: epsilon,
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            classifier_dropout: None,
            initializer_range: 0.02,
            pad_token_id: Some(self.family.default_padding),
            position_embedding_type: "absolute",
            tokenizer_class: None,
        }
    }
}

/// Makes an architecture of known sizes.
type Sizes = fn() -> Arc<dyn Architecture>;

/// The decoders that have a name, likewise.
const DECODERS: [(&str, Sizes); 3] = [
    ("gpt2", || Arc::new(gpt2(12, 768))),
    ("gpt2-medium", || Arc::new(gpt2(24, 1024))),
    ("smollm2-135m", || Arc::new(smollm2_135m())),
];

/// GPT-2 of other sizes, as Radford et al. (2019) scale it: heads are 64 wide, and the feed-forward
/// four times as wide as the model.
#[must_use]
pub fn gpt2(layers: i64, width: i64) -> Gpt2Config {
    Gpt2Config {
        vocab_size: 50_257,
        n_positions: 1024,
        n_embd: width,
        n_layer: layers,
        n_head: width / 64,
        n_inner: 4 * width,
        activation_function: Activation::GeluNew,
        layer_norm_epsilon: 1e-5,
        embd_pdrop: 0.1,
        attn_pdrop: 0.1,
        resid_pdrop: 0.1,
        initializer_range: 0.02,
        tie_word_embeddings: true,
        eos_token_id: vec![50_256],
    }
}

/// A Llama of Hugging Face.
fn smollm2_135m() -> RotaryConfig {
    RotaryConfig {
        family: &LLAMA,
        vocab_size: 49_152,
        hidden_size: 576,
        num_hidden_layers: 30,
        num_attention_heads: 9,
        num_key_value_heads: 3,
        head_dim: 64,
        intermediate_size: 1536,
        hidden_act: Activation::Silu,
        rms_norm_eps: 1e-5,
        max_position_embeddings: 8192,
        rope: Rope {
            theta: 1e5,
            head_dim: 64,
            scaling: RopeScaling::None,
        },
        tie_word_embeddings: true,
        attention_bias: false,
        mlp_bias: false,
        sliding_window: None,
        layer_types: vec![LayerType::Full; 30],
        query_pre_attn_scalar: None,
        attn_logit_softcapping: None,
        final_logit_softcapping: None,
        attention_dropout: 0.0,
        initializer_range: 1.0 / 24.0,
        pad_token_id: None,
        eos_token_id: vec![0],
    }
}

/// The names of all sizes that have one.
fn names() -> impl Iterator<Item = &'static str> {
    let decoders = DECODERS.into_iter().map(|(name, _)| name);
    ENCODERS.iter().map(|known| known.name).chain(decoders)
}

/// The sizes of a well-known encoder.
///
/// # Errors
/// If the name is not an encoder's.
pub fn known_encoder(name: &str) -> Result<EncoderConfig, ModelError> {
    let known = ENCODERS.iter().find(|known| known.name == name);
    let known = known.ok_or_else(|| ModelError::Refused(unknown()))?;
    Ok(known.config())
}

/// An architecture without weights: a well-known model's, or a `config.json`'s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchitectureName {
    /// One that has a name.
    Named(&'static str),
    /// The content of a file.
    File(PathBuf),
}

impl ArchitectureName {
    /// Its sizes.
    ///
    /// # Errors
    /// If the file cannot be read, or asks for a model that is not known.
    pub fn read(&self) -> Result<Arc<dyn Architecture>, ModelError> {
        match self {
            Self::File(path) => config::read(path),
            Self::Named(name) => match DECODERS.iter().find(|(known, _)| known == name) {
                Some((_, decoder)) => Ok(decoder()),
                None => Ok(Arc::new(known_encoder(name)?)),
            },
        }
    }
}

impl FromStr for ArchitectureName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.ends_with(".json") {
            return Ok(Self::File(PathBuf::from(text)));
        }
        let known = names().find(|name| *name == text);
        known.map(Self::Named).ok_or_else(unknown)
    }
}

fn unknown() -> String {
    let names: Vec<_> = names().collect();
    let names = names.join(", ");
    format!("unknown architecture; name one of {names}, or a config.json")
}

impl fmt::Display for ArchitectureName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parameters as the models' authors count them, in millions; an encoder's without its head.
    #[test]
    fn named_sizes_have_the_parameters_that_are_said_of_them() {
        for (name, millions) in [
            ("minilm-l6", 22.7),
            ("bert-base", 109.5),
            ("bert-large", 335.1),
            ("distilroberta-base", 81.5),
            ("roberta-base", 124.1),
            ("roberta-large", 354.3),
            ("gpt2", 124.4),
            ("gpt2-medium", 354.8),
            ("smollm2-135m", 134.5),
        ] {
            let architecture = name.parse::<ArchitectureName>().unwrap().read().unwrap();
            let got = architecture.base_weights() as f64 / 1e6;
            assert!((got - millions).abs() < 0.1, "{name}: {got}");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones_and_a_file_is_taken() {
        let error = "gpt3".parse::<ArchitectureName>().unwrap_err();
        assert!(
            error.contains("roberta-large, gpt2, gpt2-medium"),
            "{error}"
        );
        let file: ArchitectureName = "sizes/config.json".parse().unwrap();
        assert_eq!(file, ArchitectureName::File("sizes/config.json".into()));
    }
}
