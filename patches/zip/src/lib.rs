//! A current `zip` in the form of the one that `tch` knows; see Cargo.toml.
pub use current::*;

/// Writing archives.
pub mod write {
    pub use current::write::SimpleFileOptions as FileOptions;
}
