//! Scores of generated texts against references, as the E2E challenge computes them.

pub mod mteval;
pub mod ptb;
