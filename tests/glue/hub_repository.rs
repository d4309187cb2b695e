//! What the hub of these tests has, and what it does wrong.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

/// One repository with its files at one commit.
pub struct Repository {
    pub name: String,
    pub commit: String,
    pub files: BTreeMap<String, File>,
    faults: Vec<Fault>,
    /// How often a fault that passes has yet to show.
    times: AtomicU32,
}

pub struct File {
    /// `None` for a file that is listed, but not there.
    pub content: Option<Vec<u8>>,
    /// Whether it is served from elsewhere, as large files are.
    pub is_large: bool,
}

/// What the hub, or whoever answers in its place, does with large files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Breaks off in the middle.
    BreaksOff,
    /// Sends other content of the same length.
    Corrupts,
    /// Sends the whole when asked for a part.
    IgnoresRange,
    /// Sends another part than it is asked for.
    ShiftsRange,
    /// Has no such part.
    DeniesRange,
    /// Sends more than it says.
    SendsMore,
    /// Says another length than it sends.
    SaysLength(u64),
    /// Does not say a length.
    SaysNoLength,
    /// Gives this tag.
    Tag(String),
    /// Gives this commit with a file.
    Commit(String),
    /// Sends back to where the request came to.
    Circles,
    /// Sends to this address.
    Location(String),
}

impl Repository {
    /// An empty one, `name` being `models/…` or `datasets/…`.
    pub fn new(name: &str, commit: &str) -> Self {
        Self {
            name: name.to_owned(),
            commit: commit.to_owned(),
            files: BTreeMap::new(),
            faults: Vec::new(),
            times: AtomicU32::new(u32::MAX),
        }
    }

    pub fn with(self, file: &str, content: Vec<u8>) -> Self {
        self.with_file(file, Some(content), false)
    }

    pub fn with_large(self, file: &str, content: Vec<u8>) -> Self {
        self.with_file(file, Some(content), true)
    }

    pub fn without_content(self, file: &str) -> Self {
        self.with_file(file, None, false)
    }

    fn with_file(mut self, name: &str, content: Option<Vec<u8>>, is_large: bool) -> Self {
        self.files
            .insert(name.to_owned(), File { content, is_large });
        self
    }

    /// A hub with this fault, each time.
    pub fn that(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// A hub with this fault, which passes after N times.
    pub fn that_once(mut self, fault: Fault) -> Self {
        self.times = AtomicU32::new(1);
        self.that(fault)
    }

    /// Whether a fault shows now.
    pub fn shows(&self, fault: &Fault) -> bool {
        let take = |left: u32| left.checked_sub(1);
        self.faults.contains(fault)
            && self
                .times
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                .is_ok()
    }

    /// What the first fault that has it says.
    pub fn says<T>(&self, get: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        self.faults.iter().find_map(get)
    }

    /// The tag of a file: SHA-256 of a large one, git's blob of another.
    pub fn etag(&self, file: &str) -> String {
        let tag = |fault: &Fault| match fault {
            Fault::Tag(tag) => Some(tag.clone()),
            _ => None,
        };
        let file = &self.files[file];
        let content = file.content.as_deref().unwrap_or_default();
        if file.is_large {
            return self
                .says(tag)
                .unwrap_or_else(|| hexadecimal(digest(&SHA256, content).as_ref()));
        }
        let header = format!("blob {}\0", content.len());
        let blob = [header.as_bytes(), content].concat();
        hexadecimal(digest(&SHA1_FOR_LEGACY_USE_ONLY, &blob).as_ref())
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
