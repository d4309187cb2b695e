//! A run while it is under way.
//!
//! | folder | holds |
//! |---|---|
//! | `terminal` | lines, bars and tables on the terminal |
//! | [`page`] | the live page |
//! | [`metrics`] | metrics for Prometheus |
//! | [`tensorboard`] | event files for TensorBoard |
//! | [`log`] | log lines and files |
//! | [`control`] | the line that steers a run |
//! | [`ports`] | bounded connections, which page, metrics and control share |

pub mod control;
pub mod log;
pub mod metrics;
pub mod page;
pub mod ports;
pub mod tensorboard;
pub(crate) mod terminal;
