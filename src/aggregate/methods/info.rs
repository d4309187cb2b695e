//! What is known of a method beside how it aggregates: its row in the table of methods.

use std::fmt;

use crate::adapter::settings::AdapterKind;
use crate::aggregate::Method;

/// What an exported adapter lacks without the base delta, where a residual was merged.
pub const SHORT_OF_THE_RESIDUAL: &str = "without that change the model is short of what averaging \
     the factors loses, and scores otherwise than the run says";

/// A method of aggregation that can be asked for by name.
pub struct MethodInfo {
    /// Its name, after its paper, in lower case.
    pub name: &'static str,
    /// Other names by which it is read and never written, the oldest first.
    pub aliases: &'static [&'static str],
    /// The name in the literature.
    pub title: &'static str,
    /// Its paper: authors, title and year; or that there is none, and its origin.
    pub paper: &'static str,
    /// What it does, in a phrase for a help text.
    pub help: &'static str,
    /// The adapters that it takes; at least one.
    pub adapters: &'static [AdapterKind],
    /// Why it takes no other adapters; empty where it takes all.
    pub why_these_adapters: &'static str,
    /// Whether the aggregate is the ideal update, up to rounding.
    pub exact: bool,
    /// Whether the next state depends on the updates through their means alone
    /// ([`Round::take_means`](crate::aggregate::Round::take_means)), so that the updates may be
    /// exchanged for their mean.
    pub linear: bool,
    /// Whether it takes updates that started from an earlier state.
    pub takes_stale: bool,
    /// Why it takes none of these; empty where it does.
    pub why_not_stale: &'static str,
    /// Whether the clients' ranks may differ.
    pub mixed_ranks: bool,
    /// Whether it merges a residual into the base, so that `residual_scale` has a meaning.
    pub merges_residual: bool,
    /// Whether `vera_scale` has a meaning: whether it merges a residual of VeRA or SORF-VeRA.
    pub vera_scale: bool,
    /// What an exported adapter lacks without the base delta, as a clause.
    pub without_delta: &'static str,
    /// How it aggregates.
    pub method: &'static dyn Method,
}

impl MethodInfo {
    /// The name that runs were first recorded with. What identifies a run keeps it, so that a run
    /// from before a method was renamed is still recognised.
    #[must_use]
    pub fn first_name(&self) -> &'static str {
        self.aliases.first().copied().unwrap_or(self.name)
    }

    /// Whether this is one of its names.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }
}

impl fmt::Debug for MethodInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MethodInfo").field(&self.name).finish()
    }
}
