//! Federated fine-tuning of transformer encoders on GLUE, simulated.

pub mod glue;
