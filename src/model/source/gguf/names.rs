//! Names of tensors: GGUF's to Hugging Face's; and how their values are stored.

use crate::model::source::gguf::architecture::GgufArchitecture;

/// How the values of a tensor are stored in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// As in a Hugging Face checkpoint.
    Same,
    /// The two rows of a query head that RoPE rotates together are adjacent.
    QueryPairs,
    /// The same for key heads.
    KeyPairs,
    /// Each value is 1 more.
    OneMore,
}

/// What a tensor of a file is to the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TensorUse {
    /// A parameter, under this Hugging Face name.
    Parameter(String, Storage),
    /// Factors of the rotary frequencies, which are a part of the configuration.
    RopeFactors,
    /// A buffer that the configuration determines.
    Derived,
}

/// Tensors outside the layers.
const OUTSIDE: [(&str, &str); 3] = [
    ("token_embd.weight", "model.embed_tokens.weight"),
    ("output_norm.weight", "model.norm.weight"),
    ("output.weight", "lm_head.weight"),
];

/// Modules of a layer beside its norms, each with a weight and some with a bias.
const INSIDE: [(&str, &str); 7] = [
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

impl GgufArchitecture {
    /// The modules of a layer.
    fn modules(&self) -> impl Iterator<Item = &'static (&'static str, &'static str)> + use<> {
        self.norms.iter().chain(&INSIDE)
    }

    /// What the tensor `name` is to a model of `layers` layers.
    ///
    /// # Errors
    /// If its name is not known; with what is.
    pub fn use_of(&self, name: &str, layers: u64) -> Result<TensorUse, String> {
        if name == "rope_freqs.weight" {
            return Ok(TensorUse::RopeFactors);
        }
        if let Some((_, ours)) = OUTSIDE.iter().find(|row| row.0 == name) {
            let storage = self.storage(name);
            return Ok(TensorUse::Parameter((*ours).to_owned(), storage));
        }
        self.inside(name, layers)?.ok_or_else(|| {
            let modules: Vec<_> = self.modules().map(|row| row.0).collect();
            format!(
                "it is not one of architecture `{}`, which has token_embd, output_norm, output \
                 and, as blk.N.MODULE.weight or .bias, {}",
                self.name,
                modules.join(", ")
            )
        })
    }

    /// The name in a file of the parameter that has this Hugging Face name.
    pub fn in_file(&self, name: &str) -> Option<String> {
        if let Some((theirs, _)) = OUTSIDE.iter().find(|row| row.1 == name) {
            return Some((*theirs).to_owned());
        }
        let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
        let (module, parameter) = rest.rsplit_once('.')?;
        let (theirs, _) = self.modules().find(|row| row.1 == module)?;
        Some(format!("blk.{layer}.{theirs}.{parameter}"))
    }

    /// A tensor of a layer, if it is one.
    fn inside(&self, name: &str, layers: u64) -> Result<Option<TensorUse>, String> {
        let Some((number, rest)) = name.strip_prefix("blk.").and_then(|it| it.split_once('.'))
        else {
            return Ok(None);
        };
        let layer: Option<u64> = number.parse().ok();
        let Some(layer) = layer.filter(|layer| layer.to_string() == number) else {
            return Ok(None);
        };
        if layer >= layers {
            return Err(format!(
                "the model has layers 0 to {} only",
                layers.saturating_sub(1)
            ));
        }
        if rest == "attn_rot_embd.weight" {
            return Ok(Some(TensorUse::Derived));
        }
        let Some((module, parameter)) = rest.split_once('.') else {
            return Ok(None);
        };
        let found = self.modules().find(|row| row.0 == module);
        let found = found.filter(|_| ["weight", "bias"].contains(&parameter));
        Ok(found.map(|(_, ours)| {
            let name = format!("model.layers.{layer}.{ours}.{parameter}");
            TensorUse::Parameter(name, self.storage(rest))
        }))
    }

    /// How a tensor is stored, by its name in its layer or outside of layers.
    fn storage(&self, name: &str) -> Storage {
        match name.split_once('.') {
            Some(("attn_q", _)) if self.paired_rows => Storage::QueryPairs,
            Some(("attn_k", _)) if self.paired_rows => Storage::KeyPairs,
            Some((module, "weight")) if self.norms_plus_one && module.ends_with("_norm") => {
                Storage::OneMore
            }
            _ => Storage::Same,
        }
    }
}

