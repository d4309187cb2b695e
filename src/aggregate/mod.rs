//! Aggregation: many clients' updates become one global state.
//!
//! The ideal after a round is `W₀ + s Σ pᵢ ΔWᵢ` in every adapted layer. Averaging the factors of
//! ΔW misses it, since a mean of products is not the product of means. Exact methods merge what is
//! missed, the residual, into the frozen weights; every method's miss is measured.
//!
//! | file in [`methods`] | methods | exact |
//! |---|---|---|
//! | [`methods::fedit`] | `fedit` (upstream's `normal`): means of everything | no |
//! | [`methods::ffa`] | `ffa`: what ΔW is linear in | yes, by training less |
//! | [`methods::fedex`] | `fedex`, `fedex_vera` (upstream's `ours`, `ours_vera`): means, residual merged into the base | yes |
//! | [`methods::sorf`] | `sorf_vera`, `sorf_vera_exact`: refits of SORF-VeRA | the second |
//! | [`methods::fedsvd`] | `fedsvd`: B alone trained, refactored by SVD | yes |
//! | [`methods::flora`] | `flora`: everything merged, the adapter is drawn again; ranks may differ | yes |
//! | [`methods::rolora`] | `rolora`: A and B in alternate rounds | yes |
//!
//! To add a method: implement [`Method`] in a file of its own, write its row
//! ([`methods::info::MethodInfo`]) there, and add the row to [`methods::METHODS`].
//!
//! | file | holds |
//! |---|---|
//! | [`settings`] | method, weighting and limits, as a plan holds them |
//! | [`state`] | the global state and its digest |
//! | [`ideal`] | the ideal update, thin or dense, some clients at a time |
//! | [`exactness`] | the residual merged, and the miss measured |
//! | [`stale`] | updates that started from earlier states |
//! | [`measures`] | what explains a method's results: norms, and the drift of clients |
//! | [`check`] | what an update must be before it is aggregated |
//! | [`sound`] | what a state must be before it becomes the server's, and how far an update goes |
//! | [`traffic`] | bytes of a round, in the form that would be sent |

pub mod check;
pub mod exactness;
pub mod ideal;
pub mod measures;
pub mod methods;
pub mod settings;
pub mod sound;
pub mod stale;
pub mod state;
pub mod traffic;

use crate::adapter::factors::Factors;
use crate::adapter::population::{LayerGroup, WeightedUpdates};
use crate::adapter::{Adapter, AdapterTensor, Role};
use crate::aggregate::state::GlobalState;
use crate::base::tensors::HostTensor;
use crate::model::ModelError;

/// One round as an aggregator sees it: checked updates with weights that sum to 1.
pub struct Round<'a> {
    /// The round, from 1.
    pub round: u32,
    /// The adapter that the clients trained.
    pub adapter: &'a dyn Adapter,
    /// The adapted layers by shape.
    pub groups: &'a [LayerGroup],
    /// The updates over the state that they started from.
    pub updates: WeightedUpdates<'a>,
    /// By what the residual is multiplied before it is merged; 1 is exact.
    pub residual_scale: f64,
    /// The run's seed, for methods that draw.
    pub seed: u64,
}

impl Round<'_> {
    /// Replaces every tensor of a state that the updates carry, and that `wanted` names, by its
    /// weighted mean, summed in float64 in the order of the updates. Methods get means of updates
    /// from here alone, so that what is done to a mean is done before whatever a method makes of it.
    ///
    /// # Errors
    /// [`ModelError::Missing`] when one update lacks what another has.
    pub fn take_means(
        &self,
        state: &mut GlobalState,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(), ModelError> {
        let Some(first) = self.updates.updates.first() else {
            return Ok(());
        };
        for (name, _) in first.iter().filter(|(name, _)| wanted(name)) {
            state.trained.insert(name, self.mean(name)?);
        }
        Ok(())
    }

    fn mean(&self, name: &str) -> Result<HostTensor, ModelError> {
        let missing = || ModelError::Missing {
            name: name.to_owned(),
        };
        let mut sum: Vec<f64> = Vec::new();
        let mut shape = Vec::new();
        for (update, weight) in self.updates.updates.iter().zip(self.updates.weights) {
            let tensor = update.get(name).ok_or_else(missing)?;
            sum.resize(tensor.values().len(), 0.0);
            shape = tensor.shape().to_vec();
            let pairs = sum.iter_mut().zip(tensor.values());
            pairs.for_each(|(sum, value)| *sum += weight * f64::from(*value));
        }
        let values = sum.into_iter().map(|x| x as f32).collect();
        Ok(HostTensor::new(shape, values)?)
    }

    /// Factors of the ideal update, `Σ pᵢ s ΔWᵢ`.
    ///
    /// # Errors
    /// When a tensor is missing or the device fails.
    pub fn ideal(&self, group: &LayerGroup) -> Result<Factors, ModelError> {
        self.adapter.factors(group, &self.updates)
    }

    /// Factors of `s ΔW` of one set of adapter tensors.
    ///
    /// # Errors
    /// When a tensor is missing or the device fails.
    pub fn update_of(
        &self,
        state: &GlobalState,
        group: &LayerGroup,
    ) -> Result<Factors, ModelError> {
        self.over_state(state, |one| self.adapter.factors(group, one))
    }

    /// Shows a state as a population of its own, as if one client had sent it.
    fn over_state<T>(
        &self,
        state: &GlobalState,
        show: impl FnOnce(&WeightedUpdates<'_>) -> T,
    ) -> T {
        let own = &state.trained;
        show(&WeightedUpdates::of_one(own, &own, self.updates.device))
    }
}

/// What an aggregation did to the base, and how far it is from the ideal.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// ‖effective − ideal‖_F / ‖Σ pᵢ s ΔWᵢ‖_F over all adapted layers together.
    pub exactness_error: f64,
    /// Rank of the residual's factors per layer group, where one was merged.
    pub residual_ranks: Vec<Option<i64>>,
    /// ‖s ΔW‖_F of the new adapter over all adapted layers together: what it adds to the base.
    pub update_norm: f64,
    /// ‖Σ pᵢ s ΔWᵢ‖_F of the ideal update over all adapted layers together.
    pub ideal_norm: f64,
    /// ‖Σ pᵢ s ΔWᵢ − s ΔW‖_F: what the new adapter misses of the ideal, whether or not it is merged
    /// into the base.
    pub residual_norm: f64,
}

/// A method of aggregation.
pub trait Method: Send + Sync {
    /// Whether clients train this tensor of the adapter in this round. Heads are always trained.
    fn trains(&self, tensor: &AdapterTensor, round: u32) -> bool {
        let _ = round;
        tensor.role != Role::Server
    }

    /// Whether a client must download this tensor after a round.
    fn sends(&self, tensor: &AdapterTensor) -> bool {
        tensor.role != Role::Server
    }

    /// Whether the adapter's first ΔW, where it is not zero, is subtracted from the base once, so
    /// that training starts at the pretrained model. Every client can do so from the seeds.
    fn starts_at_pretrained(&self) -> bool {
        false
    }

    /// Takes the global state from before the round to after it.
    ///
    /// # Errors
    /// When libtorch fails; the state is then undefined, and the round is lost.
    fn aggregate(&self, round: &Round<'_>, state: &mut GlobalState) -> Result<Report, ModelError>;
}
