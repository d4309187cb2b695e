//! Named tensors on a device, seen the way a module tree sees them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use tch::{Device, Kind, TchError, Tensor};

use crate::base::tensors::TensorMap;
use crate::base::torch::narrow::PackedWeight;
use crate::model::ModelError;
use crate::model::delta::Delta;
use crate::model::linear_layer::{LinearLayer, WeightLayout};
use crate::model::quantised::held::HeldWeight;
use crate::model::quantised::weight::QuantisedWeight;
use crate::model::stacked_tensors::{self, StackedTensors};

/// Tensors by name on one device. Cloning shares the memory.
#[derive(Debug, Default)]
pub struct Weights {
    /// Those in float32, or whatever kind they are trained in.
    pub tensors: HashMap<String, Tensor>,
    /// Weights of linear layers that are held in fewer bits.
    pub quantised: HashMap<String, HeldWeight>,
    /// Weights among `tensors` once more, as they are multiplied in bfloat16.
    pub packed: HashMap<String, PackedWeight>,
    /// Those that were stacked, by the names of the uppermost.
    stacks: HashMap<String, Tensor>,
}

impl Weights {
    /// Copies a map to a device.
    ///
    /// # Errors
    /// If the device fails.
    pub fn from_map(map: &TensorMap, device: Device) -> Result<Self, ModelError> {
        let place = |(name, tensor): (&str, &crate::base::tensors::HostTensor)| {
            Ok((name.to_owned(), tensor.to_tensor(device)?))
        };
        map.iter()
            .map(place)
            .collect::<Result<_, ModelError>>()
            .map(Self::of)
    }

    /// A model's frozen tensors, and weights that are held in fewer bits. On the processor they share
    /// their memory with these where that makes no difference to a result.
    ///
    /// # Errors
    /// If the device fails.
    pub fn frozen(
        base: &TensorMap,
        quantised: &BTreeMap<String, QuantisedWeight>,
        device: Device,
    ) -> Result<Self, ModelError> {
        Self::frozen_and_rounded(base, quantised, device, &RoundedTensors::default())
    }

    /// The same, some of them rounded: one after the other, so that a device never holds all of them
    /// in float32.
    ///
    /// # Errors
    /// If the device fails.
    pub fn frozen_and_rounded(
        base: &TensorMap,
        quantised: &BTreeMap<String, QuantisedWeight>,
        device: Device,
        rounded: &RoundedTensors,
    ) -> Result<Self, ModelError> {
        let tensors = base.iter().map(|(name, tensor)| {
            let held = rounded.round(name, tensor.share(device)?)?;
            Ok((name.to_owned(), held))
        });
        let held = quantised
            .iter()
            .map(|(name, weight)| Ok((name.clone(), weight.on(device)?)));
        Ok(Self {
            tensors: tensors.collect::<Result<_, ModelError>>()?,
            quantised: held.collect::<Result<_, ModelError>>()?,
            ..Self::default()
        })
    }

    /// Packs the weights of these layers for products in bfloat16, on a CPU that multiplies packed
    /// ones: those that are held in float32. Weights that are packed already are packed again.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn pack<'a>(
        &mut self,
        layers: impl IntoIterator<Item = &'a LinearLayer>,
    ) -> Result<(), ModelError> {
        for layer in layers {
            let name = layer.weight();
            let Some(weight) = self.tensors.get(&name) else {
                continue;
            };
            let packed = match layer.layout {
                WeightLayout::OutIn => PackedWeight::of(weight)?,
                WeightLayout::InOut => PackedWeight::of(&weight.f_transpose(0, 1)?)?,
            };
            if let Some(packed) = packed {
                self.packed.insert(name, packed);
            }
        }
        Ok(())
    }

    /// Packs the table that makes logits, if there is one, as [`Weights::pack`] does layers.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn pack_output(&mut self, name: Option<&str>) -> Result<(), ModelError> {
        if let Some(name) = name
            && let Some(table) = self.tensors.get(name)
            && let Some(packed) = PackedWeight::padded(table)?
        {
            self.packed.insert(name.to_owned(), packed);
        }
        Ok(())
    }

    /// Lays tensors one below the other: those of a stack that are there and of one kind and width, and do
    /// not lie so already. They are then parts of one tensor, in memory that no other shares.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn stack(&mut self, stacked: &StackedTensors) -> Result<(), ModelError> {
        for names in stacked.iter() {
            let found: Option<Vec<_>> = names.iter().map(|name| self.tensors.get(name)).collect();
            let (Some(parts), None) = (found, self.stack_of(names)?) else {
                continue;
            };
            if let Some((whole, views)) = stacked_tensors::stack(&parts)? {
                self.tensors.extend(names.iter().cloned().zip(views));
                self.stacks.insert(names[0].clone(), whole);
            }
        }
        Ok(())
    }

    /// The tensor that has those of these names one below the other, and nothing else.
    fn stack_of(&self, names: &[String]) -> Result<Option<&Tensor>, ModelError> {
        let Some(whole) = names.first().and_then(|name| self.stacks.get(name)) else {
            return Ok(None);
        };
        let parts: Vec<_> = names
            .iter()
            .map(|name| self.get(name))
            .collect::<Result<_, _>>()?;
        Ok(stacked_tensors::is_stack_of(whole, &parts)?.then_some(whole))
    }

    /// Tensors alone.
    #[must_use]
    pub fn of(tensors: HashMap<String, Tensor>) -> Self {
        Self {
            tensors,
            ..Self::default()
        }
    }

    /// The tensor of that name, sharing its memory.
    ///
    /// # Errors
    /// [`ModelError::Missing`].
    pub fn get(&self, name: &str) -> Result<Tensor, ModelError> {
        let found = self.tensors.get(name).map(Tensor::shallow_clone);
        found.ok_or_else(|| ModelError::Missing {
            name: name.to_owned(),
        })
    }
}

