//! An encoder with a sequence classification head: token ids to logits.

use tch::{Kind, Reduction, Tensor};

use crate::model::ModelError;
use crate::model::architecture::Model;
use crate::model::dropout::{Masks, dropout};
use crate::model::encoder::Encoder;
use crate::model::encoder::config::EncoderConfig;
use crate::model::encoder::family::HeadKind;
use crate::model::inputs::Inputs;
use crate::model::layers::{Linear, LinearSpec};
use crate::model::loss::{Labels, Loss};
use crate::model::weights::View;

/// The head, after the encoder's last hidden states.
enum Head {
    /// [`HeadKind::TwoLayers`].
    TwoLayers { dense: Linear, out_proj: Linear },
    /// [`HeadKind::Pooled`].
    Pooled { pooler: Linear, classifier: Linear },
}

/// A sequence classifier; a regression when it has one output.
pub struct Classifier {
    encoder: Encoder,
    head: Head,
    head_dropout: f64,
    /// See [`Architecture::reference_numerics`](crate::model::architecture::Architecture::reference_numerics).
    reference_numerics: bool,
}

impl Classifier {
    /// The model whose tensors `root` shows, with N outputs.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn new(root: &View<'_>, config: &EncoderConfig, labels: i64) -> Result<Self, ModelError> {
        let (h, exact) = (config.hidden_size, config.has_no_dropout());
        let base = root.pp(config.family.name());
        let classifier = root.pp("classifier");
        let linear =
            |view: &View<'_>, d_in, d_out| Linear::new(view, &LinearSpec::new(d_in, d_out, exact));
        let head = match config.family.head() {
            HeadKind::TwoLayers => Head::TwoLayers {
                dense: linear(&classifier.pp("dense"), h, h)?,
                out_proj: linear(&classifier.pp("out_proj"), h, labels)?,
            },
            HeadKind::Pooled => Head::Pooled {
                pooler: linear(&base.pp("pooler").pp("dense"), h, h)?,
                classifier: linear(&classifier, h, labels)?,
            },
        };
        let encoder = Encoder::new(&base, config)?;
        Ok(Self {
            encoder,
            head,
            head_dropout: config.head_dropout(),
            reference_numerics: exact,
        })
    }

    /// The last hidden states, (rows, tokens, hidden).
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn hidden(&self, inputs: &Inputs, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        self.encoder.forward(inputs, masks)
    }

    /// Logits, (rows, labels), from the last hidden states.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn head(&self, hidden: &Tensor, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        let first = hidden.f_select(1, 0)?;
        let p = self.head_dropout;
        match &self.head {
            Head::TwoLayers { dense, out_proj } => {
                let x = dense
                    .forward(&dropout(&first, p, masks)?, masks)?
                    .f_tanh()?;
                out_proj.forward(&dropout(&x, p, masks)?, masks)
            }
            Head::Pooled { pooler, classifier } => {
                let pooled = pooler.forward(&first, masks)?.f_tanh()?;
                classifier.forward(&dropout(&pooled, p, masks)?, masks)
            }
        }
    }
}

impl Model for Classifier {
    /// Logits, (rows, labels).
    ///
    /// Of the last layer only the first token is computed, for the head reads no other; all tokens
    /// in training that computes as other programs do ([`Architecture::reference_numerics`](crate::model::architecture::Architecture::reference_numerics)).
    fn outputs(&self, inputs: &Inputs, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        let hidden = if masks.is_some() && self.reference_numerics {
            self.hidden(inputs, masks)?
        } else {
            self.encoder.first_token(inputs, masks)?
        };
        self.head(&hidden, masks)
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
