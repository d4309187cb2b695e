//! Named tensors on the host: what travels between server and clients, and what files hold.
//!
//! A [`tch::Tensor`] cannot be shared between threads; a [`TensorMap`] can, so that a thousand
//! clients read one snapshot. Values are float32, as everything that is trained or aggregated is.

pub mod index;
pub mod weight_map;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use tch::{Device, Kind, Tensor};

use crate::base::file_error::FileError;
use crate::base::files;
use crate::base::torch::error::TorchError;
use crate::base::torch::shared::share;

/// A float32 tensor in host memory, row-major. Copies share their values until one is changed.
#[derive(Clone)]
pub struct HostTensor {
    shape: Box<[i64]>,
    memory: Arc<Vec<f32>>,
    /// Its own values in the memory, which may hold other tensors' too.
    range: Range<usize>,
}

impl PartialEq for HostTensor {
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && self.values() == other.values()
    }
}

impl fmt::Debug for HostTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tensor = f.debug_struct("HostTensor");
        tensor.field("shape", &self.shape);
        tensor.field("values", &self.values()).finish()
    }
}

/// What can be wrong with tensors on their way between threads and devices.
#[derive(Debug, thiserror::Error)]
pub enum TensorError {
    /// The number of values is not the product of the shape.
    #[error("{values} values do not fill the shape {shape:?}")]
    Shape {
        /// The requested shape.
        shape: Vec<i64>,
        /// The number of values there are.
        values: usize,
    },
    /// libtorch refused an operation.
    #[error(transparent)]
    Torch(#[from] TorchError),
}

impl From<tch::TchError> for TensorError {
    fn from(error: tch::TchError) -> Self {
        Self::Torch(error.into())
    }
}

impl HostTensor {
    /// A tensor of the given shape.
    ///
    /// # Errors
    /// [`TensorError::Shape`] when the values do not fill the shape.
    pub fn new(shape: Vec<i64>, values: Vec<f32>) -> Result<Self, TensorError> {
        if shape.iter().product::<i64>() != values.len() as i64 {
            return Err(TensorError::Shape {
                shape,
                values: values.len(),
            });
        }
        Ok(Self::filled(shape, values))
    }

    /// A tensor whose values fill its shape.
    fn filled(shape: Vec<i64>, values: Vec<f32>) -> Self {
        Self {
            shape: shape.into(),
            range: 0..values.len(),
            memory: Arc::new(values),
        }
    }

    /// A tensor of one value everywhere.
    #[must_use]
    pub fn full(shape: &[i64], value: f32) -> Self {
        let len = usize::try_from(shape.iter().product::<i64>()).unwrap_or(0);
        Self::filled(shape.to_vec(), vec![value; len])
    }

    /// Copies a tensor of any kind and device to the host as float32.
    ///
    /// # Errors
    /// If the device fails.
    pub fn from_tensor(tensor: &Tensor) -> Result<Self, TensorError> {
        let mut values = vec![0.0; tensor.numel()];
        copy_to_host(tensor, &mut values)?;
        Ok(Self::filled(tensor.size(), values))
    }

    /// Copies the tensor to a device.
    ///
    /// # Errors
    /// If the device fails.
    pub fn to_tensor(&self, device: Device) -> Result<Tensor, TensorError> {
        let host = Tensor::f_from_slice(self.values())?.f_reshape(&*self.shape)?;
        Ok(host.f_to_device(device)?)
    }

    /// The tensor on a device, to be read alone: on the processor it has the memory of this one, where
    /// that lies as libtorch's own does, for how memory lies may decide the last bits of a product.
    ///
    /// # Errors
    /// If the device fails.
    pub fn share(&self, device: Device) -> Result<Tensor, TensorError> {
        let aligned = self.values().as_ptr().align_offset(ALIGNMENT) == 0;
        if device != Device::Cpu || !aligned || self.values().is_empty() {
            return self.to_tensor(device);
        }
        Ok(share(&self.memory, self.range.clone(), &self.shape)?)
    }

