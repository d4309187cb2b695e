//! What a batch is to be given, and how far a model is from it.

use tch::{Device, Tensor};

use crate::model::ModelError;
use crate::model::inputs::{Packed, Upload};

/// What a model is to give for a batch, on a device.
#[derive(Debug)]
pub enum Labels {
    /// Class numbers or scores, (rows), float32.
    Rows(Tensor),
    /// Which labels a row has, 1 or 0, (rows, labels), float32.
    Sets(Tensor),
    /// The tokens to be predicted, both int64.
    Tokens {
        /// For each, the place of the hidden state that it is predicted from, (tokens): the row
        /// times the batch's width, plus the position.
        places: Tensor,
        /// Their numbers, (tokens).
        tokens: Tensor,
    },
}

impl Labels {
    /// Class numbers or scores.
    ///
    /// # Errors
    /// If the device fails.
    pub fn rows(labels: &[f32], device: Device) -> Result<Self, ModelError> {
        let mut upload = Upload::default();
        let labels = PackedLabels::rows(labels, &mut upload);
        labels.of(&upload.send(device)?)
    }

    /// Which labels rows have, row-major, of N labels.
    ///
    /// # Errors
    /// If the device fails.
    pub fn sets(values: &[f32], labels: usize, device: Device) -> Result<Self, ModelError> {
        let mut upload = Upload::default();
        let labels = PackedLabels::sets(values, labels, &mut upload);
        labels.of(&upload.send(device)?)
    }

    /// Tokens to be predicted, and where from.
    ///
    /// # Errors
    /// If the device fails.
    pub fn tokens(places: &[i64], tokens: &[i64], device: Device) -> Result<Self, ModelError> {
        let mut upload = Upload::default();
        let labels = PackedLabels::tokens(places, tokens, &mut upload);
        labels.of(&upload.send(device)?)
    }

    /// What a classifier is to give, one of a row.
    ///
    /// # Errors
    /// If these are tokens, or several of a row.
    pub(crate) fn of_rows(&self) -> Result<&Tensor, ModelError> {
        match self {
            Self::Rows(labels) => Ok(labels),
            Self::Sets(_) | Self::Tokens { .. } => Err(ModelError::Refused(
                "a classifier is given tokens or several labels of a row".to_owned(),
            )),
        }
    }

    /// What a language model is to give: places and tokens.
    ///
    /// # Errors
    /// If these are labels of rows.
    pub(crate) fn of_tokens(&self) -> Result<(&Tensor, &Tensor), ModelError> {
        match self {
            Self::Tokens { places, tokens } => Ok((places, tokens)),
            Self::Rows(_) | Self::Sets(_) => Err(ModelError::Refused(
                "a language model is given classes or scores as labels".to_owned(),
            )),
        }
    }
}

/// The places of [`Labels`] among numbers that go to a device together.
#[derive(Debug)]
pub(crate) enum PackedLabels {
    Rows(Packed),
    Sets { values: Packed, labels: usize },
    Tokens { places: Packed, tokens: Packed },
}

impl PackedLabels {
    /// Adds class numbers or scores.
    pub fn rows(labels: &[f32], upload: &mut Upload) -> Self {
        Self::Rows(upload.floats(labels))
    }

    /// Adds which labels rows have, row-major, of N labels.
    pub fn sets(values: &[f32], labels: usize, upload: &mut Upload) -> Self {
        Self::Sets {
            values: upload.floats(values),
            labels,
        }
    }

    /// Adds tokens to be predicted, and where from.
    pub fn tokens(places: &[i64], tokens: &[i64], upload: &mut Upload) -> Self {
        Self::Tokens {
            places: upload.integers(places),
            tokens: upload.integers(tokens),
        }
    }

    /// The labels among what was sent.
    ///
    /// # Errors
    /// If that is not what they were packed into.
    pub fn of(&self, sent: &Tensor) -> Result<Labels, ModelError> {
        Ok(match self {
            Self::Rows(labels) => Labels::Rows(labels.floats(sent)?),
            Self::Sets { values, labels } => {
                Labels::Sets(values.floats(sent)?.f_view([-1, *labels as i64])?)
            }
            Self::Tokens { places, tokens } => Labels::Tokens {
                places: places.integers(sent)?,
                tokens: tokens.integers(sent)?,
            },
        })
    }
}

/// The loss of a batch, in float32: a mean over its labels.
#[derive(Debug)]
pub struct Loss {
    /// Its value.
    pub mean: Tensor,
    /// What the backward pass begins at. Its gradients are the loss's; its value need not be.
    pub graph: Tensor,
}

impl Loss {
    /// A loss that libtorch differentiates.
    ///
    /// # Errors
    /// If libtorch fails.
    pub(crate) fn of_graph(graph: Tensor) -> Result<Self, ModelError> {
        Ok(Self {
            mean: graph.f_detach()?,
            graph,
        })
    }
}
