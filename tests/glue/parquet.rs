//! Parquet as its writers have it: codecs, encodings and types. The files are made by
//! `fixtures/glue/parquet-writers/make.py`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use regatta::data::error::DataError;
use regatta::tasks::glue::source::{load, load_with};
use regatta::tasks::glue::task::GlueTask;
use regatta::tasks::{ReadOptions, TaskData};

use crate::support::{copy_of, fixture};

/// RTE with one of its splits' files replaced.
fn rte_with(split: &str, file: &Path) -> Result<TaskData, DataError> {
    let dir = copy_of("parquet/rte", "rte");
    let name = format!("rte/{split}-00000-of-00001.parquet");
    fs::copy(file, dir.path().join(name)).unwrap();
    load(GlueTask::Rte, dir.path())
}

fn made_by_writers(name: &str) -> std::path::PathBuf {
    fixture("parquet-writers").join(format!("{name}.parquet"))
}

/// The rows that all readable files hold.
#[track_caller]
fn assert_rows(file: &Path) {
    let name = file.display();
    let data = rte_with("train", file).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(data.train.len(), 8, "{name}");
    for (row, example) in data.train.iter().enumerate() {
        assert_eq!(example.text_a, format!("été {row}"), "{name}");
        assert_eq!(example.text_b, Some("the same"), "{name}");
        assert_eq!(example.label, Some((row % 2) as f32), "{name}");
    }
}

#[test]
fn every_codec_is_read_in_pages_of_both_versions() {
    for codec in ["none", "snappy", "gzip", "brotli", "zstd", "lz4"] {
        for version in [1, 2] {
            assert_rows(&made_by_writers(&format!("{codec}-v{version}")));
        }
    }
    for name in ["polars-zstd", "polars-lz4"] {
        assert_rows(&made_by_writers(name));
    }
}

/// The older framing of LZ4, which no current writer of Python's offers.
#[test]
fn the_older_lz4_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lz4.parquet");
    write_rows(&path, Compression::LZ4);
    assert_rows(&path);
}

