//! The program from outside: what it accepts, what it refuses and with which words, and what a
//! run leaves behind.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod base_precision;
mod control;
mod e2e;
mod flood;
mod folder;
mod gguf;
mod hostile;
mod input;
mod instruct;
mod instruct_refused;
mod lane;
mod local_baseline;
mod methods;
mod models;
mod older_run;
mod own_data;
mod own_data_refused;
mod paths;
mod ports;
mod precision;
mod random_model;
mod report;
mod run;
mod scenarios;
mod scores;
mod study;
mod survival;
mod sweep;
mod sweep_processes;
mod tensorboard;
mod together;
mod web;
mod workplace;
