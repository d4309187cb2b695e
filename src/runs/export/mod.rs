//! TODO

pub mod merge;
pub mod note;
pub mod trained;
pub mod write;
