//! Updates corrupted on purpose, as scripted faults ask for.

use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use regatta_actors::plan::fault::Corruption;
use regatta_actors::random::Stream;
use regatta_actors::workload::update::BoxError;

use crate::base::tensors::{HostTensor, TensorMap};
use crate::experiment::payload::ClientUpdate;

/// Corrupts an update that was trained from `start`; what is drawn comes from `stream`, tensor by
/// tensor in name order.
///
/// - `nan`: one value of each tensor is not a number.
/// - `wrong_shape`: one tensor has a row more.
/// - `noise(scale)`: each value gets normal noise of `scale` times its tensor's root mean square.
/// - `sign_flip`: the client sends start − (trained − start), a step as long as its own in the
///   opposite direction (the sign-flipping attack of Li et al., RSA, AAAI 2019, of magnitude 1).
///
/// # Errors
/// For a corruption that is not one of these, and for a tensor that `start` lacks.
pub(crate) fn corrupt(
    update: &mut ClientUpdate,
    start: &TensorMap,
    corruption: Corruption,
    stream: &mut Stream,
) -> Result<(), BoxError> {
    let tensors = &mut update.0;
    match corruption {
        Corruption::Nan => each(tensors, |tensor| {
            let values = tensor.values_mut();
            if !values.is_empty() {
                values[stream.random_range(0..values.len())] = f32::NAN;
            }
        }),
        Corruption::WrongShape => lengthen(tensors, stream)?,
        Corruption::Noise { scale } => each(tensors, |tensor| add_noise(tensor, scale, stream)),
        Corruption::SignFlip => turn_back(tensors, start)?,
        other => return Err(format!("an update cannot be corrupted by {other:?}").into()),
    }
    Ok(())
}

fn each(tensors: &mut TensorMap, change: impl FnMut(&mut HostTensor)) {
    tensors.0.values_mut().for_each(change);
}

fn add_noise(tensor: &mut HostTensor, scale: f64, stream: &mut Stream) {
    let values = tensor.values_mut();
    let squares: f64 = values.iter().map(|x| f64::from(*x).powi(2)).sum();
    let deviation = scale * (squares / values.len().max(1) as f64).sqrt();
    for value in values {
        let noise: f64 = StandardNormal.sample(stream);
        *value += (deviation * noise) as f32;
    }
}

/// Turns each tensor's way from where it started into the opposite direction.
fn turn_back(tensors: &mut TensorMap, start: &TensorMap) -> Result<(), BoxError> {
    for (name, tensor) in &mut tensors.0 {
        let shape = tensor.shape().to_vec();
        let begun = start
            .get(name)
            .and_then(|whole| leading(whole, &shape))
            .ok_or_else(|| format!("the client did not start from a {name} of shape {shape:?}"))?;
        for (value, begun) in tensor.values_mut().iter_mut().zip(begun) {
            *value = 2.0 * begun - *value;
        }
    }
    Ok(())
}

/// The values of the leading part of a tensor: what a client of lower rank starts from.
fn leading(whole: &HostTensor, shape: &[i64]) -> Option<Vec<f32>> {
    let fits = whole.shape().len() == shape.len();
    if !fits
        || whole
            .shape()
            .iter()
            .zip(shape)
            .any(|(whole, part)| whole < part)
    {
        return None;
    }
    // Positions of the part's elements, one dimension after the other.
    let mut positions = vec![0_usize];
    for (&whole, &part) in whole.shape().iter().zip(shape) {
        let (whole, part) = (whole as usize, part as usize);
        let inner = positions.iter();
        positions = inner
            .flat_map(|at| (0..part).map(move |i| at * whole + i))
            .collect();
    }
    let values = positions.into_iter().map(|at| whole.values()[at]);
    Some(values.collect())
}

