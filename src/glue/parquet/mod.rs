//! The hub's Parquet files: `train-00000-of-00001.parquet`, several shards in their order.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::{Field, Row};
use ::parquet::schema::types::Type;

use super::error::{GlueError, Place};
use super::label;
use super::source::Request;
use super::split::{Example, Split};
use super::task::SplitName;

/// The number's and the label's column; every task's.
const INDEX: &str = "idx";
const LABEL: &str = "label";

/// A split's files in a folder, in order; empty if there are none.
pub(super) fn shards(folder: &Path, name: SplitName) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let is_shard = |file: &str| {
        file.strip_prefix(name.hub_name())
            .and_then(|rest| rest.strip_suffix(".parquet"))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .and_then(|file| file.to_str())
                .is_some_and(is_shard)
        })
        .collect();
    files.sort();
    files
}

/// Reads one split's shards.
pub(super) fn read(folder: &Path, request: &Request<'_>) -> Result<Split, GlueError> {
    let files = shards(folder, request.name);
    check_complete(folder, request, &files)?;
    let mut split = Split::new(request.task, request.name);
    for path in &files {
        // The reader asserts some of what a damaged file may break.
        catch_unwind(AssertUnwindSafe(|| read_shard(path, request, &mut split))).unwrap_or_else(
            |_| {
                Err(GlueError::Parquet {
                    path: path.clone(),
                    message: "it is damaged".to_owned(),
                })
            },
        )?;
    }
    if split.is_empty() && request.limit != Some(0) {
        return Err(GlueError::Empty {
            path: files[0].clone(),
        });
    }
    Ok(split)
}

/// All shards that the names promise (`…-of-00003`) must be there: training on two thirds of a
/// data set unawares would be worse than an error.
fn check_complete(
    folder: &Path,
    request: &Request<'_>,
    files: &[PathBuf],
) -> Result<(), GlueError> {
    let split = request.name.hub_name();
    let promised = files.iter().find_map(|path| {
        path.file_stem()?
            .to_str()?
            .rsplit_once("-of-")?
            .1
            .parse::<usize>()
            .ok()
    });
    let wanted: Vec<PathBuf> = match promised {
        None if files.is_empty() => vec![folder.join(format!("{split}-*.parquet"))],
        None => return Ok(()),
        Some(count) => (0..count)
            .map(|shard| folder.join(format!("{split}-{shard:05}-of-{count:05}.parquet")))
            .filter(|path| !files.contains(path))
            .collect(),
    };
    if wanted.is_empty() {
        return Ok(());
    }
    Err(GlueError::Missing {
        task: request.task.name(),
        dir: folder.to_owned(),
        looked_for: wanted,
    })
}

fn read_shard(path: &Path, request: &Request<'_>, split: &mut Split) -> Result<(), GlueError> {
    let unreadable = |error: ParquetError| GlueError::Parquet {
        path: path.to_owned(),
        message: error.to_string(),
    };
    let file = File::open(path).map_err(GlueError::io("read", path))?;
    let reader = SerializedFileReader::new(file).map_err(unreadable)?;
    let columns = Columns::find(&reader, path, request)?;
    let rows = reader
        .get_row_iter(Some(columns.schema.clone()))
        .map_err(unreadable)?;
    for (index, row) in rows.enumerate() {
        if request.is_met_by(split) {
            break;
        }
        let cells = Cells {
            row: row.map_err(unreadable)?,
            place: Place {
                path: path.to_owned(),
                line: index + 1,
            },
        };
        columns.read_row(&cells, request, split)?;
    }
    Ok(())
}

/// The columns to read.
#[derive(Debug)]
struct Columns {
    schema: Type,
    label: Option<&'static str>,
    index: Option<&'static str>,
    further: Vec<String>,
}

