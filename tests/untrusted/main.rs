//! Files of others, damaged in every way that comes to mind: what reads them gives a value or an
//! error that names the file, and never panics.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod damage;
mod properties;
mod readers;
mod samples;
