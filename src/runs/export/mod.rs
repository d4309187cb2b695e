//! A run's model in a form that other programs load.
//!
//! | file | holds |
//! |---|---|
//! | [`trained`] | a finished run's model |
//! | `write` | that model as an adapter's folder, or as a whole |
//! | `merge` | adapter and base in one |
//! | `note` | the README of an exported folder |

pub(crate) mod merge;
pub(crate) mod note;
pub mod trained;
pub(crate) mod write;
