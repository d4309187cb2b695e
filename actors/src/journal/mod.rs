//! The files from which a run is resumed and replayed.

pub mod checkpoint;
pub(crate) mod interventions;
pub mod json_lines;
pub mod ledger;
pub mod place;
