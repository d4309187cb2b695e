//! Which of a model's layers an `adapter_config.json` chooses, by PEFT's rules.
//!
//! The rules are those of `check_target_module_exists` in PEFT 0.21, which those of older versions
//! are part of. Names that match nothing are passed over, as PEFT passes over them.

use crate::adapter::pattern::Pattern;
use crate::adapter::peft::config::{OneOrMany, PeftConfig};
use crate::adapter::target_modules::ALL_LINEAR;
use crate::adapter::targets::{ends_in, listed};
use crate::model::architecture::Architecture;
use crate::model::linear_layer::LinearLayer;

/// The layers that the configuration chooses, in the order of the forward pass. Layers of the head,
/// which is trained in full, are none of them.
///
/// # Errors
/// If no layer is chosen, or an expression cannot be used; with the key.
pub fn choose(config: &PeftConfig, model: &dyn Architecture) -> Result<Vec<LinearLayer>, String> {
    let choice = Choice::of(config, model.default_targets())?;
    let mut layers = model.linear_layers();
    let mut failed = None;
    layers.retain(|layer| {
        choice.takes(&layer.module).unwrap_or_else(|error| {
            failed = Some(error);
            false
        })
    });
    match failed {
        Some(error) => Err(error),
        None if layers.is_empty() => Err(nothing_chosen(config, model)),
        None => Ok(layers),
    }
}

fn nothing_chosen(config: &PeftConfig, model: &dyn Architecture) -> String {
    let targets = match &config.target_modules {
        Some(OneOrMany::One(expression)) => format!("{expression:?}"),
        Some(OneOrMany::Many(names)) => format!("{names:?}"),
        None => format!("null, which is {:?},", model.default_targets()),
    };
    let excluded = config.exclude_modules.is_some();
    let numbers = !config.layer_numbers().is_empty();
    let with = match (excluded, numbers) {
        (true, _) => " with exclude_modules and modules_to_save taken off",
        (false, true) => " within layers_to_transform and layers_pattern",
        (false, false) => "",
    };
    let known = listed(model.layer_names());
    format!(
        "target_modules {targets}{with} chooses no linear layer of the model, which has {known}"
    )
}

/// Names by their ends, or one expression for all of a name.
enum Names {
    Ends(Vec<String>),
    Expression(Pattern),
    All,
}

impl Names {
    fn of(names: &OneOrMany<String>, key: &str) -> Result<Self, String> {
        Ok(match names {
            OneOrMany::Many(ends) => Self::Ends(ends.clone()),
            OneOrMany::One(expression) => {
                Self::Expression(Pattern::whole(expression).map_err(|e| format!("{key}: {e}"))?)
            }
        })
    }

    fn take(&self, module: &str) -> Result<bool, String> {
        match self {
            Self::Ends(ends) => Ok(ends.iter().any(|end| ends_in(module, end))),
            Self::Expression(expression) => expression.matches(module),
            Self::All => Ok(true),
        }
    }

    /// Whether a list has the very name.
    fn spell_out(&self, module: &str) -> bool {
        matches!(self, Self::Ends(names) if names.iter().any(|name| name == module))
    }
}

struct Choice {
    targets: Names,
    excluded: Option<Names>,
    saved: Vec<Pattern>,
    numbers: Vec<i64>,
    /// What may stand before a layer's number, with the group `number`.
    numbered: Vec<Pattern>,
}

impl Choice {
    fn of(config: &PeftConfig, default: &[&str]) -> Result<Self, String> {
        let targets = match &config.target_modules {
            None => Names::Ends(default.iter().map(|&name| name.to_owned()).collect()),
            Some(OneOrMany::One(word)) if word.to_lowercase() == ALL_LINEAR => Names::All,
            Some(names) => Names::of(names, "target_modules")?,
        };
        let excluded = config.exclude_modules.as_ref();
        let excluded = excluded.filter(|names| **names != OneOrMany::One(String::new()));
        let excluded = excluded.map(|names| Names::of(names, "exclude_modules"));
        let saved = config.modules_to_save.iter().flatten();
        let saved = saved.map(|name| Pattern::between(r"(?:^|.*\.)", name, r"(?:$|\..*)"));
        Ok(Self {
            targets,
            excluded: excluded.transpose()?,
            saved: saved
                .collect::<Result<_, _>>()
                .map_err(|error| format!("modules_to_save: {error}"))?,
            numbers: config.layer_numbers(),
            numbered: numbered(config).map_err(|error| format!("layers_pattern: {error}"))?,
        })
    }

