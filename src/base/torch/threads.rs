//! Threads of libtorch, and work spread over all cores.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread;

unsafe extern "C" {
    fn regatta_look_at_threads();
    fn regatta_share(count: i64, work: extern "C" fn(*const c_void, i64), context: *const c_void);
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
    let share = tasks.len().div_ceil(cores()).max(1);
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

/// Does the same to each of some tasks, on the threads that operations of this thread share their work
/// among, which wait for it already; the results in order. An operation within a task is its thread's alone.
///
/// # Panics
/// If a task does.
pub fn in_parallel_here<T: Send, U: Send>(tasks: Vec<T>, work: impl Fn(T) -> U + Sync) -> Vec<U> {
    extern "C" fn call<F: Fn(usize) + Sync>(context: *const c_void, at: i64) {
        // SAFETY: it is the closure below, which lives until all calls have come back.
        let finish = unsafe { &*context.cast::<F>() };
        finish(at.unsigned_abs() as usize);
    }
    fn share<F: Fn(usize) + Sync>(count: usize, finish: &F) {
        let context = std::ptr::from_ref(finish).cast();
        // SAFETY: the calls are over when this one is, and `finish` lets no panic out.
        unsafe { regatta_share(i64::try_from(count).unwrap_or(i64::MAX), call::<F>, context) };
    }
    let waiting: Vec<_> = tasks
        .into_iter()
        .map(|task| Mutex::new(Some(task)))
        .collect();
    let ended: Vec<_> = waiting.iter().map(|_| Mutex::new(None)).collect();
    share(waiting.len(), &|at| {
        let task = waiting[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let result = task.map(|task| catch_unwind(AssertUnwindSafe(|| work(task))));
        *ended[at].lock().unwrap_or_else(PoisonError::into_inner) = result;
    });
    let results = ended
        .into_iter()
        .filter_map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner));
    results
        .map(|result| result.unwrap_or_else(|panic| resume_unwind(panic)))
        .collect()
}