    /// The shape.
    #[must_use]
    pub fn shape(&self) -> &[i64] {
        &self.shape
    }

    /// The values in row-major order.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.memory[self.range.clone()]
    }

    /// The values, to be changed in place; first copied if others share them.
    pub fn values_mut(&mut self) -> &mut [f32] {
        if self.range != (0..self.memory.len()) {
            let own = self.values().to_vec();
            self.range = 0..own.len();
            self.memory = Arc::new(own);
        }
        let memory: &mut Vec<f32> = Arc::make_mut(&mut self.memory);
        memory
    }

    /// The first value that is NaN or infinite, and its position by dimension.
    #[must_use]
    pub fn not_finite(&self) -> Option<(Vec<i64>, f32)> {
        // Without a branch per value, so that a part is looked at many values at a time.
        let bad = |part: &[f32]| part.iter().fold(false, |bad, x| bad | !x.is_finite());
        let values = self.values();
        let part = values.chunks(NOT_FINITE_AT_ONCE).position(bad)?;
        let start = part * NOT_FINITE_AT_ONCE;
        let inside = values[start..].iter().position(|x| !x.is_finite())?;
        let mut rest = (start + inside) as i64;
        let value = values[start + inside];
        let mut position: Vec<i64> = Vec::with_capacity(self.shape.len());
        for size in self.shape.iter().rev() {
            position.push(rest % size);
            rest /= size;
        }
        position.reverse();
        Some((position, value))
    }

    /// Bytes of its values.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        size_of_val(self.values()) as u64
    }

    /// The values' bytes, the least significant first: where the machine has them so, not a copy.
    fn to_le_bytes(&self) -> Cow<'_, [u8]> {
        if cfg!(target_endian = "little") {
            return Cow::Borrowed(bytemuck::cast_slice(self.values()));
        }
        Cow::Owned(self.values().iter().flat_map(|v| v.to_le_bytes()).collect())
    }
}

/// Where libtorch's memory for tensors on the processor begins: at a multiple of this.
const ALIGNMENT: usize = 64;

/// Copies a tensor of any kind and device into as many values.
fn copy_to_host(tensor: &Tensor, values: &mut [f32]) -> Result<(), TensorError> {
    let host = tensor.f_detach()?.f_to_device(Device::Cpu)?;
    let host = host.f_to_kind(Kind::Float)?.f_contiguous()?;
    Ok(host.f_copy_data(values, values.len())?)
}

/// Values that are looked through at once for one that is not finite.
const NOT_FINITE_AT_ONCE: usize = 4096;

/// Tensors by name, in name order. Serialises as safetensors.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TensorMap(pub BTreeMap<String, HostTensor>);

