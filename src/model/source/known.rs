//! Architectures by name, for models whose weights are drawn.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::architecture::Architecture;
use crate::model::config;
use crate::model::encoder::bert::BERT;
use crate::model::encoder::config::EncoderConfig;
use crate::model::encoder::family::{Family, HeadKind};
use crate::model::encoder::roberta::ROBERTA;

/// The sizes of a well-known model.
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

/// The sizes that have a name, from the smallest to the largest of each family.
const KNOWN: [KnownEncoder; 6] = [
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
        let (positions, types, epsilon) = match self.family.head() {
            HeadKind::TwoLayers => (514, 1, 1e-5),
            HeadKind::Pooled => (512, 2, 1e-12),
        };
        EncoderConfig {
            family: self.family,
            vocab_size: self.vocabulary,
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
            pad_token_id: Some(self.family.default_padding()),
            position_embedding_type: "absolute",
            tokenizer_class: None,
        }
    }
}

/// The sizes of a well-known encoder.
///
/// # Errors
/// If the name is not known.
pub fn known_encoder(name: &str) -> Result<EncoderConfig, ModelError> {
    let known = KNOWN.iter().find(|known| known.name == name);
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
            Self::Named(name) => Ok(Arc::new(known_encoder(name)?)),
        }
    }
}

impl FromStr for ArchitectureName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.ends_with(".json") {
            return Ok(Self::File(PathBuf::from(text)));
        }
        let known = KNOWN.iter().find(|known| known.name == text);
        known
            .map(|known| Self::Named(known.name))
            .ok_or_else(unknown)
    }
}

fn unknown() -> String {
    let names = KNOWN.map(|known| known.name).join(", ");
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

    /// Parameters of the encoder as the models' authors count them, in millions.
    #[test]
    fn named_sizes_have_the_parameters_that_are_said_of_them() {
        for (name, millions) in [
            ("minilm-l6", 22.7),
            ("bert-base", 109.5),
            ("bert-large", 335.1),
            ("distilroberta-base", 81.5),
            ("roberta-base", 124.1),
            ("roberta-large", 354.3),
        ] {
            let architecture = name.parse::<ArchitectureName>().unwrap().read().unwrap();
            let got = architecture.base_weights() as f64 / 1e6;
            assert!((got - millions).abs() < 0.1, "{name}: {got}");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones_and_a_file_is_taken() {
        let error = "roberta-tiny".parse::<ArchitectureName>().unwrap_err();
        assert!(error.contains("roberta-large"), "{error}");
        let file: ArchitectureName = "sizes/config.json".parse().unwrap();
        assert_eq!(file, ArchitectureName::File("sizes/config.json".into()));
    }
}
