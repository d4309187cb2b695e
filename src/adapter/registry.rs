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
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::adapter::initial_state;
    use crate::model::delta::Delta;
    use crate::model::linear_layer::WeightLayout;
    use crate::model::weights::Weights;

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

    /// What a layer's adapter makes of inputs by a function, and the gradients of a sum of it.
    fn results(kind: AdapterKind, of: fn(&dyn Delta, &Tensor) -> Tensor) -> Vec<Tensor> {
        let layer = LinearLayer {
            module: "query".to_owned(),
            layer: 0,
            d_in: 64,
            d_out: 96,
            layout: WeightLayout::OutIn,
        };
        let mut plan = AdapterPlan::plain(kind, 8);
        plan.init_weights = false;
        let layers = std::slice::from_ref(&layer);
        let adapter = plan.build(layers).unwrap();
        let state = initial_state(&*adapter, layers, 3, 0);
        let weights = Weights::from_map(&state, Device::Cpu).unwrap();
        let prepared = adapter.prepare(layers, &weights, Device::Cpu).unwrap();
        let mut names: Vec<_> = weights.tensors.keys().collect();
        names.sort();
        let leaves = names.iter().map(|name| weights.get(name).unwrap());
        let leaves: Vec<_> = leaves.map(|it| it.set_requires_grad(true)).collect();
        let delta = prepared.attach(&layer, &weights).unwrap();
        let waves = |rows: i64, columns: i64, step: f64| {
            let count = Tensor::arange(rows * columns, (Kind::Float, Device::Cpu));
            (count * step).sin().view([rows, columns])
        };
        let y = of(&*delta, &waves(5, 64, 0.7));
        (&y * waves(5, 96, 1.3)).sum(Kind::Float).backward();
        delta.finish_backward().unwrap();
        let gradients = leaves.iter().map(Tensor::grad);
        let gradients = gradients.filter(Tensor::defined);
        std::iter::once(y.detach()).chain(gradients).collect()
    }

    #[test]
    fn a_change_of_two_matrices_is_what_the_adapter_makes_of_inputs_and_so_are_its_gradients() {
        for kind in AdapterKind::value_variants() {
            let exact = results(*kind, |delta, x| delta.forward(x, None).unwrap());
            let found = results(*kind, |delta, x| {
                let change = delta.low_rank().unwrap().unwrap();
                x.matmul(&change.a.tr()).matmul(&change.b.tr()) * change.scaling
            });
            assert!(exact.len() > 2 && found.len() == exact.len(), "{kind:?}");
            for (found, exact) in found.iter().zip(&exact) {
                let largest = exact.abs().max().double_value(&[]);
                let miss = (found - exact).abs().max().double_value(&[]);
                assert!(
                    largest > 0.0 && miss < 1e-5 * largest,
                    "{kind:?}: {miss:e} of {largest}"
                );
            }
        }
    }
}
