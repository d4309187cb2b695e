//! What runs leave behind, and what is made of it.
//!
//! | folder | holds |
//! |---|---|
//! | [`folder`] | the run folder: its files, its lock, its summary |
//! | [`generated`] | texts that the model wrote, by round |
//! | [`samples`] | the first of these texts, to be shown |
//! | [`history`] | what happened, read from the ledger |
//! | [`local_baselines`] | what each client reached alone |
//! | [`figures`] | drawings as SVG and PNG |
//! | [`report`] | one run: tables, figures, a page |
//! | [`compare`] | runs side by side |
//! | [`sweep`] | many runs, each in a process of its own |
//! | [`export`] | a run's model for other programs |

pub mod compare;
pub mod export;
pub mod figures;
pub mod folder;
pub mod generated;
pub mod history;
pub mod local_baselines;
pub mod report;
pub mod samples;
pub mod sweep;
