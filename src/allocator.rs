//! The memory allocator of the whole process, libtorch's `malloc` included: jemalloc.
//!
//! A training step asks for hundreds of tensors of a few megabytes. The C library takes such pieces
//! from the system and gives them back each time, to have their pages cleared anew; jemalloc, told
//! by [`SETTINGS`] to keep what was freed, hands them out again.

use std::ffi::c_uint;
use std::{fs, ptr};

use crate::table::show_bytes;

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

/// Refuses what needs more memory than there could ever be, before it is asked for: a program that
/// is refused memory can only abort.
///
/// # Errors
/// How much it needs, and how much there is.
pub fn require(bytes: u64) -> Result<(), String> {
    let there = most_memory();
    if bytes <= there {
        return Ok(());
    }
    let (needed, there) = (show_bytes(bytes), show_bytes(there));
    Err(format!(
        "this takes {needed} of memory at the least, and there are {there}"
    ))
}

/// Bytes that this process can have at most: the machine's, if no limit is set below it.
fn most_memory() -> u64 {
    let limits = [machine(), address_space(), control_group()];
    limits.into_iter().flatten().min().unwrap_or(u64::MAX)
}

/// Memory and swap, which Linux gives in kB.
fn machine() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let total = of("MemTotal:")? + of("SwapTotal:").unwrap_or(0);
    total.checked_mul(1024)
}

/// What `ulimit -v` allows.
fn address_space() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/limits").ok()?;
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What the container or service allows.
fn control_group() -> Option<u64> {
    let text = fs::read_to_string("/sys/fs/cgroup/memory.max").ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_machine_has_is_refused_with_how_much_there_is() {
        assert_eq!(require(1 << 20), Ok(()));
        let error = require(u64::MAX).unwrap_err();
        let there = show_bytes(most_memory());
        assert!(error.contains(&there), "{error}");
        assert!(most_memory() < 1 << 60, "Linux says how much it has");
    }

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
