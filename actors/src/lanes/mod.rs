//! Device lanes: threads that own a device and train clients' jobs, one at a time each.

pub(crate) mod local;
pub(crate) mod progress;
pub(crate) mod queue;
pub(crate) mod thread;
pub(crate) mod watchdog;
