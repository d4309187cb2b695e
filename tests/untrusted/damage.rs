//! Damage to a file: cuts, flipped bytes, slices twice there, other numbers, other values.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

/// What a file is made of, as far as damage goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Json,
    /// JSON values, one a line.
    JsonLines,
    Toml,
    /// A JSON header behind its length.
    Safetensors,
    /// Nothing that damage would heed.
    Bytes,
}

/// One thing that goes wrong.
#[derive(Debug, Clone)]
pub enum Damage {
    /// The file ends early.
    Cut(Index),
    /// Other bytes stand in some places.
    Flip(Vec<(Index, u8)>),
    /// A slice is there once more, elsewhere.
    Repeat(Index, Index, Index),
    /// Foreign bytes stand between.
    Insert(Index, Vec<u8>),
    /// Another number stands in a number's place.
    Number(Index, &'static str),
    /// A key is missing.
    Delete(Index),
    /// Another value stands in a value's place.
    Swap(Index, Value),
    /// Something else altogether.
    Noise(Vec<u8>),
}

/// Numbers at the edges of what counts, and beyond.
const NUMBERS: [&str; 9] = [
    "0",
    "-1",
    "1",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "1e400",
    "1e-400",
    "123456789012345678901234567890",
];

/// Values that are seldom meant.
fn values() -> Vec<Value> {
    let nested = (0..200).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    let deep = (0..100).fold(Value::Null, |inner, _| serde_json::json!({ "a": inner }));
    vec![
        Value::Null,
        true.into(),
        "".into(),
        "\u{0}é/\\..".into(),
        "(".repeat(300).into(),
        serde_json::json!([]),
        serde_json::json!({}),
        serde_json::json!([[1, -1], [u64::MAX]]),
        nested,
        deep,
        0.into(),
        (-1).into(),
        u32::MAX.into(),
        i64::MAX.into(),
        u64::MAX.into(),
        0.5.into(),
        1e308.into(),
    ]
}

/// Any damage.
pub fn any_damage() -> impl Strategy<Value = Damage> {
    let place = any::<Index>;
    let bytes = || vec(any::<u8>(), 0..64);
    prop_oneof![
        2 => place().prop_map(Damage::Cut),
        3 => vec((place(), any::<u8>()), 1..6).prop_map(Damage::Flip),
        1 => (place(), place(), place()).prop_map(|(a, b, to)| Damage::Repeat(a, b, to)),
        1 => (place(), bytes()).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        3 => (place(), select(NUMBERS.to_vec())).prop_map(|(at, to)| Damage::Number(at, to)),
        2 => place().prop_map(Damage::Delete),
        5 => (place(), select(values())).prop_map(|(at, to)| Damage::Swap(at, to)),
        1 => bytes().prop_map(Damage::Noise),
    ]
}

/// A place in something of this size, the early ones more often in what is long: headers lie there.
fn at(index: Index, size: usize) -> usize {
    const EARLY: usize = 4096;
    let within = index.index(usize::MAX);
    let size = match within % 4 {
        0 => size,
        _ => size.min(EARLY),
    };
    within / 4 % size.max(1)
}

impl Damage {
    /// The file after it. What earlier damage left nothing of stays as it is.
    pub fn done_to(&self, file: &[u8], form: Form) -> Vec<u8> {
        let mut bytes = file.to_vec();
        if file.is_empty() {
            return bytes;
        }
        match self {
            Self::Cut(index) => bytes.truncate(at(*index, file.len())),
            Self::Flip(flips) => {
                for (index, to) in flips {
                    bytes[at(*index, file.len())] = *to;
                }
            }
            Self::Repeat(a, b, to) => {
                let (a, b) = (at(*a, file.len()), at(*b, file.len()));
                let to = at(*to, file.len());
                bytes.splice(to..to, file[a.min(b)..a.max(b)].iter().copied());
            }
            Self::Insert(index, foreign) => {
                let to = at(*index, file.len());
                bytes.splice(to..to, foreign.iter().copied());
            }
            Self::Number(index, to) => {
                // Where lengths frame a text, they are kept right, else nothing behind is read.
                bytes = rewritten(file, form, *index, |text, index| {
                    other_number(text, index, to)
                });
            }
            Self::Delete(index) => {
                bytes = rewritten(file, form, *index, |text, index| {
                    restructured(text, form, index, None)
                });
            }
            Self::Swap(index, to) => {
                bytes = rewritten(file, form, *index, |text, index| {
                    restructured(text, form, index, Some(to))
                });
            }
            Self::Noise(noise) => bytes.clone_from(noise),
        }
        bytes
    }
}

/// The file with its text, or one line or the header of it, rewritten.
fn rewritten(
    file: &[u8],
    form: Form,
    index: Index,
    write: impl Fn(&[u8], Index) -> Vec<u8>,
) -> Vec<u8> {
    match form {
        Form::Json | Form::Toml | Form::Bytes => write(file, index),
        Form::JsonLines => {
            let mut lines: Vec<_> = file
                .split(|byte| *byte == b'\n')
                .map(<[u8]>::to_vec)
                .collect();
            // The last one is empty, if the file ends as it should.
            let line = index.index(lines.len().saturating_sub(1).max(1));
            lines[line] = write(&lines[line], index);
            lines.join(&b'\n')
        }
        Form::Safetensors => {
            let Some((header, data)) = header(file) else {
                return write(file, index);
            };
            let header = write(header, index);
            let length = (header.len() as u64).to_le_bytes();
            [&length[..], &header, data].concat()
        }
    }
}

/// The header of a safetensors file and what is behind it, if its length is that of one.
fn header(file: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = file.split_first_chunk()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    rest.split_at_checked(length)
}

/// The text with another number in the place of a run of digits.
fn other_number(text: &[u8], index: Index, to: &str) -> Vec<u8> {
    let starts = |at: usize| at == 0 || !text[at - 1].is_ascii_digit();
    let runs: Vec<_> = (0..text.len())
        .filter(|&at| text[at].is_ascii_digit() && starts(at))
        .collect();
    if runs.is_empty() {
        return text.to_vec();
    }
    let from = *index.get(&runs);
    let digits = text[from..].iter().take_while(|byte| byte.is_ascii_digit());
    let behind = from + digits.count();
    [&text[..from], to.as_bytes(), &text[behind..]].concat()
}

/// The text with another value in the place of one of its values, or without one of its keys.
fn restructured(text: &[u8], form: Form, index: Index, to: Option<&Value>) -> Vec<u8> {
    let parsed = match form {
        Form::Bytes => None,
        Form::Toml => str::from_utf8(text)
            .ok()
            .and_then(|text| toml::from_str(text).ok()),
        _ => serde_json::from_slice::<Value>(text).ok(),
    };
    let Some(mut value) = parsed else {
        return text.to_vec();
    };
    let count = count(&value);
    // The whole is not what is meant, most of the time; it is swapped where there is nothing else.
    let mut left = if count > 1 {
        1 + index.index(count - 1)
    } else {
        0
    };
    change(&mut value, &mut left, to);
    match form {
        Form::Toml => toml::to_string(&value).map_or_else(|_| text.to_vec(), String::into_bytes),
        _ => value.to_string().into_bytes(),
    }
}

/// Values in a value, itself among them.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(items) => items.values().map(count).sum(),
        _ => 0,
    }
}

/// Swaps or removes the value that `left` others come before. Gives whether it is to be removed.
fn change(value: &mut Value, left: &mut usize, to: Option<&Value>) -> bool {
    if *left == 0 {
        *left = usize::MAX;
        if let Some(to) = to {
            value.clone_from(to);
        }
        return to.is_none();
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.retain_mut(|item| !change(item, left, to)),
        Value::Object(items) => items.retain(|_, item| !change(item, left, to)),
        _ => (),
    }
    false
}
