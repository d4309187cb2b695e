//! Λ of all layers of a client's model, made once a step.
//!
//! The rotations are computed on the host. A GPU would be waited for with each layer if each did so for
//! itself: here it is once before a step for all values of m and θ, and once after it for all
//! gradients by Λ. Products Λ A, where these are asked for, are one product for all layers of a width,
//! and so are the gradients by Λ.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use tch::{Device, Kind, TchError, Tensor};

use crate::adapter::sorf::givens::Rotation;
use crate::base::torch;
use crate::base::torch::autograd;
use crate::model::ModelError;

/// A layer's tensors.
pub(crate) struct LambdaTensors {
    /// m, (1).
    pub scale: Tensor,
    /// θ, (r (r − 1) / 2).
    pub angles: Tensor,
    /// A, (r, d_in), the same for all layers of a width. Frozen.
    pub a: Tensor,
}

impl LambdaTensors {
    fn trains(&self) -> bool {
        self.scale.requires_grad() || self.angles.requires_grad()
    }
}

/// See the module.
pub(crate) struct Lambdas {
    r: i64,
    layers: Vec<LambdaTensors>,
    /// Whether what all layers have goes to and from the device in one piece. Not to the CPU, where
    /// nothing has to go anywhere.
    packed: bool,
    step: RefCell<Option<Step>>,
    /// How often a device was waited for.
    waits: Cell<u64>,
}

/// All Λ of a step, and the state of m and θ that they are of.
struct Step {
    version: i64,
    layers: Vec<LayerStep>,
    /// Of all layers, once somebody asks for one.
    products: Option<Vec<Product>>,
    /// One for each time that a layer was computed since the last backward pass.
    uses: Vec<Use>,
}

/// Λ of a layer, and the rotation it was made from.
struct LayerStep {
    lambda: Tensor,
    rotation: Rotation,
    scale: f64,
}

/// Λ A of a layer.
struct Product {
    /// (r, d_in), in A's kind.
    value: Tensor,
    /// A as it was multiplied, which in mixed precision is narrow.
    a: Tensor,
}

/// Λ of a layer, or Λ A, in one forward pass of it: a leaf of the graph, over the step's memory.
struct Use {
    layer: usize,
    leaf: Tensor,
    /// A, where it is a product.
    a: Option<Tensor>,
}

/// The same values, as rotations are computed.
fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

impl Lambdas {
    /// Those of layers of one device, of rank r.
    pub fn new(r: i64, layers: Vec<LambdaTensors>) -> Self {
        let on_cpu = |layer: &LambdaTensors| layer.scale.device() == Device::Cpu;
        Self {
            r,
            packed: !layers.iter().all(on_cpu),
            layers,
            step: RefCell::new(None),
            waits: Cell::new(0),
        }
    }

    /// Λ(m, θ) of a layer as a leaf that gathers its gradient, for [`Self::finish_backward`] to pass
    /// on.
    pub fn of(&self, layer: usize) -> Result<Tensor, ModelError> {
        self.leaf(layer, |step| {
            Ok((step.layers[layer].lambda.shallow_clone(), None))
        })
    }

    /// Λ(m, θ) A of a layer, (r, d_in), as such a leaf. In mixed precision the product is as narrow as
    /// others.
    pub fn times_a(&self, layer: usize) -> Result<Tensor, ModelError> {
        self.leaf(layer, |step| {
            let all = match &step.products {
                Some(all) => all,
                None => step.products.insert(self.products(&step.layers)?),
            };
            let Product { value, a } = &all[layer];
            Ok((value.shallow_clone(), Some(a.shallow_clone())))
        })
    }

    /// What is made of the step's values, with A where it is a product, as a leaf.
    fn leaf(
        &self,
        layer: usize,
        make: impl FnOnce(&mut Step) -> Result<(Tensor, Option<Tensor>), ModelError>,
    ) -> Result<Tensor, ModelError> {
        let version = self.version()?;
        let mut step = self.step.borrow_mut();
        let step = match &mut *step {
            Some(step) if step.version == version => step,
            old => old.insert(self.step(version)?),
        };
        let trains = self.layers[layer].trains();
        let (value, a) = make(step)?;
        let leaf = value.f_detach()?.f_set_requires_grad(trains)?;
        if trains {
            step.uses.push(Use {
                layer,
                leaf: leaf.shallow_clone(),
                a,
            });
        }
        Ok(leaf)
    }

    /// Another after each change to m or θ.
    fn version(&self) -> Result<i64, TchError> {
        let mut sum = 0;
        for layer in &self.layers {
            sum += layer.scale.f_internal_version()? + layer.angles.f_internal_version()?;
        }
        Ok(sum)
    }

