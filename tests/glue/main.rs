//! GLUE's files, tokens, scores and submissions, by the public interface.

mod data;
mod metrics;
mod misfits;
mod real;
mod submission;
mod support;
mod tokens;
