//! What an adapter takes of memory, before any of it is made.

use crate::adapter::info::LayerSize;
use crate::adapter::settings::AdapterPlan;
use crate::model::linear_layer::LinearLayer;

/// Copies that there are of a trained value at the least: the server's, and on a lane the client's
/// with its gradient and AdamW's two moments.
const COPIES: u64 = 5;

/// Bytes that training an adapter of rank `r` takes at the least: its trained values with all that
/// belongs to them, and the matrices that VeRA and SORF-VeRA draw.
#[must_use]
pub fn least_bytes(plan: &AdapterPlan, r: u32, layers: &[LinearLayer]) -> u64 {
    let (info, r) = (plan.kind.info(), u64::from(r));
    let size = |layer: &LinearLayer| (layer.d_in.unsigned_abs(), layer.d_out.unsigned_abs());
    let sizes: Vec<LayerSize> = layers.iter().map(size).collect();
    let trained = sizes.iter().map(|size| (info.trained_values)(r, *size));
    let trained = trained.fold(0, u64::saturating_add);
    trained
        .saturating_mul(COPIES)
        .saturating_add((info.drawn_values)(r, &sizes))
        .saturating_mul(size_of::<f32>() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::settings::AdapterKind;
    use crate::model::linear_layer::WeightLayout;

    fn layers(number: i64, d_in: i64, d_out: i64) -> Vec<LinearLayer> {
        let layer = |layer| LinearLayer {
            module: format!("layer.{layer}"),
            layer,
            d_in,
            d_out,
            layout: WeightLayout::OutIn,
        };
        (0..number).map(layer).collect()
    }

    fn bytes(kind: AdapterKind, r: u32, layers: &[LinearLayer]) -> u64 {
        least_bytes(&AdapterPlan::plain(kind, r), r, layers)
    }

    #[test]
    fn what_is_trained_counts_with_gradient_and_moments_and_what_is_drawn_once() {
        let layers = layers(3, 8, 6);
        assert_eq!(bytes(AdapterKind::Lora, 2, &layers), 4 * 5 * 3 * 2 * 14);
        let vera = 4 * (5 * 3 * (2 + 6) + 2 * (8 + 6));
        assert_eq!(bytes(AdapterKind::Vera, 2, &layers), vera);
        let sorf = 4 * (5 * 3 * (2 + 6) + 2 * (8 + 6) + 36);
        assert_eq!(bytes(AdapterKind::SorfVera, 2, &layers), sorf);
    }

    #[test]
    fn sizes_beyond_all_measure_do_not_overflow() {
        let layers = layers(2, i64::MAX, 2);
        for kind in [AdapterKind::Lora, AdapterKind::Vera, AdapterKind::SorfVera] {
            assert_eq!(bytes(kind, u32::MAX, &layers), u64::MAX, "{kind:?}");
        }
    }
}
