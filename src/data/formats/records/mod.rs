//! Records of a file in any format, by the names of their columns, from which tasks on the user's
//! own files are read. The file's suffix decides the format.
//!
//! * [`field_value`]: a value of a record.
//! * `tables`: CSV and TSV.
//! * `json`: JSON lines and JSON; a column `a.b` is the key `b` of the object under `a`.
//! * `parquet`: Parquet.

pub mod field_value;
mod json;
mod parquet;
mod tables;

use std::path::Path;

use crate::base::file_error::FileError;
use crate::data::error::{DataError, SourceSpan};
use crate::data::formats::records::field_value::FieldValue;

/// The formats that records are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordFormat {
    /// Comma-separated values.
    Csv,
    /// Tab-separated values, without quoting.
    Tsv,
    /// JSON lines, or JSON with an array of objects.
    Json,
    /// Parquet.
    Parquet,
}

impl RecordFormat {
    /// The suffixes of the formats' files, in any case.
    pub const SUFFIXES: [(&'static str, Self); 6] = [
        ("csv", Self::Csv),
        ("tsv", Self::Tsv),
        ("jsonl", Self::Json),
        ("ndjson", Self::Json),
        ("json", Self::Json),
        ("parquet", Self::Parquet),
    ];

    /// The format of a file of this name.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let suffix = path.extension()?.to_str()?;
        let mut known = Self::SUFFIXES.iter();
        let found = known.find(|(known, _)| suffix.eq_ignore_ascii_case(known));
        found.map(|(_, format)| *format)
    }
}

/// A column that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WantedColumn<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether every record must have it.
    pub required: bool,
}

/// A record: the cells of the columns that are read, in their order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FileRecord {
    /// Where it begins.
    pub place: SourceSpan,
    /// Its cells.
    pub cells: Vec<FieldValue>,
}