impl TensorMap {
    /// Copies tensors of any kind and device to the host as float32, side by side in one piece of
    /// memory: pieces of their own would take a tenth more, for an allocator rounds each up.
    ///
    /// # Errors
    /// If the device fails.
    pub fn from_tensors<'a>(
        tensors: impl Iterator<Item = (&'a str, &'a Tensor)> + Clone,
    ) -> Result<Self, TensorError> {
        let all = tensors.clone().map(|(_, tensor)| tensor.numel()).sum();
        let mut memory = vec![0.0; all];
        let mut places = Vec::new();
        let mut end = 0;
        for (name, tensor) in tensors {
            let range = end..end + tensor.numel();
            end = range.end;
            copy_to_host(tensor, &mut memory[range.clone()])?;
            places.push((name, tensor.size(), range));
        }
        let memory = Arc::new(memory);
        let own = |(name, shape, range): (&str, Vec<i64>, _)| {
            let memory = Arc::clone(&memory);
            let shape = shape.into();
            let tensor = HostTensor {
                shape,
                memory,
                range,
            };
            (name.to_owned(), tensor)
        };
        Ok(places.into_iter().map(own).collect())
    }

    /// The tensor of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&HostTensor> {
        self.0.get(name)
    }

    /// Adds or replaces a tensor.
    pub fn insert(&mut self, name: impl Into<String>, tensor: HostTensor) {
        self.0.insert(name.into(), tensor);
    }

    /// All tensors in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &HostTensor)> {
        self.0.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of all values together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.values().map(HostTensor::bytes).sum()
    }

    /// Feeds name, shape and values of every tensor to a hasher, in name order.
    pub fn hash_into(&self, hasher: &mut blake3::Hasher) {
        for (name, tensor) in &self.0 {
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update(&(tensor.shape.len() as u64).to_le_bytes());
            for dim in &*tensor.shape {
                hasher.update(&dim.to_le_bytes());
            }
            hasher.update(&tensor.to_le_bytes());
        }
    }

    /// Reads a safetensors file; float16, bfloat16 and float64 become float32.
    ///
    /// # Errors
    /// [`FileError`], naming the file.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let mut tensors = Self::default();
        read_each(path, |name, tensor| tensors.insert(name, tensor))?;
        Ok(tensors)
    }

    /// Writes a safetensors file, atomically, with the metadata that PEFT and transformers expect.
    ///
    /// # Errors
    /// [`FileError`], naming the file.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        let bytes = self.encode();
        let bytes = bytes.map_err(|reason| FileError::content(path, reason))?;
        files::write_atomically(path, &bytes)
    }

    /// The bytes of a safetensors file.
    ///
    /// # Errors
    /// Never for tensors that fit in memory; what the format refused, if it did.
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        let bytes: Vec<_> = self.0.values().map(HostTensor::to_le_bytes).collect();
        let mut views = Vec::with_capacity(bytes.len());
        for ((name, tensor), bytes) in self.0.iter().zip(&bytes) {
            let shape = tensor.shape.iter().map(|&d| d as usize).collect();
            let view = TensorView::new(Dtype::F32, shape, bytes).map_err(|e| e.to_string())?;
            views.push((name.as_str(), view));
        }
        let metadata = [("format".to_owned(), "pt".to_owned())].into();
        safetensors::serialize(views, Some(metadata)).map_err(|e| e.to_string())
    }

    /// Reads the bytes of a safetensors file; tensors of integers are left out.
    ///
    /// # Errors
    /// The problem with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut tensors = Self::default();
        decode_each(bytes, |name, tensor| tensors.insert(name, tensor))?;
        Ok(tensors)
    }
}

/// Reads a safetensors file tensor by tensor, so that not all need be in memory in float32; otherwise
/// as [`TensorMap::read`].
///
/// # Errors
/// [`FileError`], naming the file.
pub fn read_each(path: &Path, take: impl FnMut(&str, HostTensor)) -> Result<(), FileError> {
    decode_each(&map(path)?, take).map_err(|reason| FileError::content(path, reason))
}

fn decode_each(bytes: &[u8], mut take: impl FnMut(&str, HostTensor)) -> Result<(), String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| no_tensors(bytes, &e))?;
    for (name, view) in file.iter() {
        // Integer buffers (such as position ids) are made by the model, never loaded.
        let Some(values) = floats(&view) else {
            continue;
        };
        let shape = view.shape().iter().map(|&d| d as i64).collect();
        take(name, HostTensor::filled(shape, values));
    }
    Ok(())
}

/// A file's bytes, without a copy.
fn map(path: &Path) -> Result<Mmap, FileError> {
    let file = files::open(path)?;
    // SAFETY: the map is only read, and by functions of this module that copy from it before they
    // return. A file that another process shortens meanwhile ends this one with SIGBUS, as with
    // any mapped file.
    unsafe { Mmap::map(&file) }.map_err(FileError::read(path))
}

/// Why bytes are not a safetensors file, and the remedy.
fn no_tensors(bytes: &[u8], error: &SafeTensorError) -> String {
    if bytes.starts_with(b"version https://git-lfs") {
        return "it is a pointer of Git LFS; `git lfs pull` fetches the file".to_owned();
    }
    match error {
        SafeTensorError::MetadataIncompleteBuffer => {
            "it is truncated, or longer than its header says; fetch it again".to_owned()
        }
        other => format!("not a sound safetensors file: {other}"),
    }
}

