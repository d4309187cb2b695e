//! Scores of generated texts against references, as the E2E challenge computes them.

pub mod bleu;
pub mod cider;
pub mod corpus;
pub mod instance;
pub mod meteor;
pub mod mteval;
pub mod nist;
pub mod ptb;
pub mod rouge_l;
