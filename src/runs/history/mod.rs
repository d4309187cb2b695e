//! What happened in a run, event by event: live, or afterwards from its ledger.
//!
//! | file | holds |
//! |---|---|
//! | `participation` | each selection of a client and how it ended: what the others are made of |
//! | `clients` | statistics of the run and of its clients, of a size that does not grow with it |
//! | `totals` | the totals of its rounds |
//! | `collected` | all of it, for reports |
//! | `hosts` | hosts that trained for it, of which the ledger knows nothing |
//! | `states` | what each client was doing when, for the timeline |

pub mod clients;
pub mod collected;
pub mod hosts;
pub mod participation;
pub mod states;
pub mod totals;

#[cfg(test)]
mod tests;
