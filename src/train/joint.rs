//! The loop over the batches of several clients, whose steps are taken together: their batches are
//! computed in one pass, so that the frozen base is read once for all.
//!
//! Each client has the tensors, the batches, the dropout masks and the optimiser that it would have
//! alone; only products have other shapes, and so other last bits. These depend on who is in the
//! group, so that a client that need not go on is computed to its end with the others.

use std::rc::Rc;

use regatta_actors::workload::job::JobContext;
use tch::Tensor;

use crate::model::ModelError;
use crate::model::dropout::{Masks, PassMember};
use crate::model::inputs::Inputs;
use crate::model::joint::BatchShape;
use crate::model::loss::{Labels, Loss};
use crate::train::client_round::{
    BatchPart, ClientRound, LocalResult, LocalTraining, all_on_device,
};
use crate::train::client_steps::ClientSteps;
use crate::train::precision::Compute;
use crate::train::replica::Replica;

/// Clients of one round, ready to be trained together.
pub struct JointRound<'a> {
    /// See [`Replica::joint`].
    pub model: &'a Replica,
    /// The clients, whose replicas `model` was made of, in its order.
    pub clients: &'a [ClientRound<'a>],
    /// The device and the numeric settings.
    pub compute: Compute,
    /// See [`ClientRound::part_tokens`].
    pub part_tokens: Option<usize>,
}

/// A part of a client's batch.
struct ClientPart {
    client: usize,
    part: BatchPart,
}

impl LocalTraining {
    /// Trains several clients' rounds, a context for each. `None` for a client that its context
    /// stopped.
    ///
    /// # Errors
    /// If libtorch fails, for example when out of memory.
    pub fn run_joint(
        &self,
        round: &JointRound<'_>,
        contexts: &mut [&mut dyn JobContext],
    ) -> Result<Vec<Option<LocalResult>>, ModelError> {
        let clients = round.clients.iter().enumerate();
        let mut clients = clients
            .map(|(place, job)| ClientSteps::new(self, job, place))
            .collect::<Result<Vec<_>, _>>()?;
        let mut stopped = vec![false; clients.len()];
        loop {
            let batches = clients.iter_mut().map(ClientSteps::next_batch);
            let batches: Vec<Option<Vec<u32>>> = batches.collect();
            if batches.iter().all(Option::is_none) || stopped.iter().all(|stopped| *stopped) {
                break;
            }
            for some in round.passes(&batches) {
                self.pass(round, &mut clients, &some)?;
            }
            let active = batches
                .iter()
                .enumerate()
                .filter(|(_, batch)| batch.is_some());
            for (place, _) in active {
                let client = &mut clients[place];
                client.finish_step()?;
                if !stopped[place] {
                    stopped[place] = contexts[place].step(client.progress()?).is_break();
                }
            }
        }
        let ended = clients.iter().zip(stopped);
        ended
            .map(|(client, stopped)| match stopped {
                true => Ok(None),
                false => client.result().map(Some),
            })
            .collect()
    }

    /// A forward and a backward pass over parts of several clients' batches, at most one of each.
    fn pass(
        &self,
        round: &JointRound<'_>,
        clients: &mut [ClientSteps<'_>],
        some: &[ClientPart],
    ) -> Result<(), ModelError> {
        let losses = round.losses(clients, some, self.label_smoothing)?;
        let mut sum: Option<Tensor> = None;
        for (ClientPart { client, part }, loss) in some.iter().zip(&losses) {
            let share = clients[*client].add_loss(part, loss)?;
            sum = Some(match sum {
                Some(sum) => sum.f_add(&share)?,
                None => share,
            });
        }
        match sum {
            Some(sum) => round.model.backward(&sum),
            None => Ok(()),
        }
    }
}

impl JointRound<'_> {
    /// The parts of the clients' batches, by the passes that they are computed in: first parts with
    /// first parts, in the order of the clients, as many at once as one part may have tokens.
    fn passes(&self, batches: &[Option<Vec<u32>>]) -> Vec<Vec<ClientPart>> {
        let mut parts: Vec<_> = (self.clients.iter().zip(batches).enumerate())
            .filter_map(|(client, (job, batch))| Some((client, job.parts(batch.as_deref()?))))
            .collect();
        let mut passes = Vec::new();
        loop {
            let turn: Vec<ClientPart> = (parts.iter_mut())
                .filter_map(|(client, parts)| {
                    let (client, part) = (*client, parts.next()?);
                    Some(ClientPart { client, part })
                })
                .collect();
            if turn.is_empty() {
                return passes;
            }
            let (mut some, mut tokens) = (Vec::new(), 0);
            for part in turn {
                let own = part.part.batch.rows * part.part.batch.cols;
                if !some.is_empty() && self.part_tokens.is_some_and(|most| tokens + own > most) {
                    passes.push(std::mem::take(&mut some));
                    tokens = 0;
                }
                tokens += own;
                some.push(part);
            }
            passes.push(some);
        }
    }

    /// The loss of each of the parts of a pass.
    fn losses(
        &self,
        clients: &[ClientSteps<'_>],
        some: &[ClientPart],
        smoothing: f64,
    ) -> Result<Vec<Loss>, ModelError> {
        let batches: Vec<_> = some.iter().map(|part| &part.part.batch).collect();
        let sent = all_on_device(&batches, self.compute.device)?;
        let (inputs, labels): (Vec<Inputs>, Vec<Labels>) = sent.into_iter().unzip();
        let members = some.iter().map(|ClientPart { client, part }| PassMember {
            shape: BatchShape {
                rows: part.batch.rows as i64,
                tokens: part.batch.cols as i64,
            },
            masks: Rc::clone(clients[*client].masks()),
        });
        let masks = Masks::joint(members.collect());
        let autocast = self.compute.autocast()?;
        let hidden = self.model.model.joint_hidden(&inputs, &masks)?;
        let mut outputs = Vec::with_capacity(some.len());
        for (at, ClientPart { client, .. }) in some.iter().enumerate() {
            let own = &self.clients[*client].replica.model;
            let masks = Some(&**clients[*client].masks());
            outputs.push(own.outputs_of(&hidden[at], &inputs[at], masks)?);
        }
        // Logits of tokens are a product like a layer's; a classifier's are outputs already.
        let of_tokens = matches!(labels.first(), Some(Labels::Tokens { .. }));
        let _narrow = autocast.filter(|_| of_tokens);
        self.model.model.losses(&outputs, &labels, smoothing)
    }
}
