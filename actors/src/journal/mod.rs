//! What a run leaves on the disk, from which it is resumed and replayed.

pub mod checkpoint;
pub(crate) mod interventions;
pub mod json_lines;
pub mod ledger;
pub mod place;
