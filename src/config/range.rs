//! The range of a number among the settings.

use std::fmt::{self, Display};
use std::ops::{Bound, RangeBounds};

/// A number that can have a range.
pub(crate) trait SettingNumber: Copy + PartialOrd + Display {
    /// Whether it is a number at all, and not infinite.
    fn is_finite(self) -> bool {
        true
    }
}

impl SettingNumber for u32 {}
impl SettingNumber for u64 {}
impl SettingNumber for f64 {
    fn is_finite(self) -> bool {
        self.is_finite()
    }
}

/// The values that a number may have, all of them finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Range<T>(pub(crate) Bound<T>, pub(crate) Bound<T>);

impl<T: SettingNumber> Range<T> {
    /// Whether a value is finite and within the bounds.
    pub(crate) fn contains(&self, value: T) -> bool {
        value.is_finite() && (self.0, self.1).contains(&value)
    }

    /// The bound that a value violates, or the value.
    pub(crate) fn nearest(&self, value: T) -> T {
        match (self.0, self.1) {
            (Bound::Included(least) | Bound::Excluded(least), _) if value < least => least,
            (_, Bound::Included(most) | Bound::Excluded(most)) if value > most => most,
            _ => value,
        }
    }

    /// What to give instead of a number out of range.
    pub(crate) fn right(&self) -> String {
        format!("give a number{self}")
    }
}

impl<T: Display> Display for Range<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Bound::Included(least) => write!(f, " from {least}")?,
            Bound::Excluded(bound) => write!(f, " above {bound}")?,
            Bound::Unbounded => {}
        }
        match &self.1 {
            Bound::Included(most) => write!(f, " to {most}"),
            Bound::Excluded(bound) => write!(f, " to less than {bound}"),
            Bound::Unbounded => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_says_what_it_contains() {
        let share = Range(Bound::Included(0.0), Bound::Excluded(1.0));
        assert_eq!(share.right(), "give a number from 0 to less than 1");
        assert!(share.contains(0.0) && !share.contains(1.0) && !share.contains(-0.1));
        let positive = Range(Bound::Excluded(0.0), Bound::Unbounded);
        assert_eq!(positive.right(), "give a number above 0");
        assert!(positive.contains(f64::MAX) && !positive.contains(0.0));
        assert!(!positive.contains(f64::INFINITY) && !positive.contains(f64::NAN));
    }

    #[test]
    fn a_value_out_of_range_has_a_nearest_bound() {
        let count = Range(Bound::Included(1), Bound::Included(9_u32));
        assert_eq!([0, 5, 10].map(|value| count.nearest(value)), [1, 5, 9]);
    }
}
