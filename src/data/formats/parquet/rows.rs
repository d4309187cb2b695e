//! The rows of a file. Calls of the reader are guarded, what is done with a row is not: a panic of our
//! own is no damaged file.

use std::fs::File;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use ::parquet::record::Row;
use ::parquet::record::reader::RowIter;
use ::parquet::schema::types::Type;

use crate::base::file_error::FileError;
use crate::base::files;
use crate::data::error::{DataError, SourceSpan};
use crate::data::formats::parquet::columns::unreadable;
use crate::data::formats::parquet::pages::RowGroup;

/// How the reader's error of a text that is not UTF-8 begins, before it lists all of its bytes.
const NOT_UTF8: &str = "Error reading BYTE_ARRAY as String";

/// A file whose metadata are read.
pub(crate) struct ParquetRows {
    path: PathBuf,
    file: Arc<File>,
    metadata: ParquetMetaData,
}

impl ParquetRows {
    /// Opens a file.
    ///
    /// # Errors
    /// If it cannot be read, or is not a Parquet file.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let file = Arc::new(files::open(path)?);
        let read = || ParquetMetaDataReader::new().parse_and_finish(&*file);
        let metadata = guarded(path, read)?.map_err(unreadable(path))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            metadata,
        })
    }

    /// The columns that it has.
    pub fn schema(&self) -> &Type {
        self.metadata.file_metadata().schema()
    }

    /// Gives each row's part of a schema to `take`, with the row's number as its line, until that
    /// breaks.
    ///
    /// # Errors
    /// If a row cannot be read. And the error of `take`.
    pub fn each(
        &self,
        schema: &Type,
        take: &mut dyn FnMut(Row, SourceSpan) -> Result<ControlFlow<()>, DataError>,
    ) -> Result<(), DataError> {
        let path = &self.path;
        let mut line = 0;
        for metadata in self.metadata.row_groups() {
            let file = Arc::clone(&self.file);
            let group = RowGroup { file, metadata };
            let rows = || RowIter::from_row_group(Some(schema.clone()), &group);
            let mut rows = guarded(path, rows)?.map_err(unreadable(path))?;
            while let Some(row) = guarded(path, || rows.next())? {
                line += 1;
                let place = SourceSpan {
                    path: path.clone(),
                    line,
                };
                let row = row.map_err(unreadable_row(&place))?;
                if take(row, place)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Calls the reader, which asserts some of what a damaged file may break. Nothing of what `work`
/// changes is used after a panic.
fn guarded<T>(path: &Path, work: impl FnOnce() -> T) -> Result<T, FileError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| unreadable(path)("it is damaged"))
}

fn unreadable_row(place: &SourceSpan) -> impl Fn(ParquetError) -> FileError {
    let content = |reason: String| FileError::Content {
        path: place.path.clone(),
        line: Some(place.line),
        reason,
    };
    move |error| match unreadable(&place.path)(&error) {
        _ if error.to_string().contains(NOT_UTF8) => {
            content("a text of the row is not UTF-8".to_owned())
        }
        FileError::Content { reason, .. } => content(reason),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_reader_is_a_damaged_file_and_what_it_says_of_a_row_has_its_line() {
        let path = Path::new("a.parquet");
        let panicked = guarded(path, || -> () { panic!("levels") }).unwrap_err();
        assert!(panicked.to_string().contains("damaged"), "{panicked}");
        let place = SourceSpan {
            path: path.to_owned(),
            line: 7,
        };
        let said = |text: String| unreadable_row(&place)(ParquetError::General(text)).to_string();
        let long = said(format!("{NOT_UTF8}. Bytes: {:?}", [1; 1000]));
        assert_eq!(long, "a.parquet:7: a text of the row is not UTF-8");
        let long = said("a".repeat(1000));
        assert!(long.starts_with("a.parquet:7: not a readable Parquet file") && long.len() < 200);
    }
}
