//! The memory allocator of the whole process, libtorch's `malloc` included: mimalloc.
//!
//! A training step asks for hundreds of tensors of a few megabytes. The C library takes such pieces
//! from the system and returns them each time, to have their pages cleared again; mimalloc, told
//! by [`keep_what_is_freed`], hands them out again.

use std::fs;

use crate::base::table::show_bytes;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// mimalloc's number for the milliseconds after which it gives freed pages back.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Freed pages stay until [`give_back`].
pub fn keep_what_is_freed() {
    // SAFETY: sets a number that is read atomically.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 1_000_000_000) }
}

/// Returns unused memory to the system: where work of another kind begins, whose
/// pieces have other sizes.
pub fn give_back() {
    // SAFETY: may be called at any time by any thread.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// Refuses what needs more memory than there could ever be, before it is asked for: a program that
/// is refused memory can only abort.
///
/// # Errors
/// If there is too little: the memory needed and the memory available.
pub fn require(bytes: u64) -> Result<(), String> {
    let there = most_memory();
    if bytes <= there {
        return Ok(());
    }
    let (needed, there) = (show_bytes(bytes), show_bytes(there));
    Err(format!(
        "this needs at least {needed} of memory, but only {there} are available"
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

/// The limit of `ulimit -v`.
fn address_space() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/limits").ok()?;
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The limit of the container or service.
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
