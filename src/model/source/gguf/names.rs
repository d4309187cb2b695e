//! Names of tensors: GGUF's to Hugging Face's, for the architecture `llama`; and the order of
//! their rows.

/// How the rows of a tensor lie in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOrder {
    /// As in a Hugging Face checkpoint.
    Same,
    /// The two rows of a query head that RoPE rotates together are adjacent.
    QueryPairs,
    /// The same for key heads.
    KeyPairs,
}

/// What a tensor of a file is to the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TensorUse {
    /// A parameter, under this Hugging Face name.
    Parameter(String, RowOrder),
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

/// Modules of a layer, each with a weight and some with a bias.
const INSIDE: [(&str, &str); 9] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// What the tensor `name` is to a model of `layers` layers.
///
/// # Errors
/// If its name is not known; with what is.
pub(crate) fn use_of(name: &str, layers: u64) -> Result<TensorUse, String> {
    if name == "rope_freqs.weight" {
        return Ok(TensorUse::RopeFactors);
    }
    if let Some((_, ours)) = OUTSIDE.iter().find(|row| row.0 == name) {
        return Ok(TensorUse::Parameter((*ours).to_owned(), RowOrder::Same));
    }
    inside(name, layers)?.ok_or_else(|| {
        let modules = INSIDE.map(|row| row.0).join(", ");
        format!(
            "it is not one of architecture `llama`, which has token_embd, output_norm, output and, \
             as blk.N.MODULE.weight or .bias, {modules}"
        )
    })
}

/// The name in a file of the parameter that has this Hugging Face name.
pub(crate) fn in_file(name: &str) -> Option<String> {
    if let Some((theirs, _)) = OUTSIDE.iter().find(|row| row.1 == name) {
        return Some((*theirs).to_owned());
    }
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let (module, parameter) = rest.rsplit_once('.')?;
    let (theirs, _) = INSIDE.iter().find(|row| row.1 == module)?;
    Some(format!("blk.{layer}.{theirs}.{parameter}"))
}

/// A tensor of a layer, if it is one.
fn inside(name: &str, layers: u64) -> Result<Option<TensorUse>, String> {
    let Some((number, rest)) = name.strip_prefix("blk.").and_then(|it| it.split_once('.')) else {
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
    let found = INSIDE.iter().find(|row| row.0 == module);
    let found = found.filter(|_| ["weight", "bias"].contains(&parameter));
    Ok(found.map(|(_, ours)| {
        let order = match module {
            "attn_q" => RowOrder::QueryPairs,
            "attn_k" => RowOrder::KeyPairs,
            _ => RowOrder::Same,
        };
        TensorUse::Parameter(format!("model.layers.{layer}.{ours}.{parameter}"), order)
    }))
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

    fn parameter(name: &str, order: RowOrder) -> TensorUse {
        TensorUse::Parameter(name.to_owned(), order)
    }

    #[test]
    fn tensors_have_their_hugging_face_names() {
        for (theirs, ours, order) in [
            (
                "token_embd.weight",
                "model.embed_tokens.weight",
                RowOrder::Same,
            ),
            ("output_norm.weight", "model.norm.weight", RowOrder::Same),
            ("output.weight", "lm_head.weight", RowOrder::Same),
            (
                "blk.3.attn_q.weight",
                "model.layers.3.self_attn.q_proj.weight",
                RowOrder::QueryPairs,
            ),
            (
                "blk.11.attn_k.bias",
                "model.layers.11.self_attn.k_proj.bias",
                RowOrder::KeyPairs,
            ),
            (
                "blk.0.attn_output.weight",
                "model.layers.0.self_attn.o_proj.weight",
                RowOrder::Same,
            ),
            (
                "blk.0.ffn_norm.weight",
                "model.layers.0.post_attention_layernorm.weight",
                RowOrder::Same,
            ),
            (
                "blk.0.ffn_down.weight",
                "model.layers.0.mlp.down_proj.weight",
                RowOrder::Same,
            ),
        ] {
            assert_eq!(
                use_of(theirs, 12).unwrap(),
                parameter(ours, order),
                "{theirs}"
            );
            assert_eq!(in_file(ours).as_deref(), Some(theirs));
        }
        assert_eq!(
            use_of("rope_freqs.weight", 1).unwrap(),
            TensorUse::RopeFactors
        );
        let derived = use_of("blk.0.attn_rot_embd.weight", 1).unwrap();
        assert_eq!(derived, TensorUse::Derived);
    }

    #[test]
    fn other_tensors_are_refused() {
        for name in [
            "blk.0.ffn_gate_inp.weight",
            "blk.0.attn_q.scale",
            "blk.00.attn_q.weight",
            "blk.x.attn_q.weight",
            "blk.0.attn_q",
            "position_embd.weight",
        ] {
            let error = use_of(name, 2).unwrap_err();
            assert!(error.contains("attn_output"), "{name}: {error}");
        }
        let error = use_of("blk.2.attn_q.weight", 2).unwrap_err();
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
