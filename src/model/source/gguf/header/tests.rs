use std::path::Path;

use super::*;
use crate::model::source::gguf::metadata::MetadataValue::{Array, Bool, F32, Text, Unsigned};
use crate::model::source::gguf::sample::GgufSample;

fn read(bytes: &[u8]) -> Result<GgufHeader, GgufError> {
    let mut reader = HeaderReader::new(bytes, Path::new("a.gguf"), bytes.len() as u64);
    GgufHeader::read(&mut reader)
}

#[track_caller]
fn refused(bytes: &[u8], expected: &str) {
    let error = read(bytes).unwrap_err().to_string();
    assert!(error.starts_with("a.gguf: "), "{error}");
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_tensor_has_its_rows_first_and_its_place_from_the_start_of_the_file() {
    let mut sample = GgufSample::new();
    sample.alignment = 64;
    sample.key("general.alignment", Unsigned(64));
    sample.floats("one", &[2]);
    sample.floats("two", &[3, 2]);
    for version in [2, 3] {
        sample.version = version;
        let bytes = sample.bytes();
        let [one, two] = &read(&bytes).unwrap().tensors[..] else {
            panic!("there are two tensors");
        };
        assert_eq!((&one.shape[..], &two.shape[..]), (&[2][..], &[2, 3][..]));
        assert_eq!(two.start, one.start + 64);
        assert_eq!(bytes[two.start as usize..][4..8], 1f32.to_le_bytes());
    }
}

#[test]
fn other_files_are_refused_by_what_they_are() {
    refused(
        b"GGU",
        "at byte 0: the four letters GGUF of 4 bytes does not fit",
    );
    refused(b"ggjt", "begins with \"ggjt\", expected \"GGUF\"");
    refused(b"version https://git-lfs.github.com", "git lfs pull");
    let mut sample = GgufSample::new();
    for (version, expected) in [
        (1, "version 1 of the format is not supported"),
        (4, "supported are 2 and 3"),
        (3u32.swap_bytes(), "big-endian"),
    ] {
        sample.version = version;
        refused(&sample.bytes(), expected);
    }
    let mut part = GgufSample::new();
    part.key("split.count", Unsigned(3));
    refused(&part.bytes(), "key `split.count`: the model is in 3 files");
}

#[test]
fn a_file_that_is_cut_short_anywhere_is_refused() {
    let mut sample = GgufSample::llama();
    sample.key("a.texts", Array(vec![Text("a".into()), Text("b".into())]));
    let bytes = sample.bytes();
    read(&bytes).unwrap();
    // The last tensor fills its blocks of alignment.
    for length in 0..bytes.len() {
        refused(&bytes[..length], "the file ends at byte");
    }
}

#[test]
fn no_byte_of_a_damaged_file_causes_a_panic() {
    let mut sample = GgufSample::llama();
    sample.key("a.texts", Array(vec![Text("a".into()), Bool(true)]));
    let bytes = sample.bytes();
    let head = read(&GgufSample::llama().bytes()).unwrap().tensors[0].start as usize;
    for at in 0..head {
        for value in [0, 1, 9, 0x7f, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            if let Err(error) = read(&damaged) {
                assert!(error.to_string().contains("a.gguf"), "{error}");
            }
        }
    }
}

#[test]
fn counts_that_are_larger_than_the_file_are_refused() {
    for at in [8, 16] {
        let mut bytes = GgufSample::llama().bytes();
        bytes[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        read(&bytes).unwrap_err();
    }
    let mut sample = GgufSample::new();
    sample.key("a", Array(Vec::new()));
    let mut bytes = sample.bytes();
    let length = 24 + 8 + 1 + 4 + 4;
    bytes[length..length + 8].copy_from_slice(&u64::MAX.to_le_bytes());
    refused(
        &bytes,
        "the value of key `a` has 18446744073709551615 elements",
    );
    let deep = (0..6).fold(Unsigned(0), |inner, _| Array(vec![inner]));
    sample.key("a", deep);
    refused(&sample.bytes(), "more than 4 nested arrays");
}

#[test]
fn impossible_tensors_are_refused_by_name() {
    let with = |sizes: &[u64], kind: u32| {
        let mut sample = GgufSample::new();
        let tensor = ("w".to_owned(), sizes.to_vec(), kind, vec![0; 64]);
        sample.tensors.push(tensor);
        sample
    };
    for (sizes, kind, expected) in [
        (&[0, 4][..], 0, "the sizes [0, 4], which are impossible"),
        (&[u64::MAX, 2], 0, "which are impossible"),
        (&[1 << 62, 2], 0, "which are impossible"),
        (&[1 << 62], 0, "which no file holds"),
        (&[1, 1, 1, 1, 1], 0, "it has 5 dimensions, expected 1 to 4"),
        (
            &[33],
            8,
            "its rows have 33 values, expected a multiple of 32",
        ),
        (
            &[256],
            16,
            "type IQ2_XXS are not supported; supported are F32",
        ),
        (&[17], 0, "its 68 bytes from byte"),
    ] {
        let bytes = with(sizes, kind).bytes();
        refused(&bytes, "tensor `w`: ");
        refused(&bytes, expected);
    }
    let mut twice = with(&[4], 0);
    twice.floats("w", &[4]);
    refused(&twice.bytes(), "tensor `w` appears twice");
    let mut askew = with(&[4], 0);
    askew.key("general.alignment", Unsigned(128));
    askew.floats("v", &[4]);
    refused(
        &askew.bytes(),
        "tensor `v`: its weights begin at 64, expected a multiple",
    );
}

#[test]
fn impossible_keys_are_refused_by_name() {
    let mut sample = GgufSample::new();
    sample.key("general.alignment", Unsigned(48));
    refused(
        &sample.bytes(),
        "key `general.alignment`: it is 48, expected a power of two",
    );
    sample.key("general.alignment", F32(32.0));
    refused(&sample.bytes(), "it is 32.0, expected an integer");
    let mut sample = GgufSample::new();
    sample.keys = vec![("a".into(), Bool(true)), ("a".into(), Bool(true))];
    refused(&sample.bytes(), "key `a` appears twice");
    let mut bytes = sample.bytes();
    bytes[24 + 8 + 1 + 4] = 2;
    refused(
        &bytes,
        "the value of key `a` is 2, expected 0 (false) or 1 (true)",
    );
    bytes[24 + 8 + 1] = 13;
    refused(&bytes, "the value of key `a` has the unknown type 13");
}
