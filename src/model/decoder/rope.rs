//! Rotary position embedding: Su et al., *RoFormer: Enhanced Transformer with Rotary Position
//! Embedding*, 2021. Pairs are a head's halves, as transformers has them, not neighbours.

use std::f64::consts::PI;

use serde_json::{Value, json};
use tch::{Device, Kind, TchError, Tensor};

use crate::base::torch::kernels;

/// How far apart positions are turned.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// The base of the frequencies, `rope_theta`.
    pub theta: f64,
    /// Width of a head; even.
    pub head_dim: i64,
    /// What stretches positions beyond those of pretraining.
    pub scaling: RopeScaling,
}

/// A stretching of positions, by its name as `rope_type`.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// `default`: none.
    None,
    /// `linear`: all positions divided by a factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// `dynamic`: the base grows with a text that is longer than the model was trained on. As in
    /// transformers, it is that of a batch's longest text, so that what a model gives for a text
    /// depends on those beside it where one of them is as long as that. Only while a text is written
    /// does its own length count.
    Dynamic {
        /// The factor.
        factor: f64,
        /// The longest text of pretraining.
        original: i64,
    },
    /// `yarn`: Peng et al., *YaRN: Efficient Context Window Extension of Large Language Models*,
    /// 2023.
    Yarn(Yarn),
    /// `llama3`: low frequencies divided by a factor, high ones left alone, a blend between.
    Llama3 {
        /// The factor.
        factor: f64,
        /// Wavelengths above `original / low` are divided.
        low: f64,
        /// Wavelengths below `original / high` are left alone.
        high: f64,
        /// The longest text of pretraining.
        original: i64,
    },
}

/// The settings of YaRN.
#[derive(Debug, Clone, PartialEq)]
pub struct Yarn {
    /// The factor.
    pub factor: f64,
    /// The longest text of pretraining.
    pub original: i64,
    /// Turns over the original length from which on a frequency is left alone.
    pub beta_fast: f64,
    /// Turns over the original length up to which a frequency is divided.
    pub beta_slow: f64,
    /// What cosines and sines are multiplied by.
    pub attention_factor: f64,
    /// Whether the bounds of the blend are rounded to whole dimensions.
    pub truncate: bool,
}

impl RopeScaling {
    /// As `rope_scaling` in `config.json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::None => Value::Null,
            Self::Linear { factor } => json!({ "rope_type": "linear", "factor": factor }),
            Self::Dynamic { factor, .. } => json!({ "rope_type": "dynamic", "factor": factor }),
            Self::Yarn(yarn) => json!({
                "rope_type": "yarn",
                "factor": yarn.factor,
                "original_max_position_embeddings": yarn.original,
                "beta_fast": yarn.beta_fast,
                "beta_slow": yarn.beta_slow,
                "attention_factor": yarn.attention_factor,
                "truncate": yarn.truncate,
            }),
            Self::Llama3 {
                factor,
                low,
                high,
                original,
            } => json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_max_position_embeddings": original,
            }),
        }
    }
}

impl Rope {
    /// Cosines and sines of positions `0..tokens`, each (tokens, head_dim) in float32, for texts of
    /// at most that many tokens.
    ///
    /// # Errors
    /// If the device fails.
    pub fn tables(&self, tokens: i64, device: Device) -> Result<(Tensor, Tensor), TchError> {
        let (frequencies, scale) = self.frequencies(tokens);
        let angles = (0..tokens).flat_map(|position| turned(&frequencies, position));
        self.waves(&angles.collect::<Vec<_>>(), scale, device)
    }

    /// Cosines and sines of these positions, each (positions, head_dim) in float32, where each is the
    /// last of its text.
    ///
    /// # Errors
    /// If the device fails.
    pub fn tables_of_last(
        &self,
        positions: &[i64],
        device: Device,
    ) -> Result<(Tensor, Tensor), TchError> {
        let (mut angles, mut scale) = (Vec::new(), 1.0);
        for position in positions {
            let (frequencies, own) = self.frequencies(position + 1);
            angles.extend(turned(&frequencies, *position));
            scale = own;
        }
        self.waves(&angles, scale, device)
    }

    /// Cosines and sines of angles, half a head's width a position, in float32 and scaled.
    fn waves(
        &self,
        angles: &[f64],
        scale: f64,
        device: Device,
    ) -> Result<(Tensor, Tensor), TchError> {
        let angles = Tensor::f_from_slice(angles)?.f_view([-1, self.head_dim / 2])?;
        let both = Tensor::f_cat(&[&angles, &angles], 1)?;
        let place = |table: Tensor| {
            let table = table.f_mul_scalar(scale)?.f_to_kind(Kind::Float)?;
            table.f_to_device(device)
        };
        Ok((place(both.f_cos()?)?, place(both.f_sin()?)?))
    }