/// Puts rows in adjacent pairs back into halves: in each head, `(size / 2, 2)` rows become
/// `(2, size / 2)`. That undoes what llama.cpp's converter does to the queries and keys.
///
/// `rows` must be a multiple of `2 * heads`, and the number of values one of `rows`.
pub(crate) fn unpair(values: &[f32], rows: usize, heads: usize) -> Vec<f32> {
    let (width, pairs) = (values.len() / rows, rows / heads / 2);
    let mut ordered = Vec::with_capacity(values.len());
    for head in values.chunks_exact(2 * pairs * width) {
        for half in 0..2 {
            for pair in 0..pairs {
                let at = (2 * pair + half) * width;
                ordered.extend_from_slice(&head[at..at + width]);
            }
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::source::gguf::metadata::MetadataValue;
    use crate::model::source::gguf::sample::metadata;

    fn architecture(name: &str) -> &'static GgufArchitecture {
        let name = MetadataValue::Text(name.into());
        GgufArchitecture::of(&metadata(&[("general.architecture", name)])).unwrap()
    }

    #[test]
    fn tensors_have_their_hugging_face_names() {
        use Storage::{KeyPairs, OneMore, QueryPairs, Same};
        for (of, theirs, ours, storage) in [
            ("llama", "token_embd", "model.embed_tokens", Same),
            ("llama", "output_norm", "model.norm", Same),
            ("llama", "output", "lm_head", Same),
            (
                "llama",
                "blk.3.attn_q",
                "model.layers.3.self_attn.q_proj",
                QueryPairs,
            ),
            (
                "llama",
                "blk.11.attn_k",
                "model.layers.11.self_attn.k_proj",
                KeyPairs,
            ),
            (
                "llama",
                "blk.0.attn_output",
                "model.layers.0.self_attn.o_proj",
                Same,
            ),
            (
                "llama",
                "blk.0.ffn_norm",
                "model.layers.0.post_attention_layernorm",
                Same,
            ),
            (
                "llama",
                "blk.0.ffn_down",
                "model.layers.0.mlp.down_proj",
                Same,
            ),
            (
                "qwen2",
                "blk.3.attn_q",
                "model.layers.3.self_attn.q_proj",
                Same,
            ),
            (
                "qwen3",
                "blk.2.attn_k",
                "model.layers.2.self_attn.k_proj",
                Same,
            ),
            (
                "qwen3",
                "blk.2.attn_k_norm",
                "model.layers.2.self_attn.k_norm",
                Same,
            ),
            ("gemma2", "token_embd", "model.embed_tokens", Same),
            ("gemma2", "output_norm", "model.norm", OneMore),
            (
                "gemma2",
                "blk.0.ffn_norm",
                "model.layers.0.pre_feedforward_layernorm",
                OneMore,
            ),
            (
                "gemma2",
                "blk.0.post_attention_norm",
                "model.layers.0.post_attention_layernorm",
                OneMore,
            ),
            (
                "gemma2",
                "blk.0.post_ffw_norm",
                "model.layers.0.post_feedforward_layernorm",
                OneMore,
            ),
            (
                "gemma2",
                "blk.0.attn_q",
                "model.layers.0.self_attn.q_proj",
                Same,
            ),
        ] {
            let of = architecture(of);
            let [theirs, ours] = [theirs, ours].map(|name| format!("{name}.weight"));
            let found = of.use_of(&theirs, 12).unwrap();
            assert_eq!(found, TensorUse::Parameter(ours.clone(), storage));
            assert_eq!(of.in_file(&ours), Some(theirs));
        }
        let llama = architecture("llama");
        let bias = llama.use_of("blk.1.attn_k.bias", 2).unwrap();
        let name = "model.layers.1.self_attn.k_proj.bias".to_owned();
        assert_eq!(bias, TensorUse::Parameter(name, KeyPairs));
        let factors = llama.use_of("rope_freqs.weight", 1).unwrap();
        assert_eq!(factors, TensorUse::RopeFactors);
        let derived = llama.use_of("blk.0.attn_rot_embd.weight", 1).unwrap();
        assert_eq!(derived, TensorUse::Derived);
    }

    #[test]
    fn other_tensors_are_refused() {
        let llama = architecture("llama");
        for name in [
            "blk.0.ffn_gate_inp.weight",
            "blk.0.attn_q.scale",
            "blk.00.attn_q.weight",
            "blk.x.attn_q.weight",
            "blk.0.attn_q",
            "blk.0.attn_q_norm.weight",
            "position_embd.weight",
        ] {
            let error = llama.use_of(name, 2).unwrap_err();
            assert!(error.contains("attn_output"), "{name}: {error}");
        }
        let error = llama.use_of("blk.2.attn_q.weight", 2).unwrap_err();
        assert_eq!(error, "the model has layers 0 to 1 only");
    }

    /// Rows are their own numbers: two heads of four rows, two values wide.
    #[test]
    fn rows_in_pairs_become_halves() {
        let paired = [0, 2, 1, 3, 4, 6, 5, 7];
        let values: Vec<f32> = paired.iter().flat_map(|&row| [row as f32; 2]).collect();
        let halves: Vec<f32> = (0..8).flat_map(|row| [row as f32; 2]).collect();
        assert_eq!(unpair(&values, 8, 2), halves);
    }
}
