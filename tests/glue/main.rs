//! GLUE's files, tokens, scores and submissions, by the public interface.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod data;
#[cfg(feature = "hub")]
mod hub;
#[cfg(feature = "hub")]
mod hub_faults;
#[cfg(feature = "hub")]
mod hub_repository;
#[cfg(feature = "hub")]
mod hub_server;
mod metrics;
mod misfits;
mod parquet;
mod real;
mod submission;
mod summary;
mod support;
mod tokenizers;
mod tokens;
