//! What an update must be before it is aggregated.

use crate::aggregate::sound::{LIMIT, first_misfit};
use crate::base::tensors::TensorMap;

/// Says what is wrong with an update: a missing, unknown or misshapen tensor, or a value that is
/// not finite or not below [`LIMIT`].
///
/// # Errors
/// The reason, naming the tensor and what would be right.
pub fn check_update(update: &TensorMap, expected: &[(String, Vec<i64>)]) -> Result<(), String> {
    for (name, shape) in expected {
        let Some(tensor) = update.get(name) else {
            return Err(format!("tensor {name} is missing"));
        };
        if tensor.shape() != shape {
            let got = tensor.shape();
            return Err(format!("tensor {name} has shape {got:?}, not {shape:?}"));
        }
        if let Some((at, value)) = first_misfit(tensor) {
            let right = match value.is_finite() {
                true => format!("below {LIMIT:e}, so that float32 holds their squares"),
                false => "finite".to_owned(),
            };
            return Err(format!(
                "tensor {name} holds {value:e} at position {at}; all must be {right}"
            ));
        }
    }
    let known = |name: &str| expected.iter().any(|(known, _)| known == name);
    match update.iter().find(|(name, _)| !known(name)) {
        Some((name, _)) => Err(format!(
            "tensor {name} is none that clients train in this round"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tensors::HostTensor;

    fn expected() -> Vec<(String, Vec<i64>)> {
        vec![("a".into(), vec![2, 3]), ("b".into(), vec![2])]
    }

    fn good() -> TensorMap {
        let tensors = expected()
            .into_iter()
            .map(|(n, s)| (n, HostTensor::full(&s, 0.5)));
        tensors.collect()
    }

    #[test]
    fn takes_what_is_expected() {
        assert_eq!(check_update(&good(), &expected()), Ok(()));
    }

    #[test]
    fn refuses_missing_unknown_misshapen_and_non_finite_tensors_by_name() {
        let broken = |break_it: fn(&mut TensorMap)| {
            let mut update = good();
            break_it(&mut update);
            check_update(&update, &expected()).unwrap_err()
        };
        assert_eq!(broken(|u| drop(u.0.remove("b"))), "tensor b is missing");
        assert!(
            broken(|u| u.insert("c", HostTensor::full(&[1], 0.0))).contains("tensor c is none")
        );
        assert!(broken(|u| u.insert("a", HostTensor::full(&[3, 2], 0.0))).contains("not [2, 3]"));
        let nan = broken(|u| u.0.get_mut("a").unwrap().values_mut()[4] = f32::NAN);
        assert!(nan.contains("tensor a holds NaN at position 4"), "{nan}");
        let huge = broken(|u| u.0.get_mut("b").unwrap().values_mut()[1] = -1e30);
        assert!(
            huge.contains("tensor b holds -1e30 at position 1"),
            "{huge}"
        );
        assert!(huge.contains("below 1.8446744e19"), "{huge}");
    }
}
