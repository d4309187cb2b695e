//! The server: checks updates, aggregates and scores, and keeps the best state.
//!
//! | file | holds |
//! |---|---|
//! | [`state`] | the server itself: the global state, what clients started from, the best so far |
//! | `pipeline` | a round's updates become the next state |
//! | `room` | what it does where memory does not suffice |
//! | `scores` | its scores on the validation splits, and the best state so far |
//! | `checkpoint` | the state as bytes |
//! | [`results`] | the results of a run: model and predictions |

pub(crate) mod checkpoint;
pub(crate) mod pipeline;
pub mod results;
pub(crate) mod room;
pub(crate) mod scores;
pub mod state;
