//! Λ of all layers of a client's model, made once a step.
//!
//! The rotations are computed on the host. A GPU would be waited for with each layer if each did so for
//! itself: here it is once before a step for all values of m and θ, and once after it for all
//! gradients by Λ.

use std::cell::{Cell, RefCell};

use tch::{Device, Kind, TchError, Tensor};

use crate::adapter::sorf::givens::{LambdaGradient, Rotation};
use crate::base::torch;
use crate::base::torch::autograd;
use crate::model::ModelError;

/// The trained tensors of a layer: m, (1), and θ, (r (r − 1) / 2).
pub(crate) struct LambdaTensors {
    pub scale: Tensor,
    pub angles: Tensor,
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
    /// One for each time that a layer was computed since the last backward pass.
    uses: Vec<Use>,
}

/// Λ of a layer, and the rotation it was made from.
struct LayerStep {
    lambda: Tensor,
    rotation: Rotation,
    scale: f64,
}

/// Λ of a layer in one forward pass of it: a leaf of the graph, over the step's memory.
struct Use {
    layer: usize,
    lambda: Tensor,
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
        let version = self.version()?;
        let mut step = self.step.borrow_mut();
        let step = match &mut *step {
            Some(step) if step.version == version => step,
            old => old.insert(self.step(version)?),
        };
        let trains = self.layers[layer].trains();
        let lambda = step.layers[layer].lambda.f_detach()?;
        let lambda = lambda.f_set_requires_grad(trains)?;
        if trains {
            step.uses.push(Use {
                layer,
                lambda: lambda.shallow_clone(),
            });
        }
        Ok(lambda)
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
        let tasks = values
            .chunks_exact(2)
            .map(|pair| (pair[0][0], pair[1].clone()));
        let turn = |(scale, angles): (f64, Vec<f64>)| (scale, Rotation::from_angles(r, &angles));
        let turned = self.each(tasks.collect(), turn);
        let entries = turned.iter().map(|(scale, rotation)| {
            let entries = rotation.entries().iter();
            entries.map(|g| (scale * g) as f32).collect()
        });
        let lambdas = self.upload(entries.collect())?;
        let mut layers = Vec::with_capacity(turned.len());
        for (lambda, (scale, rotation)) in lambdas.iter().zip(turned) {
            layers.push(LayerStep {
                lambda: lambda.f_view([self.r, self.r])?,
                rotation,
                scale,
            });
        }
        Ok(Step {
            version,
            layers,
            uses: Vec::new(),
        })
    }

    /// Passes the gradients by all Λ on to m and θ; nothing when that was done.
    pub fn finish_backward(&self) -> Result<(), ModelError> {
        let Some(step) = self.step.borrow_mut().take() else {
            return Ok(());
        };
        let mut reached = Vec::new();
        let mut by_lambda = Vec::new();
        for Use { layer, lambda } in &step.uses {
            let gradient = lambda.f_grad()?;
            if gradient.defined() {
                by_lambda.push(gradient);
                reached.push((&step.layers[*layer], &self.layers[*layer]));
            }
        }
        let by_lambda = self.download(&by_lambda.iter().collect::<Vec<_>>())?;
        let rotations = reached.iter().map(|(own, _)| (&own.rotation, own.scale));
        let tasks = rotations.zip(by_lambda).collect();
        let gradients = self.each(tasks, |((rotation, scale), by_lambda)| {
            rotation.gradient(scale, &by_lambda)
        });
        let narrow = |gradient: &LambdaGradient| -> [Vec<f32>; 2] {
            let angles = gradient.angles.iter().map(|angle| *angle as f32);
            [vec![gradient.scale as f32], angles.collect()]
        };
        let gradients = self.upload(gradients.iter().flat_map(narrow).collect())?;
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

    /// Does the same for each layer: on the cores that a lane on a GPU leaves idle, and on the threads
    /// that a lane on a CPU has.
    fn each<T: Send, U: Send>(&self, tasks: Vec<T>, work: impl Fn(T) -> U + Sync) -> Vec<U> {
        let threads = match self.packed {
            true => torch::threads::cores(),
            false => usize::try_from(tch::get_num_threads()).unwrap_or(1),
        };
        match threads {
            1 => tasks.into_iter().map(work).collect(),
            _ => torch::threads::in_parallel_on(threads, tasks, work),
        }
    }

    /// The values of tensors, which wait for their device once.
    fn download(&self, tensors: &[&Tensor]) -> Result<Vec<Vec<f64>>, ModelError> {
        let values = |tensor: &Tensor| -> Result<Vec<f64>, ModelError> {
            let host = tensor.f_detach()?.f_to_device(Device::Cpu)?;
            Ok(Vec::try_from(
                &host.f_to_kind(Kind::Double)?.f_flatten(0, -1)?,
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
    fn upload(&self, values: Vec<Vec<f32>>) -> Result<Vec<Tensor>, ModelError> {
        if !self.packed {
            let tensors = values.iter().map(|own| Tensor::f_from_slice(own));
            return Ok(tensors.collect::<Result<_, _>>()?);
        }
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

    fn lambdas(packed: bool) -> Lambdas {
        let layer = |at: i64| {
            let angles = Tensor::arange(R * (R - 1) / 2, (Kind::Float, Device::Cpu)) + at;
            LambdaTensors {
                scale: Tensor::from_slice(&[0.5_f32 + at as f32]).set_requires_grad(true),
                angles: angles.sin().set_requires_grad(at != 1),
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
    fn a_backward_pass_that_reaches_no_layer_leaves_no_gradient() {
        let lambdas = lambdas(true);
        let _ = lambdas.of(1).unwrap();
        lambdas.finish_backward().unwrap();
        assert!(!lambdas.layers[1].scale.grad().defined());
        lambdas.finish_backward().unwrap();
    }
}
