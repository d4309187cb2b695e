//! Records of CSV and TSV files, whose first line names the columns. Every cell is text.

use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::base::file_error::FileError;
use crate::base::files;
use crate::data::error::{DataError, SourceSpan, listed};
use crate::data::formats::csv::CsvFile;
use crate::data::formats::records::field_value::FieldValue;
use crate::data::formats::records::{FileRecord, WantedColumn, positions};
use crate::data::formats::tsv::text_of;

/// Reads a CSV file (RFC 4180).
pub(super) fn read_csv(
    path: &Path,
    columns: &[WantedColumn<'_>],
    limit: Option<usize>,
    take: &mut dyn FnMut(FileRecord) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let file = CsvFile::read(path, limit)?;
    let places = positions(path, file.header(), columns)?;
    for (place, record) in file.records() {
        let cell = |at: &Option<usize>| cell(at.and_then(|at| record.get(at)));
        let cells = places.iter().map(cell).collect();
        take(FileRecord { place, cells })?;
    }
    Ok(())
}

/// Reads a TSV file: fields are what is between tabs, and a quotation mark is a character like any
/// other. Fields that look quoted nevertheless are counted and warned of.
pub(super) fn read_tsv(
    path: &Path,
    columns: &[WantedColumn<'_>],
    limit: Option<usize>,
    take: &mut dyn FnMut(FileRecord) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let mut table: Option<(Vec<String>, Vec<Option<usize>>)> = None;
    let (mut records, mut quoted) = (0, 0);
    for (index, line) in BufReader::new(files::open(path)?).split(b'\n').enumerate() {
        // The header is read whatever the limit, which counts records.
        if table.is_some() && limit.is_some_and(|limit| records >= limit) {
            break;
        }
        let line = line.map_err(FileError::read(path))?;
        let place = SourceSpan {
            path: path.to_owned(),
            line: index + 1,
        };
        let text = text_of(&line, &place)?;
        if text.trim().is_empty() {
            continue;
        }
        let fields: Vec<&str> = text.split('\t').collect();
        let Some((header, places)) = &table else {
            let header: Vec<String> = fields.iter().map(|name| name.trim().to_owned()).collect();
            let places = positions(path, &header, columns)?;
            table = Some((header, places));
            continue;
        };
        check_width(&fields, header, &place)?;
        let cells: Vec<FieldValue> = places
            .iter()
            .map(|at| cell(at.and_then(|at| fields.get(at).copied())))
            .collect();
        quoted += cells.iter().filter(|cell| looks_quoted(cell)).count();
        records += 1;
        take(FileRecord { place, cells })?;
    }
    if quoted > 0 {
        tracing::warn!(
            "{}: {quoted} fields begin and end with a quotation mark, which is taken as part of the \
             text, for TSV has no quoting; if they are quoted, save the file as CSV",
            path.display()
        );
    }
    match table {
        Some(_) => Ok(()),
        // An empty file has no columns.
        None => positions(path, &[], columns).map(|_| ()),
    }
}

fn check_width(fields: &[&str], header: &[String], place: &SourceSpan) -> Result<(), DataError> {
    if fields.len() < header.len() {
        return Err(DataError::TooFewFields {
            place: place.clone(),
            found: fields.len(),
            expected: header.len(),
            separator: "tab",
            columns: listed(header),
        });
    }
    if fields.len() > header.len() {
        return Err(DataError::File(FileError::Content {
            path: place.path.clone(),
            line: Some(place.line),
            reason: format!(
                "{} fields, but the header has {}; a text with a tab in it cannot be a field of TSV",
                fields.len(),
                header.len()
            ),
        }));
    }
    Ok(())
}

fn cell(text: Option<&str>) -> FieldValue {
    text.map_or(FieldValue::Missing, |text| {
        FieldValue::Text(text.to_owned())
    })
}

fn looks_quoted(cell: &FieldValue) -> bool {
    matches!(cell, FieldValue::Text(text)
        if text.len() > 1 && text.starts_with('"') && text.ends_with('"'))
}
