//! The hub's Parquet files: `train-00000-of-00001.parquet`, several shards in their order.

pub(crate) mod cells;
pub(crate) mod columns;
pub(crate) mod pages;
pub(crate) mod shards;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use ::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use ::parquet::record::reader::RowIter;

use crate::base::files;
use crate::data::error::{DataError, SourceSpan};
use crate::data::formats::parquet::cells::Cells;
use crate::data::formats::parquet::columns::{ParquetColumns, unreadable};
use crate::data::formats::parquet::pages::RowGroup;
use crate::data::request::SplitRequest;
use crate::data::schema::Schema;
use crate::data::split::Split;

#[cfg(feature = "hub")]
use crate::data::schema::SplitName;

/// Whether a split is there with all of its files.
#[cfg(feature = "hub")]
pub(crate) fn is_complete(folder: &Path, schema: &Schema, split: SplitName) -> bool {
    shards::check(folder, schema, split, &shards::shards(folder, split)).is_ok()
}

/// Reads one split's shards.
pub(crate) fn read(folder: &Path, request: &SplitRequest<'_>) -> Result<Split, DataError> {
    let files = shards::shards(folder, request.name);
    shards::check(folder, request.schema, request.name, &files)?;
    let mut split = Split::new(request.schema.is_pair(), request.name);
    for path in &files {
        // The reader asserts some of what a damaged file may break.
        catch_unwind(AssertUnwindSafe(|| read_shard(path, request, &mut split)))
            .unwrap_or_else(|_| Err(unreadable(path)("it is damaged").into()))?;
    }
    if split.is_empty() && request.limit != Some(0) {
        return Err(DataError::Empty {
            path: files[0].clone(),
        });
    }
    Ok(split)
}

fn read_shard(path: &Path, request: &SplitRequest<'_>, split: &mut Split) -> Result<(), DataError> {
    let file = Arc::new(files::open(path)?);
    let metadata: ParquetMetaData = ParquetMetaDataReader::new()
        .parse_and_finish(&*file)
        .map_err(unreadable(path))?;
    let columns = ParquetColumns::find(metadata.file_metadata().schema(), path, request)?;
    let mut place = SourceSpan {
        path: path.to_owned(),
        line: 0,
    };
    for metadata in metadata.row_groups() {
        let group = RowGroup {
            file: Arc::clone(&file),
            metadata,
        };
        let rows = RowIter::from_row_group(Some(columns.schema.clone()), &group)
            .map_err(unreadable(path))?;
        for row in rows {
            if request.is_met_by(split) {
                return Ok(());
            }
            place.line += 1;
            let row = row.map_err(unreadable(path))?;
            let place = place.clone();
            columns.read_row(&Cells { row, place }, request, split)?;
        }
    }
    Ok(())
}
