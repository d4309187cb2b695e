//! What is refused.

use serde_json::json;

use crate::model::config::decoder::tests::{parse, small, with};
use crate::model::config::keys::object_of;

const FAMILIES: [&str; 5] = ["llama", "mistral", "qwen2", "qwen3", "gemma2"];

#[test]
fn what_is_not_computed_or_means_nothing_is_refused_by_key() {
    for (family, keys, said) in [
        (
            "gemma3",
            json!({}),
            "model_type is \"gemma3\"; supported are RoBERTa (\"roberta\"), BERT (\"bert\"), XLM-RoBERTa \
             (\"xlm-roberta\"), ELECTRA (\"electra\"), DistilBERT (\"distilbert\"), ModernBERT \
             (\"modernbert\"), DeBERTa-v2 and -v3 (\"deberta-v2\"), DeBERTa (\"deberta\"), GPT-2 \
             (\"gpt2\"), Llama (\"llama\"), Mistral (\"mistral\"), Qwen2 (\"qwen2\"), Qwen3 \
             (\"qwen3\") and Gemma 2 (\"gemma2\")",
        ),
        ("qwen2_moe", json!({}), "model_type is \"qwen2_moe\""),
        (
            "mistral",
            json!({"sliding_window": 0}),
            "sliding_window is 0; it must be a whole number",
        ),
        (
            "mistral",
            json!({"layer_types": ["full_attention", "sliding_attention", "full_attention"]}),
            "layer_types are not all sliding_attention",
        ),
        (
            "qwen2",
            json!({"layer_types": ["full_attention", "full_attention", "chunked_attention"]}),
            "layer_types is \"chunked_attention\"; supported are full_attention and \
             sliding_attention",
        ),
        (
            "qwen2",
            json!({"layer_types": ["full_attention"]}),
            "it must name the types of 3 layers (num_hidden_layers)",
        ),
        (
            "qwen2",
            json!({"layer_types": "full_attention"}),
            "it must name the types of 3 layers",
        ),
        (
            "qwen3",
            json!({"layer_types": ["full_attention", "full_attention", "sliding_attention"]}),
            "layers are of type sliding_attention, but there is no window: use_sliding_window \
             must be true",
        ),
        (
            "qwen3",
            json!({"use_sliding_window": 1}),
            "use_sliding_window is 1; it must be true",
        ),
        (
            "qwen3",
            json!({"max_window_layers": -1}),
            "max_window_layers is -1",
        ),
        (
            "qwen3",
            json!({"head_dim": 7}),
            "head_dim is 7; it must be even",
        ),
        (
            "gemma2",
            json!({"sliding_window": null}),
            "sliding_window must be a number",
        ),
        (
            "gemma2",
            json!({"attn_logit_softcapping": 0}),
            "attn_logit_softcapping is 0; it must be a number above 0, or null",
        ),
        (
            "gemma2",
            json!({"final_logit_softcapping": "30"}),
            "final_logit_softcapping is \"30\"",
        ),
        (
            "gemma2",
            json!({"query_pre_attn_scalar": 0}),
            "query_pre_attn_scalar is 0",
        ),
        (
            "gemma2",
            json!({"use_bidirectional_attention": true}),
            "use_bidirectional_attention is true; attention to later tokens: not supported",
        ),
        (
            "gemma2",
            json!({"rope_parameters": {"sliding_attention": {"rope_theta": 1e4}}}),
            "rope_parameters: it has other positions for layers of sliding_attention",
        ),
        (
            "qwen2",
            json!({"rope_scaling": {"rope_type": "yarn", "factor": 4, "truncate": "no"}}),
            "rope_scaling: truncate is \"no\"; it must be true or false",
        ),
        (
            "gemma2",
            json!({"pad_token_id": 50}),
            "pad_token_id is 50; it must be one of the 50",
        ),
    ] {
        let mut all = small(family);
        all.extend(object_of(keys));
        let error = parse(&all).unwrap_err().to_string();
        let right = error.starts_with("config.json: ") && error.contains(said);
        assert!(right, "{family}: {error}");
    }
    for family in FAMILIES {
        let keys = json!({"quantization_config": {"bits": 4}});
        let error = with(family, keys).unwrap_err().to_string();
        assert!(error.contains("quantization_config is"), "{error}");
    }
}