impl Columns {
    fn find<R: FileReader>(
        reader: &R,
        path: &Path,
        request: &Request<'_>,
    ) -> Result<Self, GlueError> {
        let root = reader.metadata().file_metadata().schema();
        let has = |column: &str| root.get_fields().iter().any(|field| field.name() == column);
        let is_test = request.name.is_test();
        let label = (!is_test || has(LABEL)).then_some(LABEL);
        let index = (is_test && has(INDEX)).then_some(INDEX);
        let further: Vec<String> = request.further(has).cloned().collect();

        let texts = request.task.spec().hub_texts.iter().copied();
        let wanted: Vec<&str> = texts
            .chain(label)
            .chain(index)
            .chain(further.iter().map(String::as_str))
            .collect();
        if let Some(missing) = wanted.iter().find(|name| !has(name)) {
            return Err(GlueError::MissingColumn {
                path: path.to_owned(),
                column: (*missing).to_owned(),
                available: root
                    .get_fields()
                    .iter()
                    .map(|it| it.name().to_owned())
                    .collect(),
            });
        }
        let fields = root
            .get_fields()
            .iter()
            .filter(|field| wanted.contains(&field.name()));
        let schema = Type::group_type_builder(root.name())
            .with_fields(fields.map(Arc::clone).collect())
            .build()
            .map_err(|error| GlueError::Parquet {
                path: path.to_owned(),
                message: error.to_string(),
            })?;
        Ok(Self {
            schema,
            label,
            index,
            further,
        })
    }

    fn read_row(
        &self,
        cells: &Cells,
        request: &Request<'_>,
        split: &mut Split,
    ) -> Result<(), GlueError> {
        let texts = request.task.spec().hub_texts;
        let label = self
            .label
            .map(|column| cells.label(column, request))
            .transpose()?;
        let id = self.index.map(|column| cells.id(column)).transpose()?;
        split.push(Example {
            id: id.unwrap_or(split.len() as u32),
            text_a: cells.text(texts[0])?,
            text_b: texts.get(1).map(|column| cells.text(column)).transpose()?,
            label: label.flatten(),
        });
        for column in &self.further {
            split.push_value(column, &cells.value(column));
        }
        Ok(())
    }
}

/// One row, with its place for messages.
#[derive(Debug)]
struct Cells {
    row: Row,
    place: Place,
}

impl Cells {
    fn field(&self, column: &str) -> &Field {
        let mut columns = self.row.get_column_iter();
        columns
            .find(|(name, _)| *name == column)
            .map_or(&Field::Null, |(_, field)| field)
    }

    fn text(&self, column: &str) -> Result<&str, GlueError> {
        match self.field(column) {
            Field::Str(text) => Ok(text),
            _ => Err(self.error(column, "text".to_owned())),
        }
    }

    /// A further column's value, as a TSV file would spell it.
    fn value(&self, column: &str) -> String {
        match self.field(column) {
            Field::Str(text) => text.clone(),
            other => other.to_string(),
        }
    }

    /// The label; −1 stands for a secret one, which only test splits may have.
    fn label(&self, column: &str, request: &Request<'_>) -> Result<Option<f32>, GlueError> {
        match number(self.field(column)) {
            Some(-1.0) if request.name.is_test() => Ok(None),
            Some(label) if label::is_valid(request.task, label as f32) => Ok(Some(label as f32)),
            _ => Err(self.error(column, label::expectation(request.task, false))),
        }
    }

    fn id(&self, column: &str) -> Result<u32, GlueError> {
        number(self.field(column))
            .filter(|id| id.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(id))
            .map(|id| id as u32)
            .ok_or_else(|| self.error(column, "the example's number".to_owned()))
    }

    fn error(&self, column: &str, expected: String) -> GlueError {
        GlueError::Cell {
            place: self.place.clone(),
            column: column.to_owned(),
            found: self.value(column),
            expected,
        }
    }
}

fn number(field: &Field) -> Option<f64> {
    match *field {
        Field::Byte(value) => Some(value.into()),
        Field::Short(value) => Some(value.into()),
        Field::Int(value) => Some(value.into()),
        Field::Long(value) => Some(value as f64),
        Field::Float(value) => Some(value.into()),
        Field::Double(value) => Some(value),
        _ => None,
    }
}
