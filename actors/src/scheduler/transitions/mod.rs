//! The state machine's transitions: what follows each input, and which phase comes next.
//!
//! A round is `Opening`, then `Collecting` (`collecting`), `Aggregating` and, when that is due,
//! `Evaluating` (`closing`). After it the state may be saved (`Settling`, `Saving`), the run may
//! wait (`Paused`) or end (`LastEvaluation`, `Finishing`, `Over`), and from almost anywhere the
//! server may be built again (`Recovering`): all this is in `run`.

mod closing;
mod collecting;
mod run;
