//! What stands in a GGUF file before the weights: version, metadata, and where each tensor lies.

use std::collections::HashSet;
use std::io::Read;

use crate::model::source::gguf::error::GgufError;
use crate::model::source::gguf::metadata::GgufMetadata;
use crate::model::source::gguf::reader::HeaderReader;
use crate::model::source::gguf::tensor_type::TensorType;

/// The key of the number that every tensor's position is a multiple of, and its default.
const ALIGNMENT: (&str, u64) = ("general.alignment", 32);
/// The most dimensions that ggml has.
const MOST_DIMENSIONS: u32 = 4;

/// A tensor, and where it lies in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GgufTensor {
    /// Its name in the file.
    pub name: String,
    /// Rows first, as everywhere but in the file, which has the innermost dimension first.
    pub shape: Vec<i64>,
    /// The type of its weights.
    pub kind: TensorType,
    /// Its first byte, from the start of the file.
    pub start: u64,
    /// Bytes of its weights.
    pub bytes: u64,
}

/// Everything but the weights.
#[derive(Debug, Clone, PartialEq)]
pub struct GgufHeader {
    /// Keys and values.
    pub metadata: GgufMetadata,
    /// The tensors, in the file's order. All of them lie within the file.
    pub tensors: Vec<GgufTensor>,
}

impl GgufHeader {
    /// Reads a file from its start to its weights.
    ///
    /// # Errors
    /// If it is not a GGUF file of version 2 or 3 in little-endian order, is cut short or
    /// damaged, or holds weights of a type that is not supported.
    pub(crate) fn read<R: Read>(reader: &mut HeaderReader<R>) -> Result<Self, GgufError> {
        check_magic(reader)?;
        check_version(reader)?;
        let tensor_count = reader.u64("the number of tensors")?;
        let key_count = reader.u64("the number of keys")?;
        let metadata = GgufMetadata::read(reader, key_count)?;
        refuse_parts(&metadata)?;
        let alignment = alignment(&metadata)?;
        let mut tensors = Vec::new();
        let mut names = HashSet::new();
        for _ in 0..tensor_count {
            let at = reader.position();
            let tensor = read_tensor(reader, alignment)?;
            if !names.insert(tensor.name.clone()) {
                return Err(reader.wrong(at, format!("tensor `{}` appears twice", tensor.name)));
            }
            tensors.push(tensor);
        }
        let weights = reader.position().next_multiple_of(alignment);
        for tensor in &mut tensors {
            place(tensor, weights, reader)?;
        }
        Ok(Self { metadata, tensors })
    }
}

fn check_magic<R: Read>(reader: &mut HeaderReader<R>) -> Result<(), GgufError> {
    let magic: [u8; 4] = reader.bytes("the four letters GGUF")?;
    match &magic {
        b"GGUF" => Ok(()),
        b"vers" => Err(reader.wrong(
            0,
            "it is a pointer of Git LFS, not a GGUF file; `git lfs pull` fetches the file",
        )),
        other => Err(reader.wrong(
            0,
            format!(
                "it is not a GGUF file: it begins with \"{}\", expected \"GGUF\"",
                other.escape_ascii()
            ),
        )),
    }
}

fn check_version<R: Read>(reader: &mut HeaderReader<R>) -> Result<(), GgufError> {
    let at = reader.position();
    let version = reader.u32("the version")?;
    match version {
        2 | 3 => Ok(()),
        _ if (1..=0xffff).contains(&version.swap_bytes()) => Err(reader.wrong(
            at,
            "the file is big-endian, which is not supported; take a little-endian one, or \
             convert it with `gguf-convert-endian FILE little` of the Python package gguf",
        )),
        other => Err(reader.wrong(
            at,
            format!("version {other} of the format is not supported; supported are 2 and 3"),
        )),
    }
}

/// Refuses a file that is a part of a model.
fn refuse_parts(metadata: &GgufMetadata) -> Result<(), GgufError> {
    let key = "split.count";
    match metadata.count(key)? {
        Some(count) if count > 1 => Err(metadata.wrong(
            key,
            format!(
                "the model is in {count} files, which is not supported; \
                 `llama-gguf-split --merge` makes one of them"
            ),
        )),
        _ => Ok(()),
    }
}

