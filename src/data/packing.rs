//! Several examples in a row.

/// Puts examples into rows of at most `most` tokens: each, in order, into the first that has room for
/// it. An example that is longer than that has a row of its own. What comes out follows from the
/// lengths alone.
#[must_use]
pub fn first_fit(lengths: &[usize], most: usize) -> Vec<Vec<usize>> {
    let mut rows: Vec<(usize, Vec<usize>)> = Vec::new();
    for (at, length) in lengths.iter().enumerate() {
        let fitting = rows.iter_mut().find(|(taken, _)| taken + length <= most);
        match fitting {
            Some((taken, row)) => {
                *taken += length;
                row.push(at);
            }
            None => rows.push((*length, vec![at])),
        }
    }
    rows.into_iter().map(|(_, row)| row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_example_is_in_the_first_row_with_room_and_there_once() {
        let rows = first_fit(&[5, 4, 6, 3, 12, 1], 10);
        assert_eq!(rows, [vec![0, 1, 5], vec![2, 3], vec![4]]);
        assert!(first_fit(&[], 10).is_empty());
    }
}