    fn step(&self, version: i64) -> Result<Step, ModelError> {
        let r = self.r as usize;
        let own = self.layers.iter();
        let tensors: Vec<_> = own
            .flat_map(|layer| [&layer.scale, &layer.angles])
            .collect();
        let values = self.download(&tensors)?;
        let turn = |pair: &[Vec<f32>]| -> Result<(Vec<f32>, Rotation, f64), TchError> {
            let scale = f64::from(pair[0][0]);
            let rotation = Rotation::from_angles(r, &wide(&pair[1]))?;
            let entries = rotation.entries().iter();
            let lambda = entries.map(|g| (scale * g) as f32).collect();
            Ok((lambda, rotation, scale))
        };
        let turned = self
            .each(values.chunks_exact(2).collect(), turn)
            .into_iter();
        let turned = turned.collect::<Result<Vec<_>, _>>()?;
        let lambdas = self.upload(turned.iter().map(|(lambda, ..)| lambda))?;
        let mut layers = Vec::with_capacity(turned.len());
        for (lambda, (_, rotation, scale)) in lambdas.iter().zip(turned) {
            layers.push(LayerStep {
                lambda: lambda.f_view([self.r, self.r])?,
                rotation,
                scale,
            });
        }
        Ok(Step {
            version,
            layers,
            products: None,
            uses: Vec::new(),
        })
    }

    /// Λ A of all layers.
    fn products(&self, layers: &[LayerStep]) -> Result<Vec<Product>, TchError> {
        let _guard = tch::no_grad_guard();
        let all = self.layers.iter().zip(layers);
        let all = all.map(|(own, step)| (step.lambda.shallow_clone(), own.a.shallow_clone()));
        self.by_width(all.collect(), |lambdas, a| {
            let products = lambdas.f_matmul(a)?;
            let narrow = a.f_to_kind(products.kind())?;
            let products = self.apart(&products.f_to_kind(a.kind())?)?;
            let product = |value| Product {
                value,
                a: narrow.shallow_clone(),
            };
            Ok(products.into_iter().map(product).collect())
        })
    }

    /// Of a matrix and an A each, those with an A of one width as one matrix, (n r, …), by which `make` makes
    /// one of each; in their order.
    fn by_width<T>(
        &self,
        all: Vec<(Tensor, Tensor)>,
        make: impl Fn(&Tensor, &Tensor) -> Result<Vec<T>, TchError>,
    ) -> Result<Vec<T>, TchError> {
        let mut widths = BTreeMap::<i64, Vec<usize>>::new();
        for (at, (_, a)) in all.iter().enumerate() {
            widths.entry(a.size()[1]).or_default().push(at);
        }
        let mut made = BTreeMap::new();
        for places in widths.into_values() {
            let own: Vec<_> = places.iter().map(|at| &all[*at].0).collect();
            let values = make(&Tensor::f_cat(&own, 0)?, &all[places[0]].1)?;
            made.extend(places.into_iter().zip(values));
        }
        Ok(made.into_values().collect())
    }

    /// Matrices of r rows that lie one below the other.
    fn apart(&self, rows: &Tensor) -> Result<Vec<Tensor>, TchError> {
        (0..rows.size()[0] / self.r)
            .map(|at| rows.f_narrow(0, at * self.r, self.r))
            .collect()
    }

    /// Passes the gradients by all Λ on to m and θ; nothing when that was done.
    pub fn finish_backward(&self) -> Result<(), ModelError> {
        let Some(step) = self.step.borrow_mut().take() else {
            return Ok(());
        };
        let (reached, by_lambda): (Vec<_>, Vec<_>) =
            self.gradients(&step.uses)?.into_iter().unzip();
        let reached = reached
            .into_iter()
            .map(|layer: usize| (&step.layers[layer], &self.layers[layer]));
        let reached: Vec<_> = reached.collect();
        let by_lambda = self.download(&by_lambda.iter().collect::<Vec<_>>())?;
        let rotations = reached.iter().map(|(own, _)| (&own.rotation, own.scale));
        let tasks = rotations.zip(by_lambda).collect();
        let gradients = self.each(tasks, |((rotation, scale), by_lambda)| -> [Vec<f32>; 2] {
            let gradient = rotation.gradient(scale, &wide(&by_lambda));
            let angles = gradient.angles.iter().map(|angle| *angle as f32);
            [vec![gradient.scale as f32], angles.collect()]
        });
        let gradients = self.upload(gradients.iter().flatten())?;
        let leaves = reached
            .iter()
            .flat_map(|(_, layer)| [&layer.scale, &layer.angles]);
        for (leaf, gradient) in leaves.zip(gradients) {
            if leaf.requires_grad() {
                autograd::add_gradient(leaf, &gradient.f_view_as(leaf)?)?;
            }
        }
        Ok(())
    }

