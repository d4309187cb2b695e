//! Tensors of the processor over memory of ours, without a copy.

use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::sync::Arc;

use half::bf16;
use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use crate::base::torch::owned;

unsafe extern "C" {
    fn shim_share(
        memory: *mut c_void,
        sizes: *const i64,
        dimensions: usize,
        kind: c_int,
        owner: *mut c_void,
        release: extern "C" fn(*mut c_void),
    ) -> *mut C_tensor;
}

/// A number that tensors hold.
pub trait Number: Send + Sync + 'static {
    /// Its number among the kinds of libtorch, `c10::ScalarType`.
    const KIND: c_int;
}

impl Number for u8 {
    const KIND: c_int = 0;
}

impl Number for i8 {
    const KIND: c_int = 1;
}

impl Number for f32 {
    const KIND: c_int = 6;
}

impl Number for bf16 {
    const KIND: c_int = 15;
}

/// A tensor of a part of some numbers, which live as long as it does. It is to be read: what changed it
/// in place would change them for all who have them.
///
/// # Errors
/// If the part does not fill the shape.
pub fn share<T: Number>(
    numbers: &Arc<Vec<T>>,
    part: Range<usize>,
    shape: &[i64],
) -> Result<Tensor, TchError> {
    let values = numbers.get(part.clone());
    let values = values.filter(|values| shape.iter().product::<i64>() == values.len() as i64);
    let Some(values) = values else {
        return Err(TchError::Shape(format!(
            "numbers {part:?} of {} do not fill the shape {shape:?}",
            numbers.len()
        )));
    };
    let owner = Arc::into_raw(Arc::clone(numbers));
    // SAFETY: the memory is as long as the shape says and lives until `release` is called, which the
    // last tensor that uses it does once. What comes back is null or a tensor of our own; if it is
    // null, the owner is leaked and nothing is freed too early.
    unsafe {
        owned(shim_share(
            values.as_ptr().cast::<c_void>().cast_mut(),
            shape.as_ptr(),
            shape.len(),
            T::KIND,
            owner.cast::<c_void>().cast_mut(),
            release::<T>,
        ))
    }
}

/// Gives an owner's share of the numbers back.
extern "C" fn release<T>(owner: *mut c_void) {
    // SAFETY: it is what `Arc::into_raw` gave in `share`, for the same type, and this is called once.
    drop(unsafe { Arc::from_raw(owner.cast::<Vec<T>>()) });
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    #[test]
    fn numbers_are_shared_and_live_as_long_as_the_last_tensor_of_them() {
        let numbers = Arc::new(vec![1.0_f32, 2.0, 3.0, 4.0, 5.0]);
        let tensor = share(&numbers, 1..5, &[2, 2]).unwrap();
        assert_eq!(
            tensor.data_ptr().cast::<f32>().cast_const(),
            &raw const numbers[1]
        );
        assert_eq!(Arc::strong_count(&numbers), 2);
        let row = tensor.get(1);
        drop(tensor);
        assert_eq!(Arc::strong_count(&numbers), 2);
        assert_eq!(Vec::<f32>::try_from(&row).unwrap(), [4.0, 5.0]);
        drop(row);
        assert_eq!(Arc::strong_count(&numbers), 1);
    }

    #[test]
    fn kinds_are_those_of_libtorch_and_a_part_that_is_not_there_is_refused() {
        fn kind<T: Number>(number: T) -> Kind {
            share(&Arc::new(vec![number]), 0..1, &[1]).unwrap().kind()
        }
        assert_eq!(kind(1_u8), Kind::Uint8);
        assert_eq!(kind(1_i8), Kind::Int8);
        assert_eq!(kind(1.0_f32), Kind::Float);
        assert_eq!(kind(bf16::ONE), Kind::BFloat16);
        let numbers = Arc::new(vec![1_u8; 4]);
        for (part, shape) in [(0..5, [5]), (2..4, [3])] {
            assert!(share(&numbers, part, &shape).is_err());
        }
    }
}
