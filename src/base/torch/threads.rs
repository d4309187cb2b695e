//! Threads of libtorch, and work spread over all cores.

use std::panic::resume_unwind;
use std::thread;

unsafe extern "C" {
    fn regatta_look_at_threads();
    #[cfg(test)]
    fn regatta_sharing_threads() -> std::ffi::c_int;
}

/// Lets operations of this thread use N threads of the CPU.
///
/// A thread's first look at its number of threads takes over what any thread set last, whatever
/// this one set before. Two threads that set different numbers would so decide by a race how
/// sums are divided, and with it their last bits. So look first, and set afterwards: libtorch's own
/// look, and ours, which a kernel would have in the midst of a lane's work.
pub fn use_threads(threads: u32) {
    tch::get_num_threads();
    // SAFETY: nothing is handed over.
    unsafe { regatta_look_at_threads() };
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
}

/// Among how many threads our kernels share their work where this thread calls them: as many as it may
/// use, unless they were compiled without OpenMP.
#[cfg(test)]
pub(crate) fn sharing_threads() -> u32 {
    // SAFETY: nothing is handed over.
    unsafe { regatta_sharing_threads() }.unsigned_abs()
}

/// Cores that this process may use.
#[must_use]
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Does the same to each of some tasks, side by side on the machine's cores; the results in order.
/// A task's thread computes alone and without gradients, so the bits of its result depend on
/// nothing but the task.
///
/// # Panics
/// If a task does.
pub fn in_parallel<T: Send, U: Send>(tasks: Vec<T>, work: impl Fn(T) -> U + Sync) -> Vec<U> {
    in_parallel_on(cores(), tasks, work)
}

/// [`in_parallel`] on at most N threads.
///
/// # Panics
/// If a task does.
pub fn in_parallel_on<T: Send, U: Send>(
    threads: usize,
    tasks: Vec<T>,
    work: impl Fn(T) -> U + Sync,
) -> Vec<U> {
    let share = tasks.len().div_ceil(threads.max(1)).max(1);
    let (mut tasks, work) = (tasks.into_iter(), &work);
    thread::scope(|scope| {
        let mut threads = Vec::new();
        while tasks.len() > 0 {
            let own: Vec<T> = tasks.by_ref().take(share).collect();
            threads.push(scope.spawn(move || {
                use_threads(1);
                let _guard = tch::no_grad_guard();
                own.into_iter().map(work).collect::<Vec<U>>()
            }));
        }
        let joined = threads.into_iter().map(|thread| thread.join());
        joined
            .flat_map(|results| results.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}
