use std::sync::Arc;

use super::*;
use crate::model::source::known::ArchitectureName;

fn model(name: &str) -> Arc<dyn Architecture> {
    name.parse::<ArchitectureName>().unwrap().read().unwrap()
}

fn targets(text: &str) -> Targets {
    Targets {
        modules: Some(text.parse().unwrap()),
        layers: None,
        pattern: None,
    }
}

/// The names chosen in the first layer, without what they begin with, and how many there are.
fn chosen(name: &str, targets: &Targets) -> (Vec<String>, usize) {
    let layers = targets.choose(&*model(name)).unwrap();
    let first = layers.iter().filter(|layer| layer.layer == layers[0].layer);
    let short = |layer: &LinearLayer| {
        let parts: Vec<_> = layer.module.rsplitn(3, '.').collect();
        format!("{}.{}", parts[1], parts[0])
    };
    (first.map(short).collect(), layers.len())
}

#[test]
fn names_all_linear_layers_and_expressions_choose_layers_of_decoders() {
    for (name, text, first, count) in [
        ("gpt2", "c_attn", "attn.c_attn", 12),
        ("gpt2", "c_proj", "attn.c_proj mlp.c_proj", 24),
        ("gpt2", "attn.c_proj,c_fc", "attn.c_proj mlp.c_fc", 24),
        ("gpt2", "transformer.h.3.mlp.c_fc", "mlp.c_fc", 1),
        (
            "gpt2",
            "all-linear",
            "attn.c_attn attn.c_proj mlp.c_fc mlp.c_proj",
            48,
        ),
        (
            "gpt2",
            r"regex:.*\.h\.1\d{0,1}\.(attn|mlp)\.c_proj",
            "attn.c_proj mlp.c_proj",
            6,
        ),
        (
            "smollm2-135m",
            r"regex:.*\.(?:q|v)_proj",
            "self_attn.q_proj self_attn.v_proj",
            60,
        ),
        (
            "smollm2-135m",
            "all-linear",
            "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj \
             mlp.gate_proj mlp.up_proj mlp.down_proj",
            210,
        ),
        (
            "roberta-base",
            "all-linear",
            "self.query self.key self.value output.dense intermediate.dense output.dense",
            72,
        ),
    ] {
        let first = first.split(' ').map(str::to_owned).collect();
        assert_eq!(
            chosen(name, &targets(text)),
            (first, count),
            "{name} {text}"
        );
    }
}

#[test]
fn where_nothing_is_said_it_is_what_peft_adapts_in_such_a_model() {
    for (name, first) in [
        ("gpt2", "attn.c_attn"),
        ("smollm2-135m", "self_attn.q_proj self_attn.v_proj"),
        ("bert-base", "self.query self.value"),
    ] {
        let own = Targets {
            modules: None,
            ..targets("")
        };
        let first: Vec<_> = first.split(' ').map(str::to_owned).collect();
        assert_eq!(chosen(name, &own).0, first, "{name}");
    }
}

#[test]
fn layers_of_decoders_are_chosen_by_number_and_the_name_before_it() {
    for (name, pattern) in [("gpt2", "h"), ("smollm2-135m", "layers")] {
        let some = |pattern: &str| Targets {
            layers: Some(vec![2, 5]),
            pattern: Some(pattern.to_owned()),
            ..targets("all-linear")
        };
        let layers = some(pattern).choose(&*model(name)).unwrap();
        assert!(layers.iter().all(|layer| [2, 5].contains(&layer.layer)));
        let misses = some("layer").choose(&*model(name)).unwrap_err();
        assert_eq!(misses.len(), 1);
        assert_eq!(misses[0].0, "layers_pattern");
        assert!(misses[0].1.ends_with(pattern), "{}", misses[0].1);
    }
}

#[test]
fn what_matches_nothing_is_told_with_what_there_is() {
    for (text, miss) in [
        (
            "query",
            "no linear layer of the model is called query; there are attn.c_attn",
        ),
        ("lm_head", "is called lm_head"),
        (
            "regex:c_attn",
            "the whole name of no linear layer, such as transformer.h.0.attn.c_attn; there are",
        ),
        ("regex:.*query", "no linear layer"),
        ("regex:(", "cannot be used"),
    ] {
        let misses = targets(text).choose(&*model("gpt2")).unwrap_err();
        assert_eq!((misses.len(), misses[0].0), (1, "target_modules"), "{text}");
        assert!(misses[0].1.contains(miss), "{}", misses[0].1);
    }
    let nowhere = Targets {
        layers: Some(vec![1]),
        ..targets("transformer.h.0.mlp.c_fc")
    };
    let misses = nowhere.choose(&*model("gpt2")).unwrap_err();
    assert!(misses[0].1.contains("layers_to_transform"), "{misses:?}");
}

#[test]
fn berts_pooler_is_adapted_if_it_is_named() {
    for (text, has_pooler) in [
        ("dense", false),
        ("pooler.dense", true),
        ("all-linear", true),
        (r"regex:.*\.dense", true),
    ] {
        let layers = targets(text).choose(&*model("bert-base")).unwrap();
        let last = &layers[layers.len() - 1].module;
        assert_eq!(last == "bert.pooler.dense", has_pooler, "{text}");
    }
}
