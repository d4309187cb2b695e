//! Decoders of well-known sizes.

use std::sync::Arc;

use anyhow::bail;
use regatta::model::activation::Activation;
use regatta::model::architecture::Architecture;
use regatta::model::decoder::gpt2::Gpt2Config;
use regatta::model::decoder::llama::LlamaConfig;
use regatta::model::decoder::rope::{Rope, RopeScaling};

/// A model's attention heads.
pub struct Heads {
    /// How many query heads a layer has.
    pub count: i64,
    /// The width of each.
    pub width: i64,
}

/// The sizes that have a name, with their heads.
pub fn named(name: &str) -> anyhow::Result<(Arc<dyn Architecture>, Heads)> {
    let heads = |count| Heads { count, width: 64 };
    Ok(match name {
        "gpt2-l6" => (Arc::new(gpt2(6, 384)), heads(6)),
        "gpt2" => (Arc::new(gpt2(12, 768)), heads(12)),
        "smollm2-135m" => (Arc::new(smollm2()), heads(9)),
        _ => bail!("no decoder is called {name}"),
    })
}

fn gpt2(layers: i64, width: i64) -> Gpt2Config {
    Gpt2Config {
        tie_word_embeddings: true,
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
        eos_token_id: vec![50_256],
    }
}

fn smollm2() -> LlamaConfig {
    LlamaConfig {
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
        attention_dropout: 0.0,
        initializer_range: 0.02,
        pad_token_id: Some(2),
        eos_token_id: vec![2],
    }
}
