//! The hub's Parquet files: `train-00000-of-00001.parquet`, several shards in their order.

pub(crate) mod cells;
pub(crate) mod columns;
pub(crate) mod pages;
pub(crate) mod rows;
pub(crate) mod shards;

use std::ops::ControlFlow;
use std::path::Path;

use crate::data::error::DataError;
use crate::data::formats::parquet::cells::Cells;
use crate::data::formats::parquet::columns::ParquetColumns;
use crate::data::formats::parquet::rows::ParquetRows;
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
        read_shard(path, request, &mut split)?;
    }
    if split.is_empty() && request.limit != Some(0) {
        return Err(DataError::Empty {
            path: files[0].clone(),
        });
    }
    Ok(split)
}

fn read_shard(path: &Path, request: &SplitRequest<'_>, split: &mut Split) -> Result<(), DataError> {
    let rows = ParquetRows::open(path)?;
    let columns = ParquetColumns::find(rows.schema(), path, request)?;
    if request.is_met_by(split) {
        return Ok(());
    }
    rows.each(&columns.schema, &mut |row, place| {
        columns.read_row(&Cells { row, place }, request, split)?;
        Ok(match request.is_met_by(split) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    })
}
