//! Which servers will do.

/// The oldest server that is known to work, as major and minor version.
pub(crate) const OLDEST: (u64, u64) = (2, 11);

/// Whether a server of this version, such as `2.15.1` or `2.11.0-RC.1`, is new enough. One that
/// cannot be read is not.
pub(crate) fn is_new_enough(version: &str) -> bool {
    let mut parts = version.trim_start_matches('v').split(['.', '-']);
    let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok());
    match (number(), number()) {
        (Some(major), Some(minor)) => (major, minor) >= OLDEST,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_before_2_11_are_too_old() {
        // The first is Debian 12's.
        for old in ["2.9.10", "2.10.29", "1.4.1", "", "nats", "2"] {
            assert!(!is_new_enough(old), "{old}");
        }
    }

    #[test]
    fn versions_from_2_11_are_new_enough() {
        for new in ["2.11.0", "2.15.1", "v2.12.0", "2.11.0-RC.1", "3.0.0"] {
            assert!(is_new_enough(new), "{new}");
        }
    }
}