    fn takes(&self, module: &str) -> Result<bool, String> {
        if let Some(excluded) = &self.excluded
            && excluded.take(module)?
        {
            return Ok(false);
        }
        for saved in &self.saved {
            if saved.matches(module)? {
                return Ok(false);
            }
        }
        if !self.targets.take(module)? {
            return Ok(false);
        }
        let by_number = !self.numbers.is_empty() && !self.targets.spell_out(module);
        Ok(!by_number || self.has_number(module)?)
    }

    /// Whether the module is in a layer with one of the numbers.
    fn has_number(&self, module: &str) -> Result<bool, String> {
        for pattern in &self.numbered {
            if let Some(number) = pattern.group(module, "number")? {
                return Ok(number.parse().is_ok_and(|n: i64| self.numbers.contains(&n)));
            }
        }
        Ok(false)
    }
}

/// Expressions for the names before layers' numbers: those given, or any one name.
fn numbered(config: &PeftConfig) -> Result<Vec<Pattern>, String> {
    let after = r"\.(?P<number>\d+)\.";
    let given = config.layers_pattern.as_ref().map(OneOrMany::to_vec);
    let given = given.filter(|patterns| !patterns.is_empty() && patterns != &[String::new()]);
    match given {
        None => Ok(vec![Pattern::between(r".*?\.", r"[^.]*", after)?]),
        Some(patterns) => patterns
            .iter()
            .map(|pattern| Pattern::between(r"(?:^|.*?\.)", pattern, after))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::encoder::bert::BERT;
    use crate::model::encoder::config::EncoderConfig;
    use crate::model::encoder::family::Family;
    use crate::model::encoder::roberta::ROBERTA;
    use crate::model::source::known::known_encoder;

    fn model(family: Family) -> EncoderConfig {
        let mut config = known_encoder("minilm-l6").unwrap();
        (config.family, config.num_hidden_layers) = (family, 12);
        config
    }

    /// The modules chosen, without what all of their names begin with.
    fn chosen(family: Family, keys: &Value) -> Result<Vec<String>, String> {
        let mut all = json!({"peft_type": "LORA", "r": 2, "modules_to_save": ["classifier"]});
        let own = keys.as_object().unwrap().clone();
        all.as_object_mut().unwrap().extend(own);
        let config = serde_json::from_value(all).unwrap();
        let prefix = format!("{}.", family.name);
        let short = |layer: LinearLayer| {
            let name = layer.module.strip_prefix(&prefix).unwrap().to_owned();
            name.replace("encoder.layer.", "").replace("attention.", "")
        };
        Ok(choose(&config, &model(family))?
            .into_iter()
            .map(short)
            .collect())
    }

    fn layers(names: &[&str], numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
        let numbers = numbers.into_iter();
        let of = |n| names.iter().map(move |name| format!("{n}.{name}"));
        numbers.flat_map(of).collect()
    }

    const ALL: [&str; 6] = [
        "self.query",
        "self.key",
        "self.value",
        "output.dense",
        "intermediate.dense",
        "output.dense",
    ];

    #[test]
    fn lists_name_modules_by_their_ends() {
        for (targets, expected) in [
            (
                json!(["query", "value"]),
                layers(&["self.query", "self.value"], 0..12),
            ),
            (
                json!(["query", "q_proj", "classifier.dense"]),
                layers(&["self.query"], 0..12),
            ),
            (
                json!(["uery", "1.attention.self.key"]),
                layers(&["self.key"], [1]),
            ),
            (
                json!(["roberta.encoder.layer.3.intermediate.dense"]),
                layers(&["intermediate.dense"], [3]),
            ),
            (json!(["attention.self.key"]), layers(&["self.key"], 0..12)),
        ] {
            let keys = json!({"target_modules": targets});
            assert_eq!(chosen(ROBERTA, &keys), Ok(expected), "{targets}");
        }
    }

    #[test]
    fn what_is_not_given_is_query_and_value() {
        let expected = layers(&["self.query", "self.value"], 0..12);
        assert_eq!(chosen(BERT, &json!({})), Ok(expected.clone()));
        assert_eq!(chosen(BERT, &json!({"target_modules": null})), Ok(expected));
    }

    #[test]
    fn all_linear_layers_are_those_of_the_encoder_and_berts_pooler() {
        for word in ["all-linear", "All-Linear"] {
            let keys = json!({"target_modules": word});
            assert_eq!(chosen(ROBERTA, &keys), Ok(layers(&ALL, 0..12)));
            let mut with_pooler = layers(&ALL, 0..12);
            with_pooler.push("pooler.dense".to_owned());
            assert_eq!(chosen(BERT, &keys), Ok(with_pooler));
        }
    }

    #[test]
    fn a_dense_layer_may_be_the_poolers_unless_that_is_saved_in_full() {
        let all = json!({"target_modules": ["dense"]});
        let last = |keys| chosen(BERT, &keys).unwrap().pop().unwrap();
        assert_eq!(last(all), "pooler.dense");
        let saved = json!({"target_modules": ["dense"], "modules_to_save": ["pooler"]});
        assert_eq!(last(saved), "11.output.dense");
    }

    #[test]
    fn one_string_is_an_expression_for_whole_names() {
        for (expression, expected) in [
            (
                r".*\.attention\.self\.(query|value)",
                layers(&["self.query", "self.value"], 0..12),
            ),
            (r".*\.1\d\..*self\.key", layers(&["self.key"], [10, 11])),
            (
                r"roberta\.encoder\.layer\.(?!0\.|1)\d+\.intermediate\.dense",
                layers(&["intermediate.dense"], 2..10),
            ),
        ] {
            let keys = json!({"target_modules": expression});
            assert_eq!(chosen(ROBERTA, &keys), Ok(expected), "{expression}");
        }
        for expression in ["query", "encoder.*query", "(", ""] {
            let error = chosen(ROBERTA, &json!({"target_modules": expression}));
            assert!(
                error.unwrap_err().starts_with("target_modules"),
                "{expression}"
            );
        }
    }

    #[test]
    fn layers_are_chosen_by_number_and_the_names_before_it() {
        let query = |numbers: &[u32]| Ok(layers(&["self.query"], numbers.iter().copied()));
        let all: Vec<u32> = (0..12).collect();
        for (numbers, pattern, expected) in [
            (json!([1, 11]), json!(null), &[1, 11][..]),
            (json!(1), json!(""), &[1]),
            (json!([]), json!(null), &all),
            (json!(null), json!(null), &all),
            (json!([3, 40]), json!([]), &[3]),
            (json!([3]), json!("layer"), &[3]),
            (json!([3]), json!(["h", "layer"]), &[3]),
            (json!([3]), json!("encoder.layer"), &[3]),
            (json!([3]), json!("roberta.encoder.layer"), &[3]),
            (json!([3]), json!("l[a-z]+r"), &[3]),
        ] {
            let keys = json!({
                "target_modules": ["query"],
                "layers_to_transform": numbers, "layers_pattern": pattern,
            });
            assert_eq!(
                chosen(ROBERTA, &keys),
                query(expected),
                "{numbers} {pattern}"
            );
        }
        for (numbers, pattern) in [(json!([12]), "layer"), (json!([0]), "h"), (json!([0]), "(")] {
            let keys = json!({"layers_to_transform": numbers, "layers_pattern": pattern});
            let error = chosen(ROBERTA, &keys).unwrap_err();
            assert!(error.contains("layers_pattern"), "{error}");
        }
    }

    #[test]
    fn a_full_name_is_adapted_whatever_its_layers_number() {
        let keys = json!({
            "target_modules": ["key", "roberta.encoder.layer.2.attention.self.query"],
            "layers_to_transform": [5],
        });
        let expected = vec!["2.self.query".to_owned(), "5.self.key".to_owned()];
        assert_eq!(chosen(ROBERTA, &keys), Ok(expected));
    }

    #[test]
    fn what_is_excluded_by_list_or_expression_is_left_out() {
        for (excluded, expected) in [
            (
                json!(["0.attention.self.query", "value"]),
                layers(&["self.query"], 1..12),
            ),
            (
                json!(r".*\.\d\..*|.*value"),
                layers(&["self.query"], 10..12),
            ),
            (json!([]), layers(&["self.query", "self.value"], 0..12)),
            (json!(""), layers(&["self.query", "self.value"], 0..12)),
        ] {
            let keys = json!({"target_modules": ["query", "value"], "exclude_modules": excluded});
            assert_eq!(chosen(BERT, &keys), Ok(expected), "{excluded}");
        }
        let keys = json!({"exclude_modules": ".*"});
        assert!(chosen(BERT, &keys).unwrap_err().contains("exclude_modules"));
    }
}
