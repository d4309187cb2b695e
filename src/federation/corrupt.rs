//! Updates spoilt on purpose, as scripted faults have it.

use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use regatta_actors::learner::BoxError;
use regatta_actors::plan::Corruption;
use regatta_actors::random::Stream;

use super::payload::ClientUpdate;
use crate::tensors::{HostTensor, TensorMap};

/// Spoils an update; what is drawn comes from `stream`, tensor by tensor in name order.
///
/// - `nan`: one value of each tensor is not a number.
/// - `wrong_shape`: one tensor has a row more.
/// - `noise(scale)`: each value gets normal noise of `scale` times its tensor's root mean square.
/// - `sign_flip`: every value is negated. A product of two of its tensors, such as LoRA's B A, is
///   then the same; the head is not.
///
/// # Errors
/// For a corruption that is not one of these.
pub(super) fn corrupt(
    update: &mut ClientUpdate,
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
        Corruption::SignFlip => each(tensors, |tensor| {
            tensor.values_mut().iter_mut().for_each(|x| *x = -*x);
        }),
        other => return Err(format!("an update cannot be spoilt by {other:?}").into()),
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

    fn spoilt(corruption: Corruption) -> ClientUpdate {
        let key = StreamKey {
            seed: 1,
            purpose: "corruption",
            name: "client-0",
            round: 1,
            attempt: 0,
        };
        let mut update = update();
        corrupt(&mut update, corruption, &mut key.stream()).unwrap();
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
        assert!(check_update(&spoilt(Corruption::Nan).0, &expected()).is_err());
        assert!(check_update(&spoilt(Corruption::WrongShape).0, &expected()).is_err());
    }

    #[test]
    fn noise_has_the_scale_that_was_asked_for_and_comes_from_the_stream() {
        let noisy = spoilt(Corruption::Noise { scale: 0.5 });
        assert_eq!(noisy.0, spoilt(Corruption::Noise { scale: 0.5 }).0);
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
    fn every_sign_is_flipped() {
        let flipped = spoilt(Corruption::SignFlip);
        assert_eq!(flipped.0.get("a").unwrap().values(), [-2.0; 6]);
        assert_eq!(flipped.0.get("b").unwrap().values(), [1.0; 4]);
    }
}
