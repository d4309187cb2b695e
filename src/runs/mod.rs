//! TODO

pub mod compare;
pub mod export;
pub mod figures;
pub mod folder;
pub mod history;
pub mod report;
pub mod sweep;
