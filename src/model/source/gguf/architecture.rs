//! The architectures whose files are read, and how their files differ: as llama.cpp's converter writes
//! them.

use crate::model::source::gguf::error::GgufError;
use crate::model::source::gguf::metadata::GgufMetadata;

/// The key of the architecture.
const KEY: &str = "general.architecture";

/// An architecture of GGUF files.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GgufArchitecture {
    /// Its name, with which its keys begin, and its `model_type` in transformers.
    pub name: &'static str,
    /// Its class in transformers.
    pub class: &'static str,
    /// The keys that it has beside those that all have.
    pub keys: &'static [&'static str],
    /// The norms of a layer, by their names in a file and in transformers.
    pub norms: &'static [(&'static str, &'static str)],
    /// Whether the two rows of a query's or key's head that RoPE rotates together are adjacent.
    pub paired_rows: bool,
    /// Whether weights of norms are stored with the 1 added that transformers adds when it multiplies
    /// by them.
    pub norms_plus_one: bool,
}

/// The norms of Llama.
const NORMS: &[(&str, &str)] = &[
    ("attn_norm", "input_layernorm"),
    ("ffn_norm", "post_attention_layernorm"),
];

const LLAMA: GgufArchitecture = GgufArchitecture {
    name: "llama",
    class: "LlamaForCausalLM",
    keys: &[],
    norms: NORMS,
    paired_rows: true,
    norms_plus_one: false,
};

/// Mistral's files are Llama's.
static ARCHITECTURES: [GgufArchitecture; 4] = [
    LLAMA,
    GgufArchitecture {
        name: "qwen2",
        class: "Qwen2ForCausalLM",
        paired_rows: false,
        ..LLAMA
    },
    GgufArchitecture {
        name: "qwen3",
        class: "Qwen3ForCausalLM",
        norms: &[
            ("attn_norm", "input_layernorm"),
            ("ffn_norm", "post_attention_layernorm"),
            ("attn_q_norm", "self_attn.q_norm"),
            ("attn_k_norm", "self_attn.k_norm"),
        ],
        paired_rows: false,
        ..LLAMA
    },
    GgufArchitecture {
        name: "gemma2",
        class: "Gemma2ForCausalLM",
        keys: &[
            "attention.sliding_window",
            "attn_logit_softcapping",
            "final_logit_softcapping",
        ],
        norms: &[
            ("attn_norm", "input_layernorm"),
            ("post_attention_norm", "post_attention_layernorm"),
            ("ffn_norm", "pre_feedforward_layernorm"),
            ("post_ffw_norm", "post_feedforward_layernorm"),
        ],
        paired_rows: false,
        norms_plus_one: true,
    },
];

impl GgufArchitecture {
    /// The one that a file names.
    ///
    /// # Errors
    /// If it names none, or one that is not supported.
    pub fn of(metadata: &GgufMetadata) -> Result<&'static Self, GgufError> {
        let name = metadata.required(KEY, metadata.text(KEY)?)?;
        let found = ARCHITECTURES.iter().find(|it| it.name == name);
        found.ok_or_else(|| {
            let names = ARCHITECTURES.each_ref().map(|it| it.name).join(", ");
            let reason = format!("`{name}` is not supported; supported are {names}");
            metadata.wrong(KEY, reason)
        })
    }

    /// The whole name of one of its keys.
    pub fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }

    /// A size, which is positive, if the file has it.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn optional_size(
        &self,
        metadata: &GgufMetadata,
        name: &str,
    ) -> Result<Option<u64>, GgufError> {
        let key = self.key(name);
        let size = metadata.count(&key)?;
        if size == Some(0) {
            return Err(metadata.wrong(&key, "it is 0, expected a positive number"));
        }
        Ok(size)
    }

    /// A size that every file has.
    ///
    /// # Errors
    /// If it is missing, or as [`Self::optional_size`].
    pub fn size(&self, metadata: &GgufMetadata, name: &str) -> Result<u64, GgufError> {
        let size = self.optional_size(metadata, name)?;
        metadata.required(&self.key(name), size)
    }
}
