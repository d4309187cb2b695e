//! A tensor that an architecture has.

/// A tensor that an architecture has.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorSpec {
    /// Its full name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<i64>,
    /// Its values in a model that has not been trained.
    pub start: StartValues,
    /// Whether a checkpoint may lack it; it is then drawn.
    pub optional: bool,
}

impl TensorSpec {
    /// A tensor that every checkpoint has.
    #[must_use]
    pub fn new(name: String, shape: Vec<i64>, start: StartValues) -> Self {
        Self {
            name,
            shape,
            start,
            optional: false,
        }
    }

    /// The number of values, if it is no more than a number can count.
    #[must_use]
    pub fn len(&self) -> i64 {
        self.shape
            .iter()
            .fold(1, |len, size| i64::saturating_mul(len, *size))
    }

    /// Whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The values of a tensor before any training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StartValues {
    /// All 0: biases.
    Zeros,
    /// All 1: the weights of norms.
    Ones,
    /// Normal, with the architecture's [spread](crate::model::architecture::Architecture::initial_spread).
    Normal,
    /// Normal with that spread / √(2 · layers): GPT-2's weights that add to the residual stream.
    NormalOfResidual {
        /// The model's transformer layers.
        layers: i64,
    },
    /// Normal with that spread, but for one row of zeros: the padding token's.
    NormalButRow(i64),
    /// Normal with a spread of its own, drawn again where it is further from 0 than `cutoff` times
    /// that.
    TruncatedNormal {
        /// Its standard deviation before the cut.
        spread: f64,
        /// Where it is cut.
        cutoff: f64,
    },
    /// Sines in even columns and cosines in odd ones, of the row's number over powers of 10,000:
    /// Vaswani et al., *Attention Is All You Need*, 2017.
    Sinusoids,
}

/// Whether a tensor is a part of a module that is named by a part of its path: of `pooler`, say, or
/// of `layer.1.output`.
#[must_use]
pub fn is_inside(tensor: &str, module: &str) -> bool {
    format!(".{tensor}.").contains(&format!(".{module}."))
}
