//! Keeps a panic in the workload's code from taking a thread down.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls `work`; a panic becomes an error with its message.
///
/// Whatever `work` was changing when it panicked must be thrown away by the caller: that is why
/// asserting unwind safety is right.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| message(panic.as_ref()))
}

/// What a panic said, in a line: of an error that it shows as Rust code has it, what comes before
/// the first line break. The rest is reported where panics are logged.
pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("(no message)").trim();
    let line = text.lines().next().unwrap_or_default();
    let line = line.split("\\n").next().unwrap_or_default();
    format!("panicked: {line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_in_one_line() {
        let said = |text: &'static str| guarded(|| panic!("{text}")).unwrap_err();
        assert_eq!(said("one\ntwo"), "panicked: one");
        assert_eq!(said("Torch(\"one\\ntwo\")"), "panicked: Torch(\"one");
        assert_eq!(said(""), "panicked: ");
    }
}
