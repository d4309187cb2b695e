//! What is known of a kind of adapter beside its code: its row in the table of adapters.

use std::fmt;
use std::sync::Arc;

use crate::adapter::Adapter;
use crate::adapter::settings::AdapterPlan;
use crate::model::linear_layer::LinearLayer;

/// Builds an adapter for the layers it will attach to.
pub type Build = fn(&AdapterPlan, &[LinearLayer]) -> Result<Arc<dyn Adapter>, String>;

/// A kind of adapter that can be asked for by name.
pub struct AdapterInfo {
    /// The name as `--adapter` takes it.
    pub name: &'static str,
    /// The name in the literature.
    pub title: &'static str,
    /// Its paper: authors, title and year; or that there is none, and its origin.
    pub paper: &'static str,
    /// The `peft_type` in `adapter_config.json`.
    pub peft_type: &'static str,
    /// Whether PEFT knows it; otherwise it is found in run folders only.
    pub is_in_peft: bool,
    /// The factor s on ΔW at a rank.
    pub scaling: fn(&AdapterPlan, f64) -> f64,
    /// Values that it trains in a layer of this size at a rank.
    pub trained_values: fn(u64, LayerSize) -> u64,
    /// Values of the frozen matrices that it draws for layers of these sizes at a rank.
    pub drawn_values: fn(u64, &[LayerSize]) -> u64,
    /// Its constructor.
    pub build: Build,
}

/// A layer's width of inputs, and of outputs.
pub type LayerSize = (u64, u64);

impl fmt::Debug for AdapterInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AdapterInfo").field(&self.name).finish()
    }
}
