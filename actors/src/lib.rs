//! Federated rounds as actors, generic over what is learned.

pub mod learner;
pub mod random;
pub mod record;
