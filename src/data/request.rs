//! The request to read one split.

use crate::data::schema::{Schema, SplitName};
use crate::data::split::Split;

/// The request to read one split.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SplitRequest<'a> {
    pub schema: &'static Schema,
    pub name: SplitName,
    pub limit: Option<usize>,
    pub columns: &'a [String],
}

impl SplitRequest<'_> {
    /// The further columns to keep, given what the file has: the training split must have all
    /// that were asked for.
    pub fn further<'a>(
        &'a self,
        has: impl Fn(&str) -> bool + 'a,
    ) -> impl Iterator<Item = &'a String> {
        self.columns
            .iter()
            .filter(move |name| self.name == SplitName::Train || has(name))
    }

    /// Whether a further example is beyond the limit.
    pub fn is_met_by(&self, split: &Split) -> bool {
        self.limit.is_some_and(|limit| split.len() >= limit)
    }
}