    /// The gradient by Λ of each use that a backward pass reached, with its layer.
    fn gradients(&self, uses: &[Use]) -> Result<Vec<(usize, Tensor)>, TchError> {
        let (mut found, mut places, mut by_products) = (Vec::new(), Vec::new(), Vec::new());
        for Use { layer, leaf, a } in uses {
            let gradient = leaf.f_grad()?;
            match a {
                _ if !gradient.defined() => {}
                None => found.push((*layer, gradient)),
                Some(a) => {
                    places.push(*layer);
                    by_products.push((gradient, a.shallow_clone()));
                }
            }
        }
        let by_lambda = self.by_width(by_products, |gradients, a| {
            let by_lambda = gradients.f_to_kind(a.kind())?.f_matmul(&a.f_tr()?)?;
            self.apart(&by_lambda)
        })?;
        found.extend(places.into_iter().zip(by_lambda));
        Ok(found)
    }

    /// Does the same for each layer: on the cores that a lane on a GPU leaves idle, and on the threads
    /// that a lane on a CPU has.
    fn each<T: Send, U: Send>(&self, tasks: Vec<T>, work: impl Fn(T) -> U + Sync) -> Vec<U> {
        match self.packed {
            true => torch::threads::in_parallel(tasks, work),
            false => torch::threads::in_parallel_here(tasks, work),
        }
    }

    /// The values of tensors, which wait for their device once.
    fn download(&self, tensors: &[&Tensor]) -> Result<Vec<Vec<f32>>, ModelError> {
        let values = |tensor: &Tensor| -> Result<Vec<f32>, ModelError> {
            let host = tensor.f_detach()?.f_to_device(Device::Cpu)?;
            Ok(Vec::try_from(
                &host.f_to_kind(Kind::Float)?.f_flatten(0, -1)?,
            )?)
        };
        if tensors.is_empty() || !self.packed {
            return tensors.iter().map(|tensor| values(tensor)).collect();
        }
        self.waits.set(self.waits.get() + 1);
        let flat = tensors
            .iter()
            .map(|tensor| tensor.f_detach()?.f_flatten(0, -1));
        let all = Tensor::f_cat(&flat.collect::<Result<Vec<_>, _>>()?, 0)?;
        let all = values(&all)?;
        let mut rest = all.as_slice();
        let own = tensors.iter().map(|tensor| {
            let (own, after) = rest.split_at(tensor.numel());
            rest = after;
            own.to_vec()
        });
        Ok(own.collect())
    }

