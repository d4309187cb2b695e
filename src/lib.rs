//! Regatta simulates federated fine-tuning of transformers: encoders on GLUE, decoders on E2E NLG.
//!
//! A fleet of clients trains LoRA, VeRA or SORF-VeRA adapters, each on its own shard; a server
//! aggregates them exactly; actors drive the rounds. The crate [`regatta_actors`] holds the
//! actors and knows no tensor; this one holds what is trained, and the program around it.
//!
//! # Layout
//!
//! Rooms from the bottom up; each imports only from those above it in this list:
//!
//! * [`base`]: files, tables, tensors on the host, time, the hub, libtorch, the machine.
//! * [`model`]: encoders and decoders with their heads, from Hugging Face snapshots or GGUF files.
//! * [`data`]: splits, columns, file formats, partitions, tokens, batches; it knows no task.
//! * [`adapter`]: LoRA, VeRA, SORF-VeRA, and their files as Python's PEFT writes them.
//! * [`tasks`]: GLUE's nine tasks, E2E NLG, and their metrics.
//! * [`train`]: one client's round: optimiser, schedule, precision, the loop over batches.
//! * [`aggregate`]: FedEx and eight other methods, and how exactness is measured.
//! * [`config`]: scenario files and flags, checked into a [`config::plan::Plan`].
//! * [`runs`]: the run folder, and what is made of it: reports, comparisons, sweeps, exports.
//! * [`experiment`]: all of the above, through the traits that the actors call.
//! * [`live`]: a run while it is under way: terminal, page, metrics, logs, the control line.
//! * [`cli`]: one file per subcommand.

pub mod adapter;
pub mod aggregate;
pub mod base;
pub mod cli;
pub mod config;
pub mod data;
pub mod experiment;
pub mod live;
pub mod model;
pub mod runs;
pub mod tasks;
pub mod train;
