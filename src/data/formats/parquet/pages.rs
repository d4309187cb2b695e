//! Row groups whose pages are decompressed in Rust, whatever codec their writer chose.
//!
//! The reader's own zstd is a C library, and its Brotli comes with the compressor: together they
//! take longer to build than all else of this module. So pages of these two codecs are read as they
//! are and decompressed here.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use ::parquet::basic::{Compression, CompressionCodec};
use ::parquet::bloom_filter::Sbbf;
use ::parquet::column::page::{Page, PageMetadata, PageReader};
use ::parquet::errors::{ParquetError, Result};
use ::parquet::file::metadata::RowGroupMetaData;
use ::parquet::file::reader::RowGroupReader;
use ::parquet::file::serialized_reader::SerializedPageReader;
use ::parquet::record::reader::RowIter;
use ::parquet::schema::types::Type;

/// The longest page that the format can state, in bytes.
const LONGEST: i64 = i32::MAX as i64;

/// One row group of a file.
pub(crate) struct RowGroup<'a> {
    pub file: Arc<File>,
    pub metadata: &'a RowGroupMetaData,
}

impl RowGroupReader for RowGroup<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.metadata
    }

    fn num_columns(&self) -> usize {
        self.metadata.num_columns()
    }

    fn get_column_page_reader(&self, column: usize) -> Result<Box<dyn PageReader>> {
        let chunk = self.metadata.column(column);
        let rows = usize::try_from(self.metadata.num_rows())?;
        let open = |chunk| SerializedPageReader::new(Arc::clone(&self.file), chunk, rows, None);
        let codec = match chunk.compression_codec() {
            CompressionCodec::ZSTD => Codec::Zstd,
            CompressionCodec::BROTLI => Codec::Brotli,
            _ => return Ok(Box::new(open(chunk)?)),
        };
        let as_they_are = chunk
            .clone()
            .into_builder()
            .set_compression(Compression::UNCOMPRESSED)
            .build()?;
        Ok(Box::new(Pages {
            compressed: open(&as_they_are)?,
            codec,
            longest: chunk.uncompressed_size().clamp(0, LONGEST) as u64,
        }))
    }

    fn get_column_bloom_filter(&self, _: usize) -> Option<&Sbbf> {
        None
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_row_group(projection, self)
    }
}

#[derive(Debug, Clone, Copy)]
enum Codec {
    Zstd,
    Brotli,
}

impl Codec {
    /// Decompresses at most `longest` bytes and appends them.
    fn decompress(self, compressed: &[u8], longest: u64, into: &mut Vec<u8>) -> Result<()> {
        let failed = |what: String| ParquetError::General(format!("{self:?}: {what}"));
        // One byte more than there may be tells the two apart.
        let bound = longest.saturating_add(1);
        let read = match self {
            Self::Zstd => ruzstd::decoding::StreamingDecoder::new(compressed)
                .map_err(|error| failed(error.to_string()))?
                .take(bound)
                .read_to_end(into),
            Self::Brotli => brotli_decompressor::Decompressor::new(compressed, 4096)
                .take(bound)
                .read_to_end(into),
        };
        match read {
            Ok(length) if length as u64 <= longest => Ok(()),
            Ok(_) => Err(failed("a page is longer than its column".to_owned())),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

/// A column's pages, decompressed one by one.
struct Pages {
    compressed: SerializedPageReader<File>,
    codec: Codec,
    /// What the file says that all pages of the column take, uncompressed.
    longest: u64,
}

impl Pages {
    fn decompress(&self, mut page: Page) -> Result<Page> {
        // The levels of a page of the second version stand before its values, never compressed.
        let levels = match &page {
            Page::DataPage { .. } | Page::DictionaryPage { .. } => 0,
            Page::DataPageV2 {
                is_compressed: false,
                ..
            } => return Ok(page),
            Page::DataPageV2 {
                def_levels_byte_len,
                rep_levels_byte_len,
                ..
            } => *def_levels_byte_len as usize + *rep_levels_byte_len as usize,
        };
        let (Page::DataPage { buf, .. }
        | Page::DataPageV2 { buf, .. }
        | Page::DictionaryPage { buf, .. }) = &mut page;
        let Some((levels, compressed)) = buf.split_at_checked(levels) else {
            return Err(ParquetError::EOF(
                "a page ends inside its levels".to_owned(),
            ));
        };
        let mut plain = levels.to_vec();
        // A page without values, all of them null, may have nothing to decompress.
        if !compressed.is_empty() {
            self.codec
                .decompress(compressed, self.longest, &mut plain)?;
        }
        *buf = plain.into();
        Ok(page)
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.compressed.get_next_page()?;
        page.map(|page| self.decompress(page)).transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.compressed.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.compressed.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.compressed.at_record_boundary()
    }
}