/// Gives each record of a file, or its first ones, to `take`.
///
/// # Errors
/// If the file cannot be read or is of an unknown format, or lacks a required column: with those
/// that it has, and in a file of objects with the line of the one that lacks it. And the error of
/// `take`.
pub(crate) fn read(
    path: &Path,
    columns: &[WantedColumn<'_>],
    limit: Option<usize>,
    take: &mut dyn FnMut(FileRecord) -> Result<(), DataError>,
) -> Result<(), DataError> {
    // A folder, or a pipe, from which nothing may ever come.
    if path.exists() && !path.is_file() {
        return Err(FileError::content(path, "is not a file").into());
    }
    match RecordFormat::of(path) {
        Some(RecordFormat::Csv) => tables::read_csv(path, columns, limit, take),
        Some(RecordFormat::Tsv) => tables::read_tsv(path, columns, limit, take),
        Some(RecordFormat::Json) => json::read(path, columns, limit, take),
        Some(RecordFormat::Parquet) => parquet::read(path, columns, limit, take),
        None => Err(DataError::UnknownFormat {
            path: path.to_owned(),
        }),
    }
}

/// The position of each column among a table's; `None` where it is not there and need not be.
fn positions(
    path: &Path,
    header: &[String],
    columns: &[WantedColumn<'_>],
) -> Result<Vec<Option<usize>>, DataError> {
    let find = |column: &WantedColumn<'_>| {
        let is_it = |(at, name): (usize, &String)| (name == column.name).then_some(at);
        let mut found = header.iter().enumerate().filter_map(is_it);
        match (found.next(), found.next()) {
            (None, _) if column.required => Err(DataError::MissingColumn {
                path: path.to_owned(),
                column: column.name.to_owned(),
                available: header.to_vec(),
            }),
            (Some(_), Some(_)) => Err(DataError::Column {
                path: path.to_owned(),
                column: column.name.to_owned(),
                message: "is there twice; keep one of them".to_owned(),
            }),
            (found, _) => Ok(found),
        }
    };
    columns.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [WantedColumn<'_>; 3] = [
        WantedColumn {
            name: "text",
            required: true,
        },
        WantedColumn {
            name: "stars",
            required: true,
        },
        WantedColumn {
            name: "shop.town",
            required: false,
        },
    ];

    fn read_text(name: &str, text: &str) -> Result<Vec<(usize, Vec<FieldValue>)>, String> {
        read_some(name, text, 2)
    }

    fn read_some(
        name: &str,
        text: &str,
        limit: usize,
    ) -> Result<Vec<(usize, Vec<FieldValue>)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let mut records = Vec::new();
        read(&path, &COLUMNS, Some(limit), &mut |record| {
            records.push((record.place.line, record.cells));
            Ok(())
        })
        .map(|()| records)
        .map_err(|error| error.to_string())
    }

    #[test]
    fn every_format_gives_its_records_by_the_names_of_the_columns() {
        let text = |text: &str| FieldValue::Text(text.to_owned());
        let csv = read_text("a.csv", "stars,text\n5,\"fine, and\nblue\"\n 4 ,b\n3,c\n").unwrap();
        let first = vec![text("fine, and\nblue"), text("5"), FieldValue::Missing];
        let second = vec![text("b"), text(" 4 "), FieldValue::Missing];
        assert_eq!(csv, [(2, first), (4, second)]);
        let tsv = read_text(
            "a.TSV",
            "\u{feff}text\tstars\tshop.town\r\n\"a\"\t5\tBonn\r\n\nb\t4\t\n",
        );
        let first = vec![text("\"a\""), text("5"), text("Bonn")];
        assert_eq!(
            tsv.unwrap(),
            [(2, first), (4, vec![text("b"), text("4"), text("")])]
        );
        let json = "{\"text\": \"a\", \"stars\": 5, \"shop\": {\"town\": \"Bonn\"}}\n\
                    {\"text\": null, \"stars\": [\"x\", 1.5], \"shop.town\": true}\n";
        let json = read_text("a.jsonl", json).unwrap();
        let number = |spelled: &str, value| FieldValue::Number {
            spelled: spelled.to_owned(),
            value,
        };
        assert_eq!(
            json,
            [
                (1, vec![text("a"), number("5", 5.0), text("Bonn")]),
                (
                    2,
                    vec![
                        FieldValue::Null,
                        FieldValue::List(vec![text("x"), number("1.5", 1.5)]),
                        FieldValue::Bool(true)
                    ]
                ),
            ]
        );
    }

    #[test]
    fn a_table_of_which_no_record_is_wanted_still_has_its_columns() {
        for (name, header) in [("a.csv", "text,stars\n"), ("a.tsv", "text\tstars\n")] {
            let table = header.to_owned() + &header.replace("text", "a");
            assert_eq!(read_some(name, &table, 0), Ok(Vec::new()), "{name}");
            let error = read_some(name, &table.replace("stars", "star"), 0).unwrap_err();
            assert!(error.contains("no column `stars`"), "{error}");
        }
    }

    #[test]
    fn what_is_not_there_is_named_with_what_is() {
        for (name, content, reasons) in [
            (
                "a.csv",
                "text,star\na,5\n",
                ["a.csv: no column `stars`", "text, star"],
            ),
            (
                "a.csv",
                "text,stars,text\na,5,b\n",
                ["column `text`", "twice"],
            ),
            (
                "a.tsv",
                "text\tstar\na\t5\n",
                ["no column `stars`", "text, star"],
            ),
            ("a.tsv", "text\tstars\na\n", ["a.tsv:2", "1 fields"]),
            ("a.tsv", "text\tstars\na\t5\tb\n", ["a.tsv:2", "3 fields"]),
            (
                "a.json",
                "[{\"text\": \"a\", \"stars\": 5},\n{\"text\": \"b\", \"star\": 4}]",
                ["a.json:2: no key `stars`", "star"],
            ),
            ("a.xlsx", "text,stars\n", ["a.xlsx", ".csv, .tsv, .jsonl"]),
            ("data", "text,stars\n", ["data", ".parquet"]),
            ("a.parquet", "text,stars\n", ["a.parquet", "Parquet"]),
        ] {
            let error = read_text(name, content).unwrap_err();
            for reason in reasons {
                assert!(error.contains(reason), "{content:?}: {error}");
            }
        }
    }
}