fn write_rows(path: &Path, codec: Compression) {
    let schema = "message schema {
        required binary sentence1 (UTF8);
        required binary sentence2 (UTF8);
        required int64 label;
    }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder().set_compression(codec).build();
    let file = fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let first = (0..8).map(|row| ByteArray::from(format!("été {row}").as_str()));
    let second = vec![ByteArray::from("the same"); 8];
    for texts in [first.collect(), second] {
        let mut column = group.next_column().unwrap().unwrap();
        let typed = column.typed::<ByteArrayType>();
        typed.write_batch(&texts, None, None).unwrap();
        column.close().unwrap();
    }
    let mut column = group.next_column().unwrap().unwrap();
    let labels: Vec<i64> = (0..8).map(|row| row % 2).collect();
    let typed = column.typed::<Int64Type>();
    typed.write_batch(&labels, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn row_groups_pages_and_encodings_are_read() {
    for name in [
        "row-groups",
        "pages",
        "required",
        "plain",
        "delta-byte-array",
        "delta-length-byte-array",
        "byte-stream-split",
    ] {
        assert_rows(&made_by_writers(name));
    }
}

#[test]
fn strings_are_read_whatever_arrow_calls_them() {
    for name in [
        "large-string",
        "string-view",
        "binary",
        "large-binary",
        "fixed-binary",
        "dictionary-int8",
        "dictionary-uint32",
    ] {
        assert_rows(&made_by_writers(name));
    }
}

#[test]
fn labels_are_read_from_every_type_of_number() {
    for kind in [
        "int8",
        "int16",
        "int32",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "bool",
        "halffloat",
        "float",
        "double",
        "decimal5",
        "decimal15",
        "decimal30",
        "dictionary",
    ] {
        assert_rows(&made_by_writers(&format!("label-{kind}")));
    }
}

#[test]
fn what_cannot_be_read_is_named_with_its_column_and_row() {
    for (name, row, parts) in [
        ("text-null", ":6", &["`sentence2`", "`null`", "text"][..]),
        ("text-number", ":1", &["`sentence1`", "text"]),
        ("text-list", "", &["`sentence1`", "lists or structures"]),
        ("text-struct", "", &["`sentence1`", "lists or structures"]),
        ("text-no-utf8", ":1", &["`sentence1`", "UTF-8", "byte 1"]),
        ("label-null", ":7", &["`label`", "`null`", "0 or 1"]),
        ("label-all-null", ":1", &["`label`", "`null`"]),
        ("label-list", "", &["`label`", "lists or structures"]),
        ("label-text", ":1", &["`label`", "0 or 1"]),
        ("label-secret", ":1", &["`label`"]),
        ("label-two", ":8", &["`label`", "`2`"]),
        ("label-half", ":1", &["`label`", "`0.5`"]),
        ("label-nearly", ":2", &["`label`", "1.000000001"]),
        ("label-nan", ":2", &["`label`", "NaN"]),
        ("label-huge", ":2", &["`label`", "9223372036854775807"]),
        ("label-twice", "", &["`label`", "twice"]),
    ] {
        let refusal = rte_with("train", &made_by_writers(name)).unwrap_err();
        let refusal = refusal.to_string();
        let place = format!("train-00000-of-00001.parquet{row}");
        assert!(refusal.contains(&place), "{name}: {refusal}");
        for part in parts {
            assert!(refusal.contains(part), "{name}: `{part}` not in {refusal}");
        }
    }
}

#[test]
fn secret_labels_of_a_test_split_are_minus_one_or_null() {
    for name in ["label-secret", "label-all-null"] {
        let data = rte_with("test", &made_by_writers(name)).unwrap();
        assert!(data.test[0].labels().iter().all(|label| label.is_nan()));
    }
}

#[test]
fn a_limit_ends_reading_inside_any_row_group() {
    let dir = copy_of("parquet/rte", "rte");
    let train = dir.path().join("rte/train-00000-of-00001.parquet");
    fs::copy(made_by_writers("row-groups"), train).unwrap();
    for limit in 0..=9 {
        let options = ReadOptions {
            limit_train: Some(limit),
            ..ReadOptions::default()
        };
        let data = load_with(GlueTask::Rte, dir.path(), &options).unwrap();
        assert_eq!(data.train.len(), limit.min(8));
    }
}

#[test]
fn damaged_pages_of_every_codec_never_panic() {
    let dir = copy_of("parquet/rte", "rte");
    let train = dir.path().join("rte/train-00000-of-00001.parquet");
    for codec in ["zstd-v1", "zstd-v2", "brotli-v1", "gzip-v2", "lz4-v1"] {
        let good = fs::read(made_by_writers(codec)).unwrap();
        for position in (0..good.len()).step_by(3) {
            let mut bad = good.clone();
            bad[position] ^= 0x55;
            fs::write(&train, &bad).unwrap();
            drop(load(GlueTask::Rte, dir.path()));
        }
        for length in (0..good.len()).step_by(17) {
            fs::write(&train, &good[..length]).unwrap();
            assert!(load(GlueTask::Rte, dir.path()).is_err(), "cut at {length}");
        }
    }
}

#[test]
fn a_split_in_two_formats_or_of_two_uploads_is_refused_with_all_files() {
    for (from, name) in [
        ("tsv/RTE/train.tsv", "train.tsv"),
        ("tsv/RTE/dev.tsv", "dev.tsv"),
        ("tsv/RTE/test.tsv", "test.tsv"),
        (
            "parquet/rte/validation-00000-of-00001.parquet",
            "validation.parquet",
        ),
        (
            "parquet/rte/train-00000-of-00001.parquet",
            "train-00000-of-00001-0123abcd.parquet",
        ),
    ] {
        let dir = copy_of("parquet/rte", "rte");
        fs::copy(fixture(from), dir.path().join("rte").join(name)).unwrap();
        let refusal = load(GlueTask::Rte, dir.path()).unwrap_err();
        let DataError::SeveralSets { found, .. } = &refusal else {
            panic!("{name}: {refusal}");
        };
        assert!(found.len() == 2 && refusal.to_string().contains(name));
    }
}

#[test]
fn a_task_in_two_folders_of_its_name_is_ambiguous() {
    let dir = copy_of("parquet/rte", "rte");
    let other = dir.path().join("RTE");
    fs::create_dir(&other).unwrap();
    for entry in fs::read_dir(fixture("tsv/RTE")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, other.join(path.file_name().unwrap())).unwrap();
    }
    let refusal = load(GlueTask::Rte, dir.path()).unwrap_err();
    assert!(
        matches!(&refusal, DataError::Ambiguous { found, .. } if found.len() == 2),
        "{refusal}"
    );
    // A link to the other is not a second folder.
    fs::remove_dir_all(&other).unwrap();
    std::os::unix::fs::symlink(dir.path().join("rte"), &other).unwrap();
    load(GlueTask::Rte, dir.path()).unwrap();
}
