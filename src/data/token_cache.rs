//! Token ids on disk, named by what they were made from and checked before use.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensorError, TensorView};
use safetensors::{SafeTensors, serialize};

use crate::base::file_error::FileError;
use crate::base::files;
use crate::data::tokenizer::pairs::Encoded;

/// The tokens of many texts, laid end to end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub ids: Vec<u32>,
    pub type_ids: Vec<u8>,
    /// The end of each text's tokens.
    pub ends: Vec<u64>,
    /// Texts that were cut.
    pub truncated: u64,
}

impl Tokens {
    /// Appends a text's tokens, with their types if there are any.
    pub fn push(&mut self, text: &Encoded, types: bool) {
        self.ids.extend_from_slice(&text.ids);
        self.type_ids.extend(text.type_ids.iter().map(|type_id| {
            let type_id = if types { *type_id } else { 0 };
            // No model has as many types as a byte counts; what is larger stays larger than all.
            u8::try_from(type_id).unwrap_or(u8::MAX)
        }));
        self.ends.push(self.ids.len() as u64);
        self.truncated += u64::from(text.cut);
    }

    /// The number of texts.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The range of a text's tokens.
    pub fn range(&self, position: usize) -> Range<usize> {
        let start = position
            .checked_sub(1)
            .map_or(0, |before| self.ends[before]);
        start as usize..self.ends[position] as usize
    }

    fn is_consistent(&self) -> bool {
        self.ends.is_sorted()
            && self.ends.last().copied().unwrap_or(0) == self.ids.len() as u64
            && self.ids.len() == self.type_ids.len()
    }
}

/// A folder of encoded splits, one safetensors file each.
#[derive(Debug, Clone)]
pub struct TokenCache {
    dir: PathBuf,
}

/// The metadata entry with the digest of key and content.
const DIGEST: &str = "blake3";

impl TokenCache {
    /// A cache in a folder, which is made when there is something to put there.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// The file of a key.
    #[must_use]
    pub fn path(&self, key: &blake3::Hash) -> PathBuf {
        self.dir
            .join(format!("tokens-{}.safetensors", key.to_hex()))
    }

    /// The tokens under a key; `None` also when the file is damaged or is another's.
    pub(crate) fn get(&self, key: &blake3::Hash) -> Option<Tokens> {
        let path = self.path(key);
        let bytes = std::fs::read(&path).ok()?;
        let tokens = parse(&bytes, key);
        if tokens.is_none() {
            tracing::warn!(file = %path.display(), "the token cache is corrupt; rebuilding it");
        }
        tokens
    }

    /// Stores tokens under a key.
    pub(crate) fn put(&self, key: &blake3::Hash, tokens: &Tokens) -> Result<(), FileError> {
        let path = self.path(key);
        let bytes = to_bytes(tokens, key);
        let bytes = bytes.map_err(|error| FileError::content(&path, error.to_string()))?;
        files::make_folder(&self.dir)?;
        files::write_atomically(&path, &bytes)
    }
}

fn to_bytes(tokens: &Tokens, key: &blake3::Hash) -> Result<Vec<u8>, SafeTensorError> {
    let ids: Vec<u8> = tokens.ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    let ends: Vec<u8> = tokens
        .ends
        .iter()
        .flat_map(|end| end.to_le_bytes())
        .collect();
    let truncated = tokens.truncated.to_le_bytes();
    let parts: [&[u8]; 4] = [&ids, &tokens.type_ids, &ends, &truncated];
    let metadata = HashMap::from([(DIGEST.to_owned(), digest(key, parts))]);
    let views = [
        (
            "ids",
            TensorView::new(Dtype::U32, vec![tokens.ids.len()], parts[0])?,
        ),
        (
            "type_ids",
            TensorView::new(Dtype::U8, vec![tokens.type_ids.len()], parts[1])?,
        ),
        (
            "ends",
            TensorView::new(Dtype::U64, vec![tokens.ends.len()], parts[2])?,
        ),
        ("truncated", TensorView::new(Dtype::U64, vec![1], parts[3])?),
    ];
    serialize(views, Some(metadata))
}

fn parse(bytes: &[u8], key: &blake3::Hash) -> Option<Tokens> {
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    let promised = header.metadata().as_ref()?.get(DIGEST)?.clone();
    let file = SafeTensors::deserialize(bytes).ok()?;
    let part = |name| Some(file.tensor(name).ok()?.data());
    let parts = [
        part("ids")?,
        part("type_ids")?,
        part("ends")?,
        part("truncated")?,
    ];
    if digest(key, parts) != promised {
        return None;
    }
    let [ids, type_ids, ends, truncated] = parts;
    let words = |bytes: &[u8]| {
        bytes
            .as_chunks()
            .0
            .iter()
            .map(|it| u64::from_le_bytes(*it))
            .collect()
    };
    let truncated: Vec<u64> = words(truncated);
    let tokens = Tokens {
        ids: ids
            .as_chunks()
            .0
            .iter()
            .map(|it| u32::from_le_bytes(*it))
            .collect(),
        type_ids: type_ids.to_vec(),
        ends: words(ends),
        truncated: *truncated.first()?,
    };
    tokens.is_consistent().then_some(tokens)
}

/// Over the key too, so that a file under another's name is not believed.
fn digest(key: &blake3::Hash, parts: [&[u8]; 4]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key.as_bytes());
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens {
            ids: vec![0, 7, 2, 0, 2],
            type_ids: vec![0, 0, 0, 0, 1],
            ends: vec![3, 5],
            truncated: 1,
        }
    }

    #[test]
    fn tokens_come_back_under_their_key_only() {
        let dir = tempfile::tempdir().unwrap();
        let cache = TokenCache::new(dir.path());
        let (key, other) = (blake3::hash(b"a"), blake3::hash(b"b"));
        cache.put(&key, &tokens()).unwrap();
        assert_eq!(cache.get(&key), Some(tokens()));
        std::fs::copy(cache.path(&key), cache.path(&other)).unwrap();
        assert_eq!(cache.get(&other), None);
    }

    #[test]
    fn a_file_with_any_byte_changed_or_cut_is_not_believed() {
        let key = blake3::hash(b"a");
        let good = to_bytes(&tokens(), &key).unwrap();
        assert_eq!(parse(&good, &key), Some(tokens()));
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 1;
            // A change in padding or in the header's spelling may be harmless, but never believed
            // to be other tokens.
            assert!(
                parse(&bad, &key).is_none_or(|it| it == tokens()),
                "byte {position}"
            );
            assert_eq!(parse(&good[..position], &key), None, "cut at {position}");
        }
    }
}
