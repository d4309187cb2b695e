//! Kinds of metrics, typed: a gauge cannot be counted up, and no label can be left out.

// The one place that calls the macros; names come from `catalog.rs`.
#![allow(clippy::disallowed_macros)]

use metrics::{Label, Unit};

/// What all kinds have: `L` is the number of labels.
#[derive(Debug)]
pub struct Metric<const L: usize> {
    /// The name as Prometheus shows it.
    pub name: &'static str,
    /// Its description, for `# HELP`.
    pub help: &'static str,
    /// Its unit, which the name ends in; [`Unit::Count`] when it has none.
    pub unit: Unit,
    /// Names of its labels.
    pub labels: [&'static str; L],
}

impl<const L: usize> Metric<L> {
    fn labelled(&self, values: [&str; L]) -> Vec<Label> {
        let pairs = self.labels.into_iter().zip(values);
        pairs
            .map(|(name, value)| Label::new(name, value.to_owned()))
            .collect()
    }
}

/// A value that goes up and down.
#[derive(Debug)]
pub struct Gauge<const L: usize> {
    /// Name, help, unit and labels.
    pub metric: Metric<L>,
}

impl<const L: usize> Gauge<L> {
    /// Sets the series with these label values.
    pub fn set(&self, labels: [&str; L], value: f64) {
        metrics::gauge!(self.metric.name, self.metric.labelled(labels)).set(value);
    }

    /// Adds to the series with these label values.
    pub fn shift(&self, labels: [&str; L], by: f64) {
        metrics::gauge!(self.metric.name, self.metric.labelled(labels)).increment(by);
    }
}

/// A number that only grows.
#[derive(Debug)]
pub struct Counter<const L: usize> {
    /// Name, help, unit and labels.
    pub metric: Metric<L>,
}

impl<const L: usize> Counter<L> {
    /// Counts the series with these label values up; by 0, it begins to exist.
    pub fn add(&self, labels: [&str; L], by: u64) {
        metrics::counter!(self.metric.name, self.metric.labelled(labels)).increment(by);
    }
}

/// A distribution over fixed buckets.
#[derive(Debug)]
pub struct Histogram<const L: usize> {
    /// Name, help, unit and labels.
    pub metric: Metric<L>,
    /// Upper bounds of the buckets.
    pub buckets: &'static [f64],
}

impl<const L: usize> Histogram<L> {
    /// Brings the series with these label values into being, with nothing in its buckets.
    pub fn begin(&self, labels: [&str; L]) {
        let _ = metrics::histogram!(self.metric.name, self.metric.labelled(labels));
    }

    /// Notes a value in the series with these label values.
    pub fn record(&self, labels: [&str; L], value: f64) {
        metrics::histogram!(self.metric.name, self.metric.labelled(labels)).record(value);
    }
}

/// A metric of any kind, as the catalogue lists it.
pub trait Described: Sync {
    /// The name as Prometheus shows it.
    fn name(&self) -> &'static str;
    /// Its description.
    fn help(&self) -> &'static str;
    /// `gauge`, `counter` or `histogram`.
    fn kind(&self) -> &'static str;
    /// Names of its labels.
    fn labels(&self) -> &[&'static str];
    /// Upper bounds of its buckets; `None` unless it is a histogram.
    fn buckets(&self) -> Option<&'static [f64]> {
        None
    }
    /// Tells the recorder in use what the metric means.
    fn describe(&self);
}

impl<const L: usize> Described for Gauge<L> {
    fn name(&self) -> &'static str {
        self.metric.name
    }
    fn help(&self) -> &'static str {
        self.metric.help
    }
    fn kind(&self) -> &'static str {
        "gauge"
    }
    fn labels(&self) -> &[&'static str] {
        &self.metric.labels
    }
    fn describe(&self) {
        metrics::describe_gauge!(self.metric.name, self.metric.unit, self.metric.help);
    }
}

impl<const L: usize> Described for Counter<L> {
    fn name(&self) -> &'static str {
        self.metric.name
    }
    fn help(&self) -> &'static str {
        self.metric.help
    }
    fn kind(&self) -> &'static str {
        "counter"
    }
    fn labels(&self) -> &[&'static str] {
        &self.metric.labels
    }
    fn describe(&self) {
        metrics::describe_counter!(self.metric.name, self.metric.unit, self.metric.help);
    }
}

impl<const L: usize> Described for Histogram<L> {
    fn name(&self) -> &'static str {
        self.metric.name
    }
    fn help(&self) -> &'static str {
        self.metric.help
    }
    fn kind(&self) -> &'static str {
        "histogram"
    }
    fn labels(&self) -> &[&'static str] {
        &self.metric.labels
    }
    fn buckets(&self) -> Option<&'static [f64]> {
        Some(self.buckets)
    }
    fn describe(&self) {
        metrics::describe_histogram!(self.metric.name, self.metric.unit, self.metric.help);
    }
}
