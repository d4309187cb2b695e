//! The program from outside: what it accepts, what it refuses and with which words, and what a
//! run leaves behind.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod control;
mod input;
mod lane;
mod methods;
mod models;
mod random_model;
mod report;
mod run;
mod scenarios;
mod survival;
mod sweep;
mod tensorboard;
mod web;
mod workplace;
