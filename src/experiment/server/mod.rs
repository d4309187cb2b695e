//! The server: checks updates, aggregates and scores, and keeps the best state.
//!
//! | file | holds |
//! |---|---|
//! | [`state`] | the server itself: the global state, what clients started from, the best so far |
//! | `pipeline` | a round's updates become the next state |
//! | `scores` | its scores on the validation splits, and the best state so far |
//! | `texts` | texts that the model writes, and the scores of the model before training |
//! | `checkpoint` | the state as bytes |
//! | [`results`] | the results of a run: model and predictions |

pub(crate) mod checkpoint;
pub(crate) mod pipeline;
pub mod results;
pub(crate) mod scores;
pub mod state;
pub(crate) mod texts;
