//! TODO

pub mod architecture;
pub mod checkpoint;
pub mod files;
pub(crate) mod random;
pub(crate) mod soundness;