    /// Flat tensors of these values on the device of the layers; nobody waits.
    fn upload<'a>(
        &self,
        values: impl Iterator<Item = &'a Vec<f32>>,
    ) -> Result<Vec<Tensor>, ModelError> {
        if !self.packed {
            let tensors = values.map(|own| Tensor::f_from_slice(own));
            return Ok(tensors.collect::<Result<_, _>>()?);
        }
        let values: Vec<_> = values.map(Vec::as_slice).collect();
        let Some(layer) = self.layers.first() else {
            return Ok(Vec::new());
        };
        let all = Tensor::f_from_slice(&values.concat())?;
        let all = torch::device::to_device(&all, layer.scale.device())?;
        let mut start = 0;
        let own = values.iter().map(|own| {
            let len = own.len() as i64;
            start += len;
            all.f_narrow(0, start - len, len)
        });
        Ok(own.collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const R: i64 = 5;

    /// A of a width.
    fn a_of(d_in: i64) -> Tensor {
        let values = Tensor::arange(R * d_in, (Kind::Float, Device::Cpu));
        (values * 0.7).sin().view([R, d_in])
    }

    fn lambdas(packed: bool) -> Lambdas {
        let layer = |at: i64| {
            let angles = Tensor::arange(R * (R - 1) / 2, (Kind::Float, Device::Cpu)) + at;
            LambdaTensors {
                scale: Tensor::from_slice(&[0.5_f32 + at as f32]).set_requires_grad(true),
                angles: angles.sin().set_requires_grad(at != 1),
                a: a_of(if at == 2 { 7 } else { 4 }),
            }
        };
        Lambdas {
            packed,
            ..Lambdas::new(R, (0..3).map(layer).collect())
        }
    }

    /// All Λ, and the gradients of m and θ of a step that uses them twice.
    fn step(lambdas: &Lambdas) -> Vec<Tensor> {
        let all: Vec<_> = (0..3).map(|layer| lambdas.of(layer).unwrap()).collect();
        let weights = Tensor::arange(R * R, (Kind::Float, Device::Cpu))
            .cos()
            .view([R, R]);
        let sum = &all[0] * &weights + &all[1] * &all[2] + lambdas.of(2).unwrap();
        sum.sum(Kind::Float).backward();
        lambdas.finish_backward().unwrap();
        let mut found: Vec<_> = all.iter().map(Tensor::detach).collect();
        let leaves = lambdas
            .layers
            .iter()
            .flat_map(|own| [&own.scale, &own.angles]);
        found.extend(leaves.map(Tensor::grad).filter(Tensor::defined));
        found
    }

    #[test]
    fn layers_together_have_the_bits_of_each_for_itself_and_wait_for_a_device_twice() {
        let (alone, together) = (lambdas(false), lambdas(true));
        for steps in 1..3 {
            let found = step(&together);
            assert_eq!(found.len(), 3 + 5, "one θ is frozen");
            assert_eq!(found, step(&alone));
            assert_eq!(together.waits.get(), 2 * steps);
        }
    }

    #[test]
    fn what_was_made_is_made_again_when_the_values_it_was_made_of_change() {
        let lambdas = lambdas(true);
        let before = lambdas.of(0).unwrap();
        assert_eq!(lambdas.of(0).unwrap(), before);
        assert_eq!(lambdas.waits.get(), 1);
        tch::no_grad(|| {
            let _ = lambdas.layers[0]
                .scale
                .shallow_clone()
                .f_mul_scalar_(2.0)
                .unwrap();
        });
        assert_eq!(lambdas.of(0).unwrap(), before * 2.0);
    }

    #[test]
    fn a_layer_that_is_computed_twice_passes_the_gradients_of_both_on() {
        for packed in [false, true] {
            let gradients = |factors: &[f64]| {
                let lambdas = lambdas(packed);
                for factor in factors {
                    let _unread = lambdas.of(0).unwrap();
                    let sum = lambdas.of(0).unwrap().sum(Kind::Float) * *factor;
                    sum.backward();
                }
                lambdas.finish_backward().unwrap();
                let layer = &lambdas.layers[0];
                [layer.scale.grad(), layer.angles.grad()]
            };
            let (one, both) = (gradients(&[0.5]), gradients(&[0.5, 2.0]));
            for (one, both) in one.into_iter().zip(both) {
                assert!((one * 5.0 - both).abs().max().double_value(&[]) < 1e-6);
            }
        }
    }

    #[test]
    fn products_with_a_and_what_goes_back_through_them_are_those_of_each_layer_for_itself() {
        let gradients = |product: &dyn Fn(&Lambdas, usize) -> Tensor| {
            let lambdas = lambdas(false);
            let mut sum = Tensor::zeros([], (Kind::Float, Device::Cpu));
            for layer in [0, 2, 1, 2] {
                let made = product(&lambdas, layer);
                let weights = Tensor::arange(made.numel() as i64, (Kind::Float, Device::Cpu)).cos();
                sum += (made.flatten(0, 1) * weights).sum(Kind::Float) * (layer as f64 + 0.5);
            }
            let value = sum.detach();
            sum.backward();
            lambdas.finish_backward().unwrap();
            let leaves = lambdas
                .layers
                .iter()
                .flat_map(|own| [&own.scale, &own.angles]);
            let gradients = leaves.map(Tensor::grad).filter(Tensor::defined);
            std::iter::once(value).chain(gradients).collect::<Vec<_>>()
        };
        let alone = |lambdas: &Lambdas, layer: usize| {
            lambdas.of(layer).unwrap().matmul(&lambdas.layers[layer].a)
        };
        let together = |lambdas: &Lambdas, layer| lambdas.times_a(layer).unwrap();
        let (exact, found) = (gradients(&alone), gradients(&together));
        assert_eq!((found.len(), exact.len()), (6, 6), "one θ is frozen");
        for (found, exact) in found.iter().zip(&exact) {
            assert!((found - exact).abs().max().double_value(&[]) < 1e-5);
        }
    }

    #[test]
    fn a_backward_pass_that_reaches_no_layer_leaves_no_gradient() {
        let lambdas = lambdas(true);
        let _ = lambdas.of(1).unwrap();
        lambdas.finish_backward().unwrap();
        assert!(!lambdas.layers[1].scale.grad().defined());
        lambdas.finish_backward().unwrap();
    }
}