/// Gives a drawn tensor a row of zeros more.
fn lengthen(tensors: &mut TensorMap, stream: &mut Stream) -> Result<(), BoxError> {
    if tensors.is_empty() {
        return Ok(());
    }
    let position = stream.random_range(0..tensors.0.len());
    if let Some(tensor) = tensors.0.values_mut().nth(position) {
        let mut shape = tensor.shape().to_vec();
        let row: i64 = shape.iter().skip(1).product();
        match shape.first_mut() {
            Some(rows) => *rows += 1,
            None => shape.push(2),
        }
        let mut values = tensor.values().to_vec();
        values.resize(values.len() + row as usize, 0.0);
        *tensor = HostTensor::new(shape, values)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use regatta_actors::random::StreamKey;

    use super::*;
    use crate::aggregate::check::check_update;

    fn update() -> ClientUpdate {
        let tensor = |shape: &[i64], value| HostTensor::full(shape, value);
        let tensors = [("a", tensor(&[2, 3], 2.0)), ("b", tensor(&[4], -1.0))];
        ClientUpdate(
            tensors
                .into_iter()
                .map(|(n, t)| (n.to_owned(), t))
                .collect(),
        )
    }

    const KEY: StreamKey<'_> = StreamKey {
        seed: 1,
        purpose: "corruption",
        name: "client-0",
        round: 1,
        attempt: 0,
    };

    /// What the client started from; `a` is larger, of a higher rank.
    fn start() -> TensorMap {
        let a = HostTensor::new(vec![3, 3], (0..9_u8).map(f32::from).collect());
        let b = HostTensor::full(&[4], 0.5);
        let tensors = [("a", a.unwrap()), ("b", b)];
        let named = tensors.into_iter().map(|(n, t)| (n.to_owned(), t));
        named.collect()
    }

    fn corrupted(corruption: Corruption) -> ClientUpdate {
        let mut update = update();
        corrupt(&mut update, &start(), corruption, &mut KEY.stream()).unwrap();
        update
    }

    fn expected() -> Vec<(String, Vec<i64>)> {
        let update = update();
        let shapes = update
            .0
            .iter()
            .map(|(n, t)| (n.to_owned(), t.shape().to_vec()));
        shapes.collect()
    }

    #[test]
    fn values_that_are_no_numbers_and_wrong_shapes_are_refused_by_the_server() {
        assert_eq!(check_update(&update().0, &expected()), Ok(()));
        assert!(check_update(&corrupted(Corruption::Nan).0, &expected()).is_err());
        assert!(check_update(&corrupted(Corruption::WrongShape).0, &expected()).is_err());
    }

    #[test]
    fn noise_has_the_scale_that_was_asked_for_and_comes_from_the_stream() {
        let noisy = corrupted(Corruption::Noise { scale: 0.5 });
        assert_eq!(noisy.0, corrupted(Corruption::Noise { scale: 0.5 }).0);
        let change = |name: &str, value: f32| {
            let values = noisy.0.get(name).unwrap().values();
            let squares: f32 = values.iter().map(|x| (x - value).powi(2)).sum();
            (squares / values.len() as f32).sqrt()
        };
        // Two samples of a few values each: within a wide band of 0.5 times 2 and 1.
        assert!((0.2..3.0).contains(&change("a", 2.0)));
        assert!((0.1..1.5).contains(&change("b", -1.0)));
    }

    #[test]
    fn a_flipped_update_goes_as_far_the_other_way_from_where_it_started() {
        let flipped = corrupted(Corruption::SignFlip);
        let expected = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0].map(|start| 2.0 * start - 2.0);
        assert_eq!(flipped.0.get("a").unwrap().values(), expected);
        assert_eq!(flipped.0.get("b").unwrap().values(), [2.0; 4]);
    }

    #[test]
    fn an_update_without_a_start_cannot_be_flipped() {
        let mut update = update();
        let start = TensorMap::default();
        let flipped = corrupt(&mut update, &start, Corruption::SignFlip, &mut KEY.stream());
        assert!(flipped.unwrap_err().to_string().contains('a'));
    }
}
