//! TODO

pub mod architecture;
pub mod checkpoint;
pub mod files;
pub mod locate;
pub mod location;
pub(crate) mod random;
pub(crate) mod soundness;
