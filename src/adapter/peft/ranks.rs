//! Ranks and alphas of modules: `r`, `rank_pattern`, `alpha_pattern`, and the tensors' own.

use crate::adapter::pattern::Pattern;
use crate::adapter::peft::config::PeftConfig;
use crate::adapter::settings::LayerRank;
use crate::adapter::{lora, sorf, vera};
use crate::base::tensors::TensorMap;

/// `rank_pattern` and `alpha_pattern`, by the rules of all versions of PEFT.
pub(crate) struct Patterns {
    ranks: Vec<(Rules, i64)>,
    alphas: Vec<(Rules, f64)>,
    /// Whether a version of PEFT wrote the file that has the newer rules only.
    new: bool,
}

/// A key of a pattern as an expression.
struct Rules {
    key: String,
    new: Pattern,
    old: Pattern,
}

impl Rules {
    fn of(key: &str, name: &str) -> Result<Self, String> {
        let wrong = |error| format!("{name}: {error}");
        Ok(Self {
            key: key.to_owned(),
            new: Pattern::between(r"(?:.*\.)?(?:", key, r")\z").map_err(wrong)?,
            old: Pattern::between(r".*\.", key, r"\z").map_err(wrong)?,
        })
    }
}

impl Patterns {
    /// The patterns of a configuration.
    ///
    /// # Errors
    /// If a key is not a usable expression.
    pub(crate) fn of(config: &PeftConfig) -> Result<Self, String> {
        let ranks = config.rank_pattern.iter().flatten();
        let alphas = config.alpha_pattern.iter().flatten();
        Ok(Self {
            ranks: ranks
                .map(|(key, r)| Ok((Rules::of(key, "rank_pattern")?, *r)))
                .collect::<Result<_, String>>()?,
            alphas: alphas
                .map(|(key, alpha)| Ok((Rules::of(key, "alpha_pattern")?, *alpha)))
                .collect::<Result<_, String>>()?,
            new: config.peft_version.is_some(),
        })
    }

    /// The rank and α of a module by the newer rules, and by the older ones if these differ.
    ///
    /// # Errors
    /// If matching takes too many steps.
    pub(crate) fn find(&self, module: &str, common: &LayerRank) -> Result<Vec<LayerRank>, String> {
        let new = LayerRank {
            r: first(&self.ranks, module)?.map_or(common.r, |r| r as u32),
            alpha: first(&self.alphas, module)?.unwrap_or(common.alpha),
        };
        let old = self.by_old_rules(module, common)?;
        Ok(if self.new || old == new {
            vec![new]
        } else {
            vec![new, old]
        })
    }

    /// Before 0.14, the first key of either pattern that matches was looked up in both.
    fn by_old_rules(&self, module: &str, common: &LayerRank) -> Result<LayerRank, String> {
        let ranks = self.ranks.iter().map(|(rules, _)| rules);
        let rules = ranks.chain(self.alphas.iter().map(|(rules, _)| rules));
        let mut key = module;
        for next in rules {
            if next.old.matches(module)? {
                key = &next.key;
                break;
            }
        }
        let r = self.ranks.iter().find(|(rules, _)| rules.key == key);
        let alpha = self.alphas.iter().find(|(rules, _)| rules.key == key);
        Ok(LayerRank {
            r: r.map_or(common.r, |(_, r)| *r as u32),
            alpha: alpha.map_or(common.alpha, |(_, alpha)| *alpha),
        })
    }
}

/// The value of the first key that matches.
fn first<T: Copy>(pattern: &[(Rules, T)], module: &str) -> Result<Option<T>, String> {
    for (rules, value) in pattern {
        if rules.new.matches(module)? {
            return Ok(Some(*value));
        }
    }
    Ok(None)
}

/// The module and the rest of an adapter tensor's name; `None`: it does not belong to an adapter.
pub(crate) fn adapter_part(name: &str) -> Option<(&str, &str)> {
    let starts = [".lora_", ".vera_", ".sorf_"];
    let at = starts.iter().filter_map(|start| name.find(start)).min()?;
    Some((&name[..at], &name[at + 1..]))
}

