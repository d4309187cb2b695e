//! Scores of generated texts against references, as the E2E challenge computes them.
//!
//! | file | holds |
//! |---|---|
//! | [`scores`] | all scores of a corpus: begin here |
//! | [`instance`], [`corpus`] | what is scored: texts, and their n-grams as numbers |
//! | [`mteval`], [`ptb`] | the tokens of a text, for BLEU and NIST and for the others |
//! | [`bleu`], [`nist`], [`rouge_l`], [`cider`] | a metric each |
//! | [`meteor`] | METEOR, by its own program |
//!
//! Sums go over n-grams in the order of the texts, so that a corpus has the same bits each time.

pub mod bleu;
pub mod cider;
pub mod corpus;
pub mod instance;
pub mod meteor;
pub mod mteval;
pub mod nist;
pub mod ptb;
pub mod rouge_l;
pub mod scores;
