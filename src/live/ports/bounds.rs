//! How many file handles the process may have, and how many of them are for connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections that all ports together have at most, however many file handles there are.
const MOST: u64 = 512;
/// Connections that a port has at least.
const FEWEST: usize = 4;
/// File handles that a run needs to start: a quarter is for connections, and about thirty
/// are open while a run on a CPU writes a checkpoint.
const LEAST: u64 = 96;

/// There are too few file handles for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this process may open only {0} files at a time, but a run needs {LEAST}; raise the limit with \
     `ulimit -n {LEAST}` or more"
)]
pub struct TooFewHandles(u64);

/// How many connections each port has at most: together a quarter of the file handles that the
/// process may have, so that there are always some for checkpoints and results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The live page's.
    pub page: usize,
    /// The metrics'.
    pub metrics: usize,
    /// The control line's.
    pub control: usize,
}

impl Bounds {
    /// The bounds of this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self::of(limit())
    }

    /// The bounds of a process that may have N file handles.
    #[must_use]
    pub fn of(handles: u64) -> Self {
        let all = usize::try_from((handles / 4).min(MOST)).unwrap_or_default();
        Self {
            page: (all / 2).max(FEWEST),
            metrics: (all / 4).max(FEWEST),
            control: (all / 4).max(FEWEST),
        }
    }

    /// Whether this process may have as many file handles as a run needs.
    ///
    /// # Errors
    /// If it may not.
    pub fn check() -> Result<(), TooFewHandles> {
        enough(limit())
    }
}

fn enough(handles: u64) -> Result<(), TooFewHandles> {
    if handles < LEAST {
        return Err(TooFewHandles(handles));
    }
    Ok(())
}

/// File handles that this process may have.
fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Lets this process, and what it starts, have as many file handles as the system allows without
/// further rights. Where that is refused, the limit stays as it is.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        let raised = Rlimit {
            current: maximum,
            maximum,
        };
        // `Bounds` goes by the limit that there is in the end.
        let _ = setrlimit(Resource::Nofile, raised);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_get_a_quarter_of_the_handles_and_never_more_than_ports_need() {
        for (handles, [page, metrics, control]) in [
            (u64::MAX, [256, 128, 128]),
            (1 << 20, [256, 128, 128]),
            (1024, [128, 64, 64]),
            (LEAST, [12, 6, 6]),
            (0, [FEWEST; 3]),
        ] {
            let bounds = Bounds::of(handles);
            assert_eq!(
                [bounds.page, bounds.metrics, bounds.control],
                [page, metrics, control],
                "{handles}"
            );
        }
    }

    #[test]
    fn a_limit_too_low_for_a_run_is_named_with_what_is_needed() {
        assert_eq!(enough(LEAST), Ok(()));
        let said = enough(20).unwrap_err().to_string();
        assert!(
            said.contains("only 20 files") && said.contains("ulimit -n 96"),
            "{said}"
        );
    }

    #[test]
    fn the_limit_is_raised_to_the_one_that_the_system_allows() {
        raise_limit();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
    }
}