    /// The angle from one position to the next for each pair, in float32 as transformers keeps it,
    /// and what cosines and sines are multiplied by.
    fn frequencies(&self, tokens: i64) -> (Vec<f32>, f64) {
        let plain = |theta: f64| -> Vec<f64> {
            let pairs = (0..self.head_dim).step_by(2);
            let power = |dim: i64| dim as f64 / self.head_dim as f64;
            pairs.map(|dim| theta.powf(power(dim)).recip()).collect()
        };
        let (frequencies, scale) = match &self.scaling {
            RopeScaling::None => (plain(self.theta), 1.0),
            RopeScaling::Linear { factor } => {
                let divided = plain(self.theta).into_iter().map(|it| it / factor);
                (divided.collect(), 1.0)
            }
            RopeScaling::Dynamic { factor, original } => {
                let (width, original) = (self.head_dim as f64, *original as f64);
                let stretch = factor * (tokens as f64).max(original) / original - (factor - 1.0);
                (plain(self.theta * stretch.powf(width / (width - 2.0))), 1.0)
            }
            RopeScaling::Yarn(yarn) => {
                let blended = yarn.blend(plain(self.theta), self.theta, self.head_dim);
                (blended, yarn.attention_factor)
            }
            RopeScaling::Llama3 {
                factor,
                low,
                high,
                original,
            } => {
                let original = *original as f64;
                let scaled = |it: f64| {
                    let turns = original * it / (2.0 * PI);
                    if turns < *low {
                        it / factor
                    } else if turns > *high {
                        it
                    } else {
                        let kept = (turns - low) / (high - low);
                        (1.0 - kept) * it / factor + kept * it
                    }
                };
                (plain(self.theta).into_iter().map(scaled).collect(), 1.0)
            }
        };
        let frequencies = frequencies.into_iter().map(|it| it as f32);
        (frequencies.collect(), scale)
    }
}

/// By what each pair is turned at a position.
fn turned(frequencies: &[f32], position: i64) -> impl Iterator<Item = f64> {
    let angle = move |it: &f32| position as f64 * f64::from(*it);
    frequencies.iter().map(angle)
}

impl Yarn {
    /// `0.1 m ln(factor) + 1`.
    #[must_use]
    pub fn magnitude(factor: f64, m: f64) -> f64 {
        if factor > 1.0 {
            0.1 * m * factor.ln() + 1.0
        } else {
            1.0
        }
    }

    fn blend(&self, frequencies: Vec<f64>, theta: f64, head_dim: i64) -> Vec<f64> {
        // The dimension whose frequency makes this many turns over the original length.
        let dimension = |turns: f64| {
            let length = self.original as f64;
            head_dim as f64 * (length / (turns * 2.0 * PI)).ln() / (2.0 * theta.ln())
        };
        let (mut low, mut high) = (dimension(self.beta_fast), dimension(self.beta_slow));
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        low = low.max(0.0);
        high = high.min(head_dim as f64 - 1.0);
        if low == high {
            high += 0.001;
        }
        let blended = |(pair, it): (usize, f64)| {
            let divided = ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0);
            it / self.factor * divided + it * (1.0 - divided)
        };
        frequencies.into_iter().enumerate().map(blended).collect()
    }
}

/// Turns queries or keys, (rows, heads, tokens, head_dim), by tables (tokens, head_dim) or, where each
/// row has its own positions, (rows, 1, tokens, head_dim). Tables have an angle for each pair, so their
/// halves are alike.
///
/// # Errors
/// If shapes do not fit.
pub fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor, TchError> {
    if let Some(turned) = kernels::rotate(x, cos, sin)? {
        return Ok(turned);
    }
    let half = x.size().last().copied().unwrap_or(0) / 2;
    let (first, second) = (x.f_narrow(-1, 0, half)?, x.f_narrow(-1, half, half)?);
    let turned = Tensor::f_cat(&[&second.f_neg()?, &first], -1)?;
    x.f_mul(cos)?.f_add(&turned.f_mul(sin)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is turned, and the gradient of a weighted sum of it.
    fn results(x: &Tensor, tables: &(Tensor, Tensor), kind: Kind) -> [Tensor; 2] {
        let leaf = x.to_kind(kind).copy().set_requires_grad(true);
        let table = if kind == Kind::Double {
            kind
        } else {
            Kind::Float
        };
        let (cos, sin) = (tables.0.to_kind(table), tables.1.to_kind(table));
        // Heads lie side by side, as layers give them.
        let y = rotate(&leaf.transpose(1, 2), &cos, &sin).unwrap();
        assert_eq!(y.kind(), kind);
        let weights = Tensor::arange(y.numel() as i64, (Kind::Double, Device::Cpu)).cos();
        (&y * weights.reshape(y.size()))
            .sum(Kind::Double)
            .backward();
        [y.detach(), leaf.grad()].map(|x| x.to_kind(Kind::Double))
    }

    #[test]
    fn turning_in_one_pass_and_its_gradient_are_those_of_float64() {
        let rope = |head_dim| Rope {
            theta: 1e4,
            head_dim,
            scaling: RopeScaling::None,
        };
        for (head_dim, heads) in [(16, 1), (64, 9), (80, 2), (24, 3)] {
            let x = Tensor::arange(3 * 17 * heads * head_dim, (Kind::Double, Device::Cpu)).sin();
            let x = x.reshape([3, 17, heads, head_dim]).to_kind(Kind::BFloat16);
            let of_all = rope(head_dim).tables(17, Device::Cpu).unwrap();
            // Each row has its own positions.
            let own = rope(head_dim).tables_of_last(&(0..51).collect::<Vec<_>>(), Device::Cpu);
            let (cos, sin) = own.unwrap();
            let by_row = |table: Tensor| table.reshape([3, 1, 17, head_dim]);
            for tables in [of_all, (by_row(cos), by_row(sin))] {
                let exact = results(&x, &tables, Kind::Double);
                for (kind, allowed) in [(Kind::Float, 1.5e-6), (Kind::BFloat16, 1.2e-2)] {
                    if kind == Kind::BFloat16 && head_dim % 16 != 0 {
                        continue;
                    }
                    let found = results(&x, &tables, kind);
                    for (found, exact) in found.iter().zip(&exact) {
                        let miss = (found - exact).abs().max().double_value(&[]);
                        assert!(miss < allowed, "{kind:?}, {heads} of {head_dim}: {miss:e}");
                    }
                }
            }
        }
    }
}
