//! The loop over a client's batches, from the server's state to an update.

use std::ops::ControlFlow;

use regatta_actors::workload::job::JobContext;

use crate::model::ModelError;
use crate::model::dropout::Masks;
use crate::model::loss::{Labels, Loss};
use crate::train::client_round::{BatchPart, ClientRound, LocalResult, LocalTraining, on_device};
use crate::train::client_steps::ClientSteps;

impl LocalTraining {
    /// Trains a client's round. `None` if `context` stopped it.
    ///
    /// # Errors
    /// If libtorch fails, for example when out of memory.
    pub fn run(
        &self,
        job: &ClientRound<'_>,
        context: &mut dyn JobContext,
    ) -> Result<Option<LocalResult>, ModelError> {
        let mut client = ClientSteps::new(self, job, 0)?;
        while let Some(positions) = client.next_batch() {
            for part in job.parts(&positions) {
                let loss = job.loss(&part, client.masks(), self.label_smoothing)?;
                job.replica.backward(&client.add_loss(&part, &loss)?)?;
            }
            client.finish_step()?;
            if let ControlFlow::Break(()) = context.step(client.progress()?) {
                return Ok(None);
            }
        }
        client.result().map(Some)
    }
}

impl ClientRound<'_> {
    fn loss(&self, part: &BatchPart, masks: &Masks, smoothing: f64) -> Result<Loss, ModelError> {
        let (inputs, labels) = on_device(&part.batch, self.compute.device)?;
        let autocast = self.compute.autocast()?;
        let outputs = self.replica.model.outputs(&inputs, Some(masks))?;
        // Logits of tokens are a product like a layer's; a classifier's are outputs already.
        let _narrow = match labels {
            Labels::Tokens { .. } => autocast,
            Labels::Rows(_) | Labels::Sets(_) => None,
        };
        self.replica.model.loss(&outputs, &labels, smoothing)
    }
}
