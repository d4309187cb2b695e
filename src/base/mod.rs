//! What everything else stands on: files, tables, tensors on the host, time, the hub, libtorch, the
//! machine.

pub mod allocator;
pub mod file_error;
pub mod files;
#[cfg(feature = "hub")]
pub mod hub;
pub mod hub_error;
pub mod machine;
pub mod table;
pub mod tensors;
pub mod time;
pub mod torch;