/// Checks that the ranks of the tensors are those of a configuration without patterns, before
/// anything of that rank is made.
pub(crate) fn check_ranks(config: &PeftConfig, tensors: &TensorMap) -> Result<(), String> {
    if config.rank_pattern.iter().flatten().next().is_some() {
        return Ok(());
    }
    let r = config.r;
    for (name, tensor) in tensors.iter() {
        let expected = match adapter_part(name).map(|(_, kind)| kind) {
            Some(lora::A | vera::LAMBDA_D) => (0, r),
            Some(lora::B) => (1, r),
            // No tensor has more than can be counted.
            Some(sorf::ANGLES) => (0, r.saturating_mul(r - 1) / 2),
            _ => continue,
        };
        let (dimension, size) = expected;
        if tensor.shape().get(dimension) != Some(&size) {
            let shape = tensor.shape();
            return Err(format!(
                "r is {r} in adapter_config.json, but {name} has the shape {shape:?}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::base::tensors::HostTensor;

    const QUERY: &str = "roberta.encoder.layer.1.attention.self.query";

    fn found(keys: Value) -> Vec<(u32, f64)> {
        let mut all = json!({"peft_type": "LORA", "r": 4, "target_modules": ["query"]});
        let own = keys.as_object().unwrap().clone();
        all.as_object_mut().unwrap().extend(own);
        let config: PeftConfig = serde_json::from_value(all).unwrap();
        let common = LayerRank { r: 4, alpha: 8.0 };
        let found = Patterns::of(&config).unwrap().find(QUERY, &common).unwrap();
        found.into_iter().map(|rank| (rank.r, rank.alpha)).collect()
    }

    #[test]
    fn the_first_key_that_ends_a_name_gives_its_rank_and_alpha() {
        for (keys, expected) in [
            (json!({}), (4, 8.0)),
            (json!({"rank_pattern": {"query": 2}}), (2, 8.0)),
            (json!({"rank_pattern": {"uery": 2, "key": 3}}), (4, 8.0)),
            (
                json!({"alpha_pattern": {r"layer\.[12]\..*query": 3}}),
                (4, 3.0),
            ),
            (
                json!({"rank_pattern": {"query": 2}, "alpha_pattern": {"query": 3}}),
                (2, 3.0),
            ),
            (
                json!({"rank_pattern": {"1.attention.self.query": 5, "query": 2}}),
                (5, 8.0),
            ),
        ] {
            assert_eq!(found(keys.clone()), [expected], "{keys}");
        }
    }

    #[test]
    fn where_older_versions_read_patterns_otherwise_both_readings_are_given() {
        let differing = json!({"rank_pattern": {"query": 2}, "alpha_pattern": {"self.query": 3}});
        assert_eq!(found(differing.clone()), [(2, 3.0), (2, 8.0)]);
        let whole = json!({"rank_pattern": {QUERY: 2}});
        assert_eq!(found(whole), [(2, 8.0)]);
        let mut new = differing;
        new["peft_version"] = json!("0.21.2");
        assert_eq!(found(new), [(2, 3.0)]);
    }

    #[test]
    fn a_rank_that_is_not_the_tensors_is_told_before_anything_is_made_of_it() {
        let check = |kind: &str, r: i64, suffix: &str, shape: &[i64]| {
            let config = json!({"peft_type": kind, "r": r});
            let config: PeftConfig = serde_json::from_value(config).unwrap();
            let name = format!("{QUERY}.{suffix}");
            let tensors = [(name, HostTensor::full(shape, 0.0))].into_iter().collect();
            check_ranks(&config, &tensors)
        };
        for (kind, suffix, shape) in [
            ("LORA", lora::A, &[4, 32][..]),
            ("LORA", lora::B, &[32, 4]),
            ("VERA", vera::LAMBDA_D, &[4]),
            ("SORF_VERA", sorf::ANGLES, &[6]),
        ] {
            assert_eq!(check(kind, 4, suffix, shape), Ok(()), "{suffix}");
            for r in [1, 5, 300_000_000, i64::from(u32::MAX)] {
                let error = check(kind, r, suffix, shape).unwrap_err();
                assert!(
                    error.contains(&format!("r is {r}")) && error.contains(suffix),
                    "{error}"
                );
            }
        }
        assert!(check("LORA", 4, lora::A, &[]).is_err());
    }
}
