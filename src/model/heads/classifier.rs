//! An encoder with a sequence classification head: token ids to logits.

use tch::{Kind, Reduction, Tensor};

use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::architecture::Model;
use crate::model::dropout::{Masks, dropout};
use crate::model::encoder::Encode;
use crate::model::encoder::head::{HeadSpec, Pooling};
use crate::model::inputs::Inputs;
use crate::model::layers::LayerNorm;
use crate::model::layers::linear::{Linear, LinearSpec};
use crate::model::loss::{Labels, Loss};
use crate::model::weights::View;

/// A sequence classifier; a regression when it has one output.
pub struct Classifier {
    encoder: Box<dyn Encode>,
    pooling: Pooling,
    input_dropout: f64,
    dense: Linear,
    activation: Activation,
    norm: Option<LayerNorm>,
    output_dropout: f64,
    output: Linear,
}

impl Classifier {
    /// The encoder with a head of N outputs, whose tensors `root` shows.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub(crate) fn new(
        root: &View<'_>,
        encoder: Box<dyn Encode>,
        head: &HeadSpec,
        labels: i64,
    ) -> Result<Self, ModelError> {
        let linear = |module: &str, d_out, bias| {
            let spec = LinearSpec::new(head.width, d_out);
            Linear::new(&root.pp(module), &LinearSpec { bias, ..spec })
        };
        let norm = head.norm.as_ref().map(|norm| {
            LayerNorm::with_bias(&root.pp(norm.module), head.width, norm.eps, norm.bias)
        });
        Ok(Self {
            encoder,
            pooling: head.pooling,
            input_dropout: head.input_dropout,
            dense: linear(&head.dense, head.width, head.dense_bias)?,
            activation: head.activation,
            norm: norm.transpose()?,
            output_dropout: head.output_dropout,
            output: linear(head.output, labels, true)?,
        })
    }

    /// The last hidden states, (rows, tokens, hidden).
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn hidden(&self, inputs: &Inputs, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        self.encoder.forward(inputs, None, masks)
    }

    /// The tokens of the last layer that the head reads, from a row's first; `None`: all.
    fn wanted(&self) -> Option<i64> {
        match self.pooling {
            Pooling::FirstToken => Some(1),
            Pooling::Mean => None,
        }
    }

    /// Logits, (rows, labels), from the last hidden states.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn head(
        &self,
        hidden: &Tensor,
        inputs: &Inputs,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
        let pooled = match self.pooling {
            Pooling::FirstToken => hidden.f_select(1, 0)?,
            Pooling::Mean => mean_of_real(hidden, &inputs.real()?)?,
        };
        let read = dropout(&pooled, self.input_dropout, masks)?;
        let mut x = self
            .activation
            .forward(&self.dense.forward(&read, masks)?)?;
        if let Some(norm) = &self.norm {
            x = norm.forward(&x)?;
        }
        self.output
            .forward(&dropout(&x, self.output_dropout, masks)?, masks)
    }
}

/// The mean of (rows, tokens, hidden) over the tokens that the mask, (rows, tokens), shows.
fn mean_of_real(hidden: &Tensor, mask: &Tensor) -> Result<Tensor, ModelError> {
    let mask = mask.f_to_kind(hidden.kind())?.f_unsqueeze(-1)?;
    let sum_of = |x: &Tensor| x.f_sum_dim_intlist(1, false, hidden.kind());
    Ok(sum_of(&hidden.f_mul(&mask)?)?.f_div(&sum_of(&mask)?)?)
}

impl Model for Classifier {
    /// Logits, (rows, labels).
    ///
    /// Where the head reads the first token, of the last layer only that is computed.
    fn outputs(&self, inputs: &Inputs, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        let hidden = self.encoder.forward(inputs, self.wanted(), masks)?;
        self.head(&hidden, inputs, masks)
    }

    fn joint_hidden(&self, batches: &[Inputs], masks: &Masks) -> Result<Vec<Tensor>, ModelError> {
        self.encoder.forward_joint(batches, self.wanted(), masks)
    }

    fn outputs_of(
        &self,
        hidden: &Tensor,
        inputs: &Inputs,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
        self.head(hidden, inputs, masks)
    }

    /// Cross-entropy, or the mean squared error when there is one output, a mean over the rows;
    /// where a row has any number of labels, binary cross-entropy, a mean over rows and labels, as
    /// transformers has it for `multi_label_classification`.
    fn loss(&self, outputs: &Tensor, labels: &Labels, smoothing: f64) -> Result<Loss, ModelError> {
        let logits = outputs.f_to_kind(Kind::Float)?;
        if let Labels::Sets(sets) = labels {
            let every = None::<&Tensor>;
            let loss =
                logits.f_binary_cross_entropy_with_logits(sets, every, every, Reduction::Mean)?;
            return Loss::of_graph(loss);
        }
        let labels = labels.of_rows()?;
        if logits.size()[1] == 1 {
            let scores = logits.f_squeeze_dim(1)?;
            return Loss::of_graph(scores.f_mse_loss(labels, Reduction::Mean)?);
        }
        let classes = labels.f_to_kind(Kind::Int64)?;
        let every = None::<&Tensor>;
        let loss =
            logits.f_cross_entropy_loss(&classes, every, Reduction::Mean, -100, smoothing)?;
        Loss::of_graph(loss)
    }

    fn checkpoint_blocks(&mut self) {
        self.encoder.checkpoint_blocks();
    }

    fn finish_backward(&self) -> Result<(), ModelError> {
        self.encoder.finish_backward()
    }
}