impl Clone for Weights {
    fn clone(&self) -> Self {
        let shared = |(name, tensor): (&String, &Tensor)| (name.clone(), tensor.shallow_clone());
        let (tensors, stacks) = (self.tensors.iter(), self.stacks.iter());
        Self {
            tensors: tensors.map(shared).collect(),
            quantised: self.quantised.clone(),
            packed: self.packed.clone(),
            stacks: stacks.map(shared).collect(),
        }
    }
}

/// Frozen tensors that are held in the kind that mixed precision multiplies in. It would round a
/// float32 weight at each product, which reads and writes the weight once more and takes an operation
/// of its own; rounded beforehand, the product has the same bits.
#[derive(Debug, Default)]
pub struct RoundedTensors {
    names: HashSet<String>,
    kind: Option<Kind>,
}

impl RoundedTensors {
    /// The weights and biases of these layers.
    #[must_use]
    pub fn of_layers(layers: &[LinearLayer], kind: Kind) -> Self {
        let names = |layer: &LinearLayer| [layer.weight(), layer.bias()];
        Self {
            names: layers.iter().flat_map(names).collect(),
            kind: Some(kind),
        }
    }

    /// Whether the tensor of that name is one of them.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// A tensor, rounded if it is one of them.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn round(&self, name: &str, tensor: Tensor) -> Result<Tensor, TchError> {
        match self.kind {
            Some(kind) if self.holds(name) => tensor.f_to_kind(kind),
            _ => Ok(tensor),
        }
    }
}

/// Adapters by the module they attach to.
pub type Deltas = HashMap<String, Rc<dyn Delta>>;

/// A place in the module tree: weights under a prefix, an overlay that wins over them, and the
/// adapters that attach below it.
#[derive(Clone)]
pub struct View<'a> {
    base: &'a Weights,
    overlay: Option<&'a Weights>,
    deltas: Option<&'a Deltas>,
    prefix: String,
}

impl<'a> View<'a> {
    /// The root over frozen weights alone.
    #[must_use]
    pub fn new(base: &'a Weights) -> Self {
        Self {
            base,
            overlay: None,
            deltas: None,
            prefix: String::new(),
        }
    }

    /// The root over frozen weights with trained tensors laid over them and adapters attached.
    #[must_use]
    pub fn adapted(base: &'a Weights, overlay: &'a Weights, deltas: &'a Deltas) -> Self {
        Self {
            base,
            overlay: Some(overlay),
            deltas: Some(deltas),
            prefix: String::new(),
        }
    }

    /// The view one name deeper.
    #[must_use]
    pub fn pp(&self, name: impl std::fmt::Display) -> Self {
        let prefix = match self.prefix.as_str() {
            "" => name.to_string(),
            prefix => format!("{prefix}.{name}"),
        };
        Self {
            prefix,
            ..self.clone()
        }
    }

    /// The tensor of that name here, of that shape.
    ///
    /// # Errors
    /// [`ModelError::Missing`] and [`ModelError::Shape`].
    pub fn get(&self, name: &str, shape: &[i64]) -> Result<Tensor, ModelError> {
        let full = self.pp(name).prefix;
        let tensor = match self.laid_over(&full) {
            Some(tensor) => tensor.shallow_clone(),
            None => self.base.get(&full)?,
        };
        require_shape(full, shape, tensor.size())?;
        Ok(tensor)
    }

    /// The weight of that name and shape here, if it is held in fewer bits and nothing is laid over it.
    ///
    /// # Errors
    /// [`ModelError::Shape`].
    pub fn quantised(&self, name: &str, shape: &[i64]) -> Result<Option<HeldWeight>, ModelError> {
        let full = self.pp(name).prefix;
        let held = self.base.quantised.get(&full);
        let Some(held) = held.filter(|_| self.laid_over(&full).is_none()) else {
            return Ok(None);
        };
        require_shape(full, shape, held.shape().to_vec())?;
        Ok(Some(held.clone()))
    }

    /// The weight of that name here as it is multiplied in bfloat16, if it is packed and nothing is laid
    /// over it.
    #[must_use]
    pub fn packed(&self, name: &str) -> Option<PackedWeight> {
        let full = self.pp(name).prefix;
        let packed = self.base.packed.get(&full);
        packed.filter(|_| self.laid_over(&full).is_none()).cloned()
    }

    /// The tensors of that name of these modules here as one, if they lie one below the other and nothing
    /// is laid over them.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn stacked(&self, modules: &[&str], name: &str) -> Result<Option<Tensor>, ModelError> {
        let full = |module: &&str| self.pp(module).pp(name).prefix;
        let names: Vec<String> = modules.iter().map(full).collect();
        if names.iter().any(|name| self.laid_over(name).is_some()) {
            return Ok(None);
        }
        Ok(self.base.stack_of(&names)?.map(Tensor::shallow_clone))
    }

    fn laid_over(&self, name: &str) -> Option<&'a Tensor> {
        self.overlay.and_then(|weights| weights.tensors.get(name))
    }

    /// The adapter that attaches to this very module.
    #[must_use]
    pub fn delta(&self) -> Option<Rc<dyn Delta>> {
        self.deltas?.get(&self.prefix).cloned()
    }
}

fn require_shape(name: String, expected: &[i64], got: Vec<i64>) -> Result<(), ModelError> {
    if got == expected {
        return Ok(());
    }
    Err(ModelError::Shape {
        name,
        expected: expected.to_vec(),
        got,
    })
}
