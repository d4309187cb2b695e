//! Scaled rotary frequencies: what a GGUF file has of them, to the `rope_scaling` of a
//! `config.json`.

use std::f64::consts::PI;

use serde_json::{Value, json};

use crate::model::source::gguf::architecture::GgufArchitecture;
use crate::model::source::gguf::error::GgufError;
use crate::model::source::gguf::metadata::GgufMetadata;

/// The name of the tensor of factors.
pub(crate) const FACTORS: &str = "rope_freqs.weight";

/// What llama.cpp's converter computes Llama 3's factors with, besides the largest of them: the
/// factors that bound the wavelengths, and the positions before scaling. The file has none of
/// these; all of Llama 3.1, 3.2 and 3.3 have the same.
const LLAMA3: (f64, f64, f64) = (1.0, 4.0, 8192.0);

/// How far a factor in the file may be from the computed one, relatively: it was computed in
/// float32.
const TOLERANCE: f64 = 1e-4;

/// `rope_scaling`, if the frequencies are scaled. `factors` are the values of [`FACTORS`], by
/// which frequencies are divided.
///
/// # Errors
/// If they are scaled in a way that is not supported.
pub(crate) fn scaling(
    metadata: &GgufMetadata,
    architecture: &GgufArchitecture,
    theta: f64,
    factors: Option<&[f32]>,
) -> Result<Option<Value>, GgufError> {
    let linear = linear(metadata, architecture)?;
    let Some(factors) = factors.filter(|all| all.iter().any(|factor| *factor != 1.0)) else {
        return Ok(linear);
    };
    let wrong = |reason: &str| GgufError::tensor(metadata.path(), FACTORS, reason);
    if linear.is_some() {
        return Err(wrong(
            "the metadata scales the frequencies too, and only one of the two is supported",
        ));
    }
    let (low, high, positions) = LLAMA3;
    let largest = factors.iter().copied().fold(1.0, f32::max);
    let computed = llama3(f64::from(largest), theta, factors.len());
    let near = |(&found, right): (&f32, f64)| (f64::from(found) / right - 1.0).abs() < TOLERANCE;
    if !factors.iter().zip(computed).all(near) {
        return Err(wrong(
            "these factors of rotary frequencies are not supported; supported are those of \
             Llama 3, scaled from 8192 positions with low_freq_factor 1 and high_freq_factor 4",
        ));
    }
    Ok(Some(json!({
        "rope_type": "llama3",
        "factor": largest,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": positions as u64,
    })))
}

/// Linear scaling, which is the meaning of a factor unless the file says otherwise.
fn linear(
    metadata: &GgufMetadata,
    architecture: &GgufArchitecture,
) -> Result<Option<Value>, GgufError> {
    let key = &architecture.key("rope.scaling.type");
    match metadata.text(key)? {
        Some("none") => return Ok(None),
        None | Some("linear") => {}
        Some(other) => {
            let reason = format!("`{other}` is not supported; supported are none and linear");
            return Err(metadata.wrong(key, reason));
        }
    }
    let factor = |name| metadata.float(&architecture.key(name));
    let factor = factor("rope.scaling.factor")?.or(factor("rope.scale_linear")?);
    // Zero is how llama.cpp writes that there is none.
    let factor = factor.filter(|factor| *factor != 0.0 && *factor != 1.0);
    Ok(factor.map(|factor| json!({"rope_type": "linear", "factor": factor})))
}

/// Llama 3's factors for N frequencies, as transformers' `_compute_llama3_parameters`.
fn llama3(factor: f64, theta: f64, count: usize) -> impl Iterator<Item = f64> {
    let (low, high, positions) = LLAMA3;
    (0..count).map(move |index| {
        let wavelength = 2.0 * PI * theta.powf(index as f64 / count as f64);
        let smooth = ((positions / wavelength - low) / (high - low)).clamp(0.0, 1.0);
        1.0 / ((1.0 - smooth) / factor + smooth)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::source::gguf::metadata::MetadataValue;
    use crate::model::source::gguf::sample::metadata;

    fn no_keys() -> GgufMetadata {
        metadata(&[])
    }

    fn scaling(
        keys: &GgufMetadata,
        theta: f64,
        factors: Option<&[f32]>,
    ) -> Result<Option<Value>, GgufError> {
        let name = MetadataValue::Text("llama".into());
        let llama = metadata(&[("general.architecture", name)]);
        super::scaling(keys, GgufArchitecture::of(&llama)?, theta, factors)
    }

    /// Llama 3.2 1B: heads of 64, theta 500,000, factor 32; values of llama.cpp's converter.
    fn llama_3_2() -> Vec<f32> {
        let mut factors = vec![1.0; 15];
        factors.extend([1.651_329_2, 3.292_262_6, 9.666_73]);
        factors.resize(32, 32.0);
        factors
    }

    #[test]
    fn the_factors_of_llama_3_become_its_scaling() {
        let scaling = scaling(&no_keys(), 500_000.0, Some(&llama_3_2())).unwrap();
        assert_eq!(
            scaling.unwrap(),
            json!({
                "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 8192
            })
        );
    }

    #[test]
    fn other_factors_are_refused_and_factors_of_one_are_none() {
        let error = scaling(&no_keys(), 10_000.0, Some(&llama_3_2())).unwrap_err();
        assert!(
            error.to_string().contains("tensor `rope_freqs.weight`"),
            "{error}"
        );
        let mut factors = llama_3_2();
        factors[0] = 2.0;
        scaling(&no_keys(), 500_000.0, Some(&factors)).unwrap_err();
        factors[0] = f32::NAN;
        scaling(&no_keys(), 500_000.0, Some(&factors)).unwrap_err();
        assert_eq!(
            scaling(&no_keys(), 10_000.0, Some(&[1.0; 32])).unwrap(),
            None
        );
    }

    #[test]
    fn a_linear_factor_is_one_with_or_without_the_type() {
        let factor = ("llama.rope.scaling.factor", MetadataValue::F32(4.0));
        let kind = |text: &str| ("llama.rope.scaling.type", MetadataValue::Text(text.into()));
        let right = Some(json!({"rope_type": "linear", "factor": 4.0}));
        let with_type = metadata(&[factor.clone(), kind("linear")]);
        assert_eq!(scaling(&with_type, 1e4, None).unwrap(), right);
        assert_eq!(
            scaling(&metadata(std::slice::from_ref(&factor)), 1e4, None).unwrap(),
            right
        );
        let none = metadata(&[factor.clone(), kind("none")]);
        assert_eq!(scaling(&none, 1e4, None).unwrap(), None);
        let error = scaling(&metadata(&[factor.clone(), kind("yarn")]), 1e4, None).unwrap_err();
        assert!(
            error.to_string().contains("`yarn` is not supported"),
            "{error}"
        );
        let both = scaling(&with_type, 500_000.0, Some(&llama_3_2())).unwrap_err();
        assert!(both.to_string().contains("the metadata scales"), "{both}");
    }
}
