//! The most that a number of the settings may be. Beyond it, no memory could hold what it asks for,
//! and none of what is simulated here is so large: it is a slip of the hand, or meant ill.

/// Settings that count something, and the most of it.
const MOST: [(&str, u32); 10] = [
    ("num_clients", 1_000_000),
    ("max_seq_length", 1_000_000),
    ("r", MOST_RANK),
    ("ranks", MOST_RANK),
    ("rounds", 10_000_000),
    ("local_epochs", 1_000_000),
    ("batch_size", 1_000_000),
    ("eval_batch_size", 1_000_000),
    ("lanes", 1_024),
    ("threads_per_lane", 1_024),
];

const MOST_RANK: u32 = 65_536;

/// The most threads of all lanes together.
pub(crate) const MOST_THREADS: u32 = 8_192;

/// The most that the setting of that name may be.
pub(crate) fn most(key: &str) -> u32 {
    let found = MOST.iter().find(|(name, _)| *name == key);
    found.map_or(u32::MAX, |(_, most)| *most)
}
