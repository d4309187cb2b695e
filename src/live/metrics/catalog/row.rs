//! A row of the catalogue.

use metrics::Unit;

use crate::live::metrics::metric::Metric;

pub(crate) const fn metric<const L: usize>(
    name: &'static str,
    unit: Option<Unit>,
    labels: [&'static str; L],
    help: &'static str,
) -> Metric<L> {
    Metric {
        name,
        help,
        unit,
        labels,
    }
}

pub(crate) const SECONDS: Option<Unit> = Some(Unit::Seconds);

pub(crate) const BYTES: Option<Unit> = Some(Unit::Bytes);
