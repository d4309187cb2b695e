//! The table of adapters, and what a plan learns from it.

use std::sync::Arc;

use crate::adapter::info::AdapterInfo;
use crate::adapter::settings::{AdapterKind, AdapterPlan};
use crate::adapter::{Adapter, lora, sorf, vera};
use crate::model::linear_layer::LinearLayer;

impl AdapterKind {
    /// The row. A new adapter adds its line here.
    #[must_use]
    pub fn info(self) -> &'static AdapterInfo {
        match self {
            Self::Lora => &lora::INFO,
            Self::Vera => &vera::INFO,
            Self::SorfVera => &sorf::info::INFO,
        }
    }

    /// The name in the literature.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.info().title
    }
}

impl AdapterPlan {
    /// The adapter, for the layers it will attach to.
    ///
    /// # Errors
    /// When it does not fit a layer; the message names the layer.
    pub fn build(&self, layers: &[LinearLayer]) -> Result<Arc<dyn Adapter>, String> {
        (self.kind.info().build)(self, layers)
    }

    /// The factor s on ΔW for an adapter of this rank (MATH: α/r, α/√r, or 1 for VeRA's kinds).
    #[must_use]
    pub fn scaling(&self, rank: u32) -> f64 {
        (self.kind.info().scaling)(self, f64::from(rank))
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn an_adapters_row_has_the_name_of_its_flag_and_of_scenario_files() {
        for kind in AdapterKind::value_variants() {
            let info = kind.info();
            let flag = kind.to_possible_value().unwrap();
            assert_eq!(flag.get_name(), info.name);
            let written = serde_json::to_value(kind).unwrap();
            assert_eq!(written, info.name);
            let plan = AdapterPlan::plain(*kind, 4);
            assert_eq!(plan.build(&[]).unwrap().name(), info.name);
        }
    }
}
