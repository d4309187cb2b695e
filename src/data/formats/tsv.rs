//! GLUE's own TSV files.
//!
//! Quoting is off: a quotation mark is a character like any other, and a line is its fields joined
//! by tabs. Columns are found by the header's names, so their order and further columns do not
//! matter; CoLA's train and dev files have no header.

use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::base::file_error::FileError;
use crate::base::files;
use crate::data::error::{DataError, SourceSpan};
use crate::data::label;
use crate::data::request::SplitRequest;
use crate::data::split::{Example, Split};

/// Reads one split's file.
pub(crate) fn read(path: &Path, request: &SplitRequest<'_>) -> Result<Split, DataError> {
    let file = files::open(path)?;
    let mut split = Split::new(request.schema.is_pair(), request.name);
    let mut columns = None;
    for (index, line) in BufReader::new(file).split(b'\n').enumerate() {
        if request.is_met_by(&split) {
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
        let is_first = columns.is_none();
        let columns = match &mut columns {
            Some(known) => known,
            none => none.insert(TsvColumns::find(&fields, path, request)?),
        };
        if !(is_first && columns.have_header) {
            columns.read_line(&fields, place, request, &mut split)?;
        }
    }
    if split.is_empty() && request.limit != Some(0) {
        return Err(DataError::Empty {
            path: path.to_owned(),
        });
    }
    if split.skipped() > 0 {
        tracing::warn!(file = %path.display(), lines = split.skipped(), "skipped broken lines");
    }
    Ok(split)
}

/// A line without its ending and without a byte order mark.
pub(crate) fn text_of<'a>(line: &'a [u8], place: &SourceSpan) -> Result<&'a str, DataError> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = std::str::from_utf8(line).map_err(|error| FileError::Content {
        path: place.path.clone(),
        line: Some(place.line),
        reason: format!("byte {} of the line is not UTF-8", error.valid_up_to() + 1),
    })?;
    Ok(if place.line == 1 {
        text.trim_start_matches('\u{feff}')
    } else {
        text
    })
}

/// The positions of a file's columns.
#[derive(Debug)]
struct TsvColumns {
    /// Whether the file's first line names them.
    have_header: bool,
    texts: Vec<usize>,
    label: Option<usize>,
    index: Option<usize>,
    further: Vec<(String, usize)>,
    names: Vec<String>,
}

impl TsvColumns {
    /// Finds the columns by a file's first line.
    fn find(first: &[&str], path: &Path, request: &SplitRequest<'_>) -> Result<Self, DataError> {
        let spec = request.schema;
        let is_named = |text: &&str| first.iter().any(|name| name.trim() == *text);
        let have_header = spec.tsv_texts.iter().all(is_named);
        let names: Vec<String> = match spec.headerless {
            Some(names) if !have_header => names.iter().map(ToString::to_string).collect(),
            _ => first.iter().map(|name| name.trim().to_owned()).collect(),
        };
        let optional = |column: &str| names.iter().position(|name| name == column);
        let required = |column: &str| {
            optional(column).ok_or_else(|| DataError::MissingColumn {
                path: path.to_owned(),
                column: column.to_owned(),
                available: names.clone(),
            })
        };
        let is_test = request.name.is_test();
        let label = if is_test {
            optional(spec.tsv_label)
        } else {
            Some(required(spec.tsv_label)?)
        };
        let texts = spec.tsv_texts.iter().map(|name| required(name));
        let further = request.further(|name| optional(name).is_some());
        let further = further.map(|name| Ok((name.clone(), required(name)?)));
        Ok(Self {
            have_header,
            texts: texts.collect::<Result<_, _>>()?,
            label,
            index: optional(spec.tsv_index).filter(|_| is_test),
            further: further.collect::<Result<_, DataError>>()?,
            names: names.clone(),
        })
    }

    /// The fields that a line must have.
    fn width(&self) -> usize {
        let further = self.further.iter().map(|(_, at)| at);
        let used = self
            .texts
            .iter()
            .chain(&self.label)
            .chain(&self.index)
            .chain(further);
        used.max().map_or(0, |last| last + 1)
    }

    fn read_line(
        &self,
        fields: &[&str],
        place: SourceSpan,
        request: &SplitRequest<'_>,
        split: &mut Split,
    ) -> Result<(), DataError> {
        if fields.len() < self.width() {
            if request.schema.has_broken_lines {
                split.count_skipped();
                return Ok(());
            }
            return Err(DataError::TooFewFields {
                place,
                found: fields.len(),
                expected: self.width(),
                separator: "tab",
                columns: self.names.join(", "),
            });
        }
        let misfit = |at: usize, expected: String| DataError::Cell {
            place: place.clone(),
            column: self.names[at].clone(),
            found: fields[at].to_owned(),
            expected,
        };
        let label = |at: usize| {
            label::parse(request.schema, fields[at])
                .ok_or_else(|| misfit(at, label::expectation(request.schema, true)))
        };
        let number = |at: usize| {
            let number = fields[at].trim().parse::<u32>();
            number.map_err(|_| misfit(at, "the example's number".to_owned()))
        };
        split.push(Example {
            id: self
                .index
                .map(number)
                .transpose()?
                .unwrap_or(split.len() as u32),
            text_a: fields[self.texts[0]],
            text_b: self.texts.get(1).map(|at| fields[*at]),
            label: self.label.map(label).transpose()?,
        });
        for (name, at) in &self.further {
            split.push_value(name, fields[*at]);
        }
        Ok(())
    }
}
