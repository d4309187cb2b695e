//! The memory allocator of the whole process, libtorch's `malloc` included: jemalloc.
//!
//! A training step asks for hundreds of tensors of a few megabytes. The C library takes such pieces
//! from the system and gives them back each time, to have their pages cleared anew; jemalloc, told
//! by [`SETTINGS`] to keep what was freed, hands them out again.

use std::ffi::c_uint;
use std::ptr;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What jemalloc reads from the environment when a program starts: the variable, and a value by
/// which freed pages stay until [`give_back`].
pub const SETTINGS: (&str, &str) = ("MALLOC_CONF", "dirty_decay_ms:-1");

/// jemalloc's number for all of its arenas.
const ALL_ARENAS: c_uint = 4096;

/// Gives memory that nobody uses back to the system: where work of another kind begins, whose pieces
/// have other sizes.
pub fn give_back() {
    let command = format!("arena.{ALL_ARENAS}.purge\0");
    // SAFETY: the name ends with NUL, and this command reads and writes no value.
    let _code = unsafe {
        tikv_jemalloc_sys::mallctl(
            command.as_ptr().cast(),
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            0,
        )
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_freed_is_given_back() {
        let resident = || memory_stats::memory_stats().map_or(0, |usage| usage.physical_mem);
        // As tensors are made and freed by libtorch, so that its memory is meant too.
        let size = 256 << 20;
        let options = (tch::Kind::Uint8, tch::Device::Cpu);
        drop(tch::Tensor::ones([size], options));
        give_back();
        let before = resident();
        let tensor = tch::Tensor::ones([size], options);
        let held = resident();
        drop(tensor);
        give_back();
        assert!(held > before + size as usize / 2, "{before} then {held}");
        assert!(
            resident() < held - size as usize / 2,
            "{held} then {}",
            resident()
        );
    }
}
