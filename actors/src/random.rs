//! Keyed random streams: every draw has a key, and no draw disturbs another.
//!
//! A stream's seed is the BLAKE3 hash of (run seed, purpose, name, round, attempt), so adding a
//! client or a purpose leaves all other streams as they were, and no order of threads matters.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The generator of every stream: portable and identical on every machine.
pub type Stream = ChaCha8Rng;

/// The key of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamKey<'a> {
    /// The run's seed.
    pub seed: u64,
    /// What the draws are for: `"shuffle"`, `"dropout"`, `"sampling"`, …
    pub purpose: &'a str,
    /// The owner of the draws: a client's name, or empty for the run itself.
    pub name: &'a str,
    /// The round, from 1; 0 for what is drawn once per run.
    pub round: u32,
    /// The attempt within the round, from 0.
    pub attempt: u32,
}

impl StreamKey<'_> {
    /// The 32-byte seed that the key stands for.
    #[must_use]
    pub fn to_seed(self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("regatta random stream v1");
        hasher.update(&self.seed.to_le_bytes());
        for text in [self.purpose, self.name] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.update(&self.round.to_le_bytes());
        hasher.update(&self.attempt.to_le_bytes());
        *hasher.finalize().as_bytes()
    }

    /// The stream itself, at its beginning.
    #[must_use]
    pub fn stream(self) -> Stream {
        Stream::from_seed(self.to_seed())
    }
}
