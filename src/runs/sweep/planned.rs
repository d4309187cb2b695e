//! A run of a sweep, before it is carried out.

use std::ffi::OsString;
use std::path::PathBuf;

/// One run of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// What it varies, as its name: `fedex-seed1`.
    pub label: String,
    /// Its folder.
    pub folder: PathBuf,
    /// The arguments of `regatta run` that make it.
    pub arguments: Vec<OsString>,
}
