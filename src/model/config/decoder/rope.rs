//! The keys of rotary positions: `rope_theta` and `rope_scaling`, or both in `rope_parameters`, as
//! transformers 5 writes them.

use serde_json::{Map, Value};

use crate::model::config::decoder::{ABOVE_ZERO, flag};
use crate::model::config::keys::{Keys, refused};
use crate::model::decoder::rope::{Rope, RopeScaling, Yarn};
use crate::model::decoder::rotary::config::LayerType;

/// How positions turn queries and keys.
pub(crate) fn rope(keys: Keys<'_>, head_dim: i64, positions: i64) -> Result<Rope, String> {
    let (key, table) = match (keys.given("rope_parameters"), keys.given("rope_scaling")) {
        (Some(table), _) => ("rope_parameters", Some(table)),
        (None, table) => ("rope_scaling", table),
    };
    let empty = Map::new();
    let table = match table {
        None => &empty,
        Some(Value::Object(table)) => table,
        Some(other) => return Err(refused(key, other, "it must be an object")),
    };
    let inside = Keys(table);
    let own = |error: String| format!("{key}: {error}");
    if let Some(kind) = LayerType::ALL
        .iter()
        .find(|kind| inside.given(kind.name()).is_some())
    {
        return Err(own(format!(
            "it has other positions for layers of {}, which is not supported; all layers must have \
             the same",
            kind.name()
        )));
    }
    let theta = match inside.given("rope_theta") {
        Some(_) => inside
            .number("rope_theta", 1e4, &ABOVE_ZERO, "above 0")
            .map_err(own)?,
        None => keys.number("rope_theta", 1e4, &ABOVE_ZERO, "above 0")?,
    };
    let scaling = scaling(inside, positions).map_err(own)?;
    Ok(Rope {
        theta,
        head_dim,
        scaling,
    })
}

fn scaling(keys: Keys<'_>, positions: i64) -> Result<RopeScaling, String> {
    const FROM_ONE: std::ops::Range<f64> = 1.0..f64::INFINITY;
    let kind = keys.text("rope_type")?;
    let kind = kind.map_or_else(|| keys.text("type"), |kind| Ok(Some(kind)))?;
    let needed = |key: &str, range: &std::ops::Range<f64>, right: &str| {
        if keys.given(key).is_none() {
            return Err(format!("it lacks {key}, a number {right}"));
        }
        keys.number(key, 0.0, range, right)
    };
    let factor = || needed("factor", &FROM_ONE, "from 1");
    let original = || match keys.given("original_max_position_embeddings") {
        None => Ok(positions),
        Some(_) => keys.size("original_max_position_embeddings", 0, 100_000_000),
    };
    Ok(match kind.as_deref() {
        None | Some("default") => RopeScaling::None,
        Some("linear") => RopeScaling::Linear { factor: factor()? },
        Some("dynamic") => RopeScaling::Dynamic {
            factor: factor()?,
            original: positions,
        },
        Some("llama3") => RopeScaling::Llama3 {
            factor: factor()?,
            low: needed("low_freq_factor", &ABOVE_ZERO, "above 0")?,
            high: needed("high_freq_factor", &ABOVE_ZERO, "above 0")?,
            original: original()?,
        },
        Some("yarn") => {
            let factor = factor()?;
            let optional = |key: &str| match keys.given(key) {
                None => Ok(None),
                Some(_) => keys.number(key, 0.0, &ABOVE_ZERO, "above 0").map(Some),
            };
            let by_magnitudes = match (optional("mscale")?, optional("mscale_all_dim")?) {
                (Some(one), Some(all)) => {
                    Yarn::magnitude(factor, one) / Yarn::magnitude(factor, all)
                }
                _ => Yarn::magnitude(factor, 1.0),
            };
            RopeScaling::Yarn(Yarn {
                factor,
                original: original()?,
                beta_fast: optional("beta_fast")?.unwrap_or(32.0),
                beta_slow: optional("beta_slow")?.unwrap_or(1.0),
                attention_factor: optional("attention_factor")?.unwrap_or(by_magnitudes),
                truncate: flag(keys, "truncate", true)?,
            })
        }
        Some(other) => {
            return Err(format!(
                "rope_type is {other:?}, which is not supported; supported are default, linear, \
                 dynamic, yarn and llama3"
            ));
        }
    })
}
