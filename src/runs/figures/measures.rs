//! Charts by round of what was measured of aggregations, to explain a run's scores.

use regatta_actors::protocol::round_record::RoundRecord;

use crate::aggregate::measures::{BASE_DELTA_NORM, CLIENT_DRIFT, IDEAL_NORM, RESIDUAL_NORM};
use crate::runs::figures::chart::{Chart, Curve, over_rounds};
use crate::runs::figures::theme::colour;

/// Clients' drift, as captions explain it.
pub const DRIFT_IN_WORDS: &str = "Clients' drift: the mean distance of their adapters from their mean, \
     over the mean distance from where they started";

/// The norm of the base delta, as captions explain it.
pub const BASE_DELTA_IN_WORDS: &str =
    "Frobenius norm of what aggregation has added to the frozen weights so far";

/// The charts of the residual, the drift and the base delta; one is empty if the run has not recorded
/// its measure.
#[must_use]
pub fn charts(rounds: &[RoundRecord]) -> [Chart; 3] {
    let curve = |title: &str, number: usize, name: &str| {
        let points = over_rounds(rounds, |record| record.measures.get(name).copied());
        Curve::new(title, colour(number), points)
    };
    let residual = Chart {
        name: "residual",
        caption: "The ideal update and its residual, what the aggregated adapter misses of it, by \
                  round: Frobenius norms over all adapted layers. Exact methods merge the residual \
                  into the base."
            .to_owned(),
        y: "norm".to_owned(),
        from_zero: true,
        curves: vec![
            curve("ideal update", 0, IDEAL_NORM),
            curve("residual", 1, RESIDUAL_NORM),
        ],
        ..Chart::default()
    };
    let drift = Chart {
        name: "drift",
        caption: format!("{DRIFT_IN_WORDS}, by round."),
        y: "clients' drift".to_owned(),
        from_zero: true,
        curves: vec![curve("clients' drift", 0, CLIENT_DRIFT)],
        ..Chart::default()
    };
    let base_delta = Chart {
        name: "base_delta",
        caption: format!("{BASE_DELTA_IN_WORDS}, by round."),
        y: "norm added to the base".to_owned(),
        from_zero: true,
        curves: vec![curve("added to the base", 0, BASE_DELTA_NORM)],
        ..Chart::default()
    };
    [residual, drift, base_delta]
}