/// A view's values as float32; `None` when they are not floats.
fn floats(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let data = view.data();
    let two = |f: fn([u8; 2]) -> f32| {
        data.as_chunks::<2>()
            .0
            .iter()
            .map(|&c| f(c))
            .collect::<Vec<_>>()
    };
    Some(match view.dtype() {
        Dtype::F32 => data
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&c| f32::from_le_bytes(c))
            .collect(),
        Dtype::F64 => data
            .as_chunks::<8>()
            .0
            .iter()
            .map(|&c| f64::from_le_bytes(c) as f32)
            .collect(),
        Dtype::F16 => two(|c| half::f16::from_le_bytes(c).to_f32()),
        Dtype::BF16 => two(|c| half::bf16::from_le_bytes(c).to_f32()),
        _ => return None,
    })
}

/// How to make a safetensors file of a Python pickle next to it, which Regatta does not read: what
/// a pickle holds is a program.
#[must_use]
pub fn conversion(pickle: &str, safetensors: &str) -> String {
    // Tensors that share memory are saved each on its own.
    format!(
        "convert it, in its folder, by: python3 -c \"import torch, safetensors.torch as s; \
         s.save_file({{k: v.clone().contiguous() for k, v in torch.load('{pickle}', \
         map_location='cpu', weights_only=True).items()}}, '{safetensors}', {{'format': 'pt'}})\""
    )
}

impl FromIterator<(String, HostTensor)> for TensorMap {
    fn from_iter<I: IntoIterator<Item = (String, HostTensor)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl Serialize for TensorMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.encode().map_err(ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for TensorMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;
        impl<'de> de::Visitor<'de> for BytesVisitor {
            type Value = TensorMap;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the bytes of a safetensors file")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<TensorMap, E> {
                TensorMap::decode(bytes).map_err(E::custom)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<TensorMap, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                self.visit_bytes(&bytes)
            }
        }
        deserializer.deserialize_byte_buf(BytesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_in_one_piece_of_memory_are_what_they_are_alone_and_change_alone() {
        let kind = (Kind::Float, Device::Cpu);
        let a = Tensor::arange(6, kind).view([2, 3]);
        let b = Tensor::arange(4, kind).view([2, 2]).transpose(0, 1) + 10.0;
        let tensors = [("b", &b), ("a", &a), ("none", &Tensor::zeros([0], kind))];
        let mut map = TensorMap::from_tensors(tensors.into_iter()).unwrap();
        for (name, tensor) in tensors {
            let alone = HostTensor::from_tensor(tensor).unwrap();
            assert_eq!(map.get(name), Some(&alone), "{name}");
        }
        assert_eq!(map.bytes(), 40);
        let before = map.clone();
        map.0.get_mut("a").unwrap().values_mut()[5] = -1.0;
        assert_eq!(
            map.get("a").unwrap().values(),
            [0.0, 1.0, 2.0, 3.0, 4.0, -1.0]
        );
        assert_eq!(map.get("b"), before.get("b"));
        assert_eq!(before.get("a").unwrap().values()[5], 5.0);
    }

    #[test]
    fn the_first_value_that_is_not_finite_is_found_in_shared_memory_too() {
        let kind = (Kind::Float, Device::Cpu);
        let (sound, broken) = (Tensor::ones([7], kind), Tensor::ones([2, 3], kind));
        let _ = broken.get(1).get(2).fill_(f64::NAN);
        let tensors = [("a", &sound), ("b", &broken)];
        let map = TensorMap::from_tensors(tensors.into_iter()).unwrap();
        assert!(map.get("a").unwrap().not_finite().is_none());
        let (position, _) = map.get("b").unwrap().not_finite().unwrap();
        assert_eq!(position, [1, 2]);
    }
}
