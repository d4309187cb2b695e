//! Which columns of a Parquet file are read, and as what.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use ::parquet::basic::Repetition;
use ::parquet::schema::types::{Type, TypePtr};

use crate::base::file_error::FileError;
use crate::data::error::{DataError, shortened};
use crate::data::formats::parquet::cells::Cells;
use crate::data::request::SplitRequest;
use crate::data::split::{Example, Split};

/// The number's and the label's column; every task's.
const INDEX: &str = "idx";
const LABEL: &str = "label";

/// The columns to read.
#[derive(Debug)]
pub(crate) struct ParquetColumns {
    /// The wanted part of the file's schema.
    pub schema: Type,
    label: Option<&'static str>,
    index: Option<&'static str>,
    further: Vec<String>,
}

impl ParquetColumns {
    /// The columns that a request needs.
    ///
    /// # Errors
    /// If one is missing, there twice, or holds lists or structures.
    pub fn find(root: &Type, path: &Path, request: &SplitRequest<'_>) -> Result<Self, DataError> {
        let has = |column: &str| root.get_fields().iter().any(|field| field.name() == column);
        let is_test = request.name.is_test();
        let label = (!is_test || has(LABEL)).then_some(LABEL);
        let index = (is_test && has(INDEX)).then_some(INDEX);
        let further: Vec<String> = request.further(has).cloned().collect();

        let texts = request.schema.hub_texts;
        let others = label.into_iter().chain(index);
        let others = others.chain(further.iter().map(String::as_str));
        let mut fields: Vec<TypePtr> = Vec::new();
        for text in texts {
            fields.push(only(root, text, path)?);
        }
        for column in others {
            let field = only(root, column, path)?;
            if fields.iter().all(|it| it.name() != field.name()) {
                fields.push(field);
            }
        }
        let schema = Type::group_type_builder(root.name()).with_fields(fields);
        Ok(Self {
            schema: schema.build().map_err(unreadable(path))?,
            label,
            index,
            further,
        })
    }

    /// Appends a row to a split.
    pub fn read_row(
        &self,
        cells: &Cells,
        request: &SplitRequest<'_>,
        split: &mut Split,
    ) -> Result<(), DataError> {
        let texts = request.schema.hub_texts;
        let label = self.label.map(|column| cells.label(column, request));
        let id = self.index.map(|column| cells.id(column)).transpose()?;
        split.push(Example {
            id: id.unwrap_or(split.len() as u32),
            text_a: cells.text(texts[0])?,
            text_b: texts.get(1).map(|column| cells.text(column)).transpose()?,
            label: label.transpose()?.flatten(),
        });
        for column in &self.further {
            split.push_value(column, &cells.value(column));
        }
        Ok(())
    }
}

/// The one column of a name.
fn only(root: &Type, column: &str, path: &Path) -> Result<TypePtr, DataError> {
    let refuse = |message: &str| DataError::Column {
        path: path.to_owned(),
        column: column.to_owned(),
        message: message.to_owned(),
    };
    let mut fields = root.get_fields().iter().filter(|it| it.name() == column);
    let Some(field) = fields.next() else {
        return Err(DataError::MissingColumn {
            path: path.to_owned(),
            column: column.to_owned(),
            available: root
                .get_fields()
                .iter()
                .map(|it| it.name().to_owned())
                .collect(),
        });
    };
    if fields.next().is_some() {
        return Err(refuse("is there twice; keep one of them"));
    }
    let repeats = field.get_basic_info().has_repetition()
        && field.get_basic_info().repetition() == Repetition::REPEATED;
    if field.is_group() || repeats {
        return Err(refuse(
            "holds lists or structures, expected one value per row",
        ));
    }
    Ok(Arc::clone(field))
}

/// Wraps what the reader says with the file's name.
pub(crate) fn unreadable<E: Display>(path: &Path) -> impl Fn(E) -> FileError {
    move |error| {
        let said = shortened(error.to_string());
        FileError::content(path, format!("not a readable Parquet file: {said}"))
    }
}