fn alignment(metadata: &GgufMetadata) -> Result<u64, GgufError> {
    let (key, default) = ALIGNMENT;
    let alignment = metadata.count(key)?.unwrap_or(default);
    if alignment.is_power_of_two() && alignment <= 1 << 20 {
        return Ok(alignment);
    }
    let reason = format!(
        "it is {alignment}, expected a power of two up to {}",
        1 << 20
    );
    Err(metadata.wrong(key, reason))
}

/// Reads a tensor's description; its `start` still counts from the first byte of all weights.
fn read_tensor<R: Read>(
    reader: &mut HeaderReader<R>,
    alignment: u64,
) -> Result<GgufTensor, GgufError> {
    let name = reader.string("a tensor's name")?;
    let what = format!("the description of tensor `{name}`");
    let dimensions = reader.u32(&what)?;
    // A number that is not allowed is refused below, without reading that many sizes.
    let mut sizes = Vec::new();
    for _ in 0..dimensions.min(MOST_DIMENSIONS) {
        sizes.push(reader.u64(&what)?);
    }
    let result = if (1..=MOST_DIMENSIONS).contains(&dimensions) {
        let kind = TensorType::of_number(reader.u32(&what)?);
        let start = reader.u64(&what)?;
        kind.and_then(|kind| describe(&name, &sizes, kind, start, alignment))
    } else {
        Err(format!(
            "it has {dimensions} dimensions, expected 1 to {MOST_DIMENSIONS}"
        ))
    };
    result.map_err(|reason| GgufError::tensor(reader.path(), &name, reason))
}

/// A tensor from the numbers that the file has of it, innermost dimension first.
fn describe(
    name: &str,
    sizes: &[u64],
    kind: TensorType,
    start: u64,
    alignment: u64,
) -> Result<GgufTensor, String> {
    let values = sizes
        .iter()
        .try_fold(1u64, |all, size| all.checked_mul(*size));
    let values = values.filter(|values| *values > 0 && i64::try_from(*values).is_ok());
    let values =
        values.ok_or_else(|| format!("it has the sizes {sizes:?}, which are impossible"))?;
    let (block, row) = (kind.block_values(), sizes.first().copied().unwrap_or(1));
    if !row.is_multiple_of(block) {
        return Err(format!(
            "its rows have {row} values, expected a multiple of {block}, the values in a block of \
             {}",
            kind.name()
        ));
    }
    if !start.is_multiple_of(alignment) {
        return Err(format!(
            "its weights begin at {start}, expected a multiple of the alignment {alignment}"
        ));
    }
    let bytes = (values / block).checked_mul(kind.block_bytes());
    Ok(GgufTensor {
        name: name.to_owned(),
        shape: sizes.iter().rev().map(|&size| size as i64).collect(),
        kind,
        start,
        bytes: bytes.ok_or_else(|| format!("it has {values} values, which no file holds"))?,
    })
}

/// Makes a tensor's `start` count from the start of the file, and checks that the file holds all
/// of the tensor.
fn place<R: Read>(
    tensor: &mut GgufTensor,
    weights: u64,
    reader: &HeaderReader<R>,
) -> Result<(), GgufError> {
    let start = weights.checked_add(tensor.start);
    let end = start.and_then(|start| start.checked_add(tensor.bytes));
    match (start, end) {
        (Some(start), Some(end)) if end <= reader.file_size() => {
            tensor.start = start;
            Ok(())
        }
        _ => {
            let reason = format!(
                "its {} bytes from byte {} on do not fit: the file ends at byte {}; it was cut \
                 short or is damaged, so fetch it again",
                tensor.bytes,
                weights.saturating_add(tensor.start),
                reader.file_size()
            );
            Err(GgufError::tensor(reader.path(), &tensor.name, reason))
        }
    }
}

#[cfg(test)]
mod tests;
