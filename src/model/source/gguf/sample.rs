//! Small GGUF files for tests.

use std::path::{Path, PathBuf};

use crate::model::source::gguf::metadata::{GgufMetadata, MetadataValue};
use crate::model::source::gguf::reader::HeaderReader;

/// What a file is made of.
#[derive(Debug, Clone)]
pub(crate) struct GgufSample {
    pub version: u32,
    pub keys: Vec<(String, MetadataValue)>,
    /// Name, sizes with the innermost first, number of the type, bytes.
    pub tensors: Vec<(String, Vec<u64>, u32, Vec<u8>)>,
    pub alignment: u64,
}

impl GgufSample {
    pub fn new() -> Self {
        Self {
            version: 3,
            keys: Vec::new(),
            tensors: Vec::new(),
            alignment: 32,
        }
    }

    /// A Llama of one layer and three tokens: two heads of four values, one of keys. Weights are
    /// their own numbers within their tensors.
    pub fn llama() -> Self {
        let mut sample = Self::new();
        sample.key("general.architecture", MetadataValue::Text("llama".into()));
        for (name, value) in [
            ("block_count", 1),
            ("context_length", 16),
            ("embedding_length", 8),
            ("feed_forward_length", 12),
            ("attention.head_count", 2),
            ("attention.head_count_kv", 1),
        ] {
            sample.key(&format!("llama.{name}"), MetadataValue::Unsigned(value));
        }
        let epsilon = "llama.attention.layer_norm_rms_epsilon";
        sample.key(epsilon, MetadataValue::F32(1e-5));
        for (name, sizes) in [
            ("token_embd", &[8, 3][..]),
            ("output_norm", &[8]),
            ("blk.0.attn_norm", &[8]),
            ("blk.0.attn_q", &[8, 8]),
            ("blk.0.attn_k", &[8, 4]),
            ("blk.0.attn_v", &[8, 4]),
            ("blk.0.attn_output", &[8, 8]),
            ("blk.0.ffn_norm", &[8]),
            ("blk.0.ffn_gate", &[8, 12]),
            ("blk.0.ffn_up", &[8, 12]),
            ("blk.0.ffn_down", &[12, 8]),
        ] {
            sample.floats(&format!("{name}.weight"), sizes);
        }
        sample
    }

    /// Adds a key, or gives it another value.
    pub fn key(&mut self, name: &str, value: MetadataValue) {
        self.keys.retain(|(other, _)| other != name);
        self.keys.push((name.to_owned(), value));
    }

    /// Takes a key away.
    pub fn without(mut self, name: &str) -> Self {
        self.keys.retain(|(other, _)| other != name);
        self
    }

    /// Adds a tensor of float32 whose values are 0, 1, 2 and so on.
    pub fn floats(&mut self, name: &str, sizes: &[u64]) {
        let values = 0..sizes.iter().product();
        let bytes = values
            .flat_map(|value| (value as f32).to_le_bytes())
            .collect();
        self.tensors
            .push((name.to_owned(), sizes.to_vec(), 0, bytes));
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.keys.len() as u64).to_le_bytes());
        bytes.extend(keys(&self.keys));
        let mut weights = Vec::new();
        for (name, sizes, kind, values) in &self.tensors {
            text(&mut bytes, name);
            bytes.extend((sizes.len() as u32).to_le_bytes());
            bytes.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
            bytes.extend(kind.to_le_bytes());
            bytes.extend((weights.len() as u64).to_le_bytes());
            weights.extend(values);
            weights.resize(weights.len().next_multiple_of(self.alignment as usize), 0);
        }
        bytes.resize(bytes.len().next_multiple_of(self.alignment as usize), 0);
        [bytes, weights].concat()
    }

    /// Writes the file into a folder.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("a.gguf");
        std::fs::write(&path, self.bytes()).unwrap();
        path
    }
}

/// Metadata of these keys.
pub(crate) fn metadata(keys_and_values: &[(&str, MetadataValue)]) -> GgufMetadata {
    let owned: Vec<_> = keys_and_values
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect();
    let bytes = keys(&owned);
    let mut reader = HeaderReader::new(&bytes[..], Path::new("a.gguf"), bytes.len() as u64);
    GgufMetadata::read(&mut reader, owned.len() as u64).unwrap()
}

fn keys(keys: &[(String, MetadataValue)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in keys {
        text(&mut bytes, name);
        bytes.extend(kind(value).to_le_bytes());
        put(&mut bytes, value);
    }
    bytes
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn kind(value: &MetadataValue) -> u32 {
    match value {
        MetadataValue::Unsigned(_) => 10,
        MetadataValue::Signed(_) => 11,
        MetadataValue::F32(_) => 6,
        MetadataValue::F64(_) => 12,
        MetadataValue::Bool(_) => 7,
        MetadataValue::Text(_) => 8,
        MetadataValue::Array(_) => 9,
    }
}

fn put(bytes: &mut Vec<u8>, value: &MetadataValue) {
    match value {
        MetadataValue::Unsigned(value) => bytes.extend(value.to_le_bytes()),
        MetadataValue::Signed(value) => bytes.extend(value.to_le_bytes()),
        MetadataValue::F32(value) => bytes.extend(value.to_le_bytes()),
        MetadataValue::F64(value) => bytes.extend(value.to_le_bytes()),
        MetadataValue::Bool(value) => bytes.push((*value).into()),
        MetadataValue::Text(value) => text(bytes, value),
        MetadataValue::Array(values) => {
            bytes.extend(values.first().map_or(10, kind).to_le_bytes());
            bytes.extend((values.len() as u64).to_le_bytes());
            values.iter().for_each(|value| put(bytes, value));
        }
    }
}
