//! Regatta simulates federated fine-tuning of transformer encoders on GLUE.
//!
//! A fleet of clients trains LoRA, VeRA or SORF-VeRA adapters, each on its own shard; a server
//! aggregates them exactly; actors drive the rounds. The crate [`regatta_actors`] holds the
//! actors and knows no tensor; this one holds what is learned, and the program around it.
//!
//! # Layout
//!
//! What is learned, from the inside out:
//!
//! * [`tensors`]: named float32 tensors on the host, which travel and are written to files.
//! * [`model`]: RoBERTa and BERT classifiers from Hugging Face snapshots.
//! * [`adapter`]: LoRA, VeRA, SORF-VeRA; the trait that another one implements.
//! * [`aggregate`]: FedEx and eight other methods; the trait, and how exactness is measured.
//! * [`train`]: one client's round: optimiser, schedule, precision, the loop over batches.
//! * [`federation`]: the above behind the traits that the actors call.
//!
//! What it is learned from, and what comes of it:
//!
//! * [`glue`]: tasks, files, partitions, tokens, batches, metrics, submissions.
//! * [`peft`]: adapters in the files of Python's PEFT.
//! * [`record`]: the run folder.
//! * [`report`]: a run afterwards: figures, tables, one page.
//! * [`compare`]: runs side by side.
//! * [`telemetry`]: Prometheus metrics and logs.
//! * [`web`]: the live page.
//!
//! How it is asked for:
//!
//! * [`config`]: scenario files and flags, checked into a [`config::Plan`].
//! * [`inputs`]: the files that a plan names, read and checked.
//! * [`control`]: steering a run from another process.
//! * [`sweep`]: many runs, each in a process of its own.
//! * [`calibrate`]: how lanes divide the cores best, measured and remembered.
//! * [`cli`]: one file per subcommand.
//!
//! And below everything: [`files`] (whole or not there), [`ports`] (connections, bounded), [`table`]
//! (shown, or written for programs), [`clock`] (the machine's, which may be wrong), [`torch`] (what
//! tch does not offer) and [`allocator`].

pub mod adapter;
pub mod aggregate;
pub mod allocator;
pub mod calibrate;
pub mod cli;
pub mod clock;
pub mod compare;
pub mod config;
pub mod control;
pub mod federation;
pub mod files;
pub mod glue;
pub mod inputs;
pub mod model;
pub mod peft;
pub mod ports;
pub mod record;
pub mod report;
pub mod sweep;
pub mod table;
pub mod telemetry;
pub mod tensors;
pub mod torch;
pub mod train;
pub mod web;
