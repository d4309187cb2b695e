//! Several texts in one row of a batch, of which none sees another.

/// The texts of each row: their lengths, in order. What is left of a row is padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Documents {
    rows: Vec<Vec<i64>>,
}

impl Documents {
    /// Texts by the lengths that each row has of them.
    #[must_use]
    pub fn new(rows: Vec<Vec<i64>>) -> Self {
        Self { rows }
    }

    /// The lengths of each row's texts.
    #[must_use]
    pub fn rows(&self) -> &[Vec<i64>] {
        &self.rows
    }

    /// The longest text.
    #[must_use]
    pub fn longest(&self) -> i64 {
        self.rows.iter().flatten().max().copied().unwrap_or(0)
    }

    /// The place of each token in its own text, (rows × tokens); 0 for padding.
    #[must_use]
    pub fn positions(&self, tokens: i64) -> Vec<i64> {
        let row = |lengths: &Vec<i64>| {
            let taken: i64 = lengths.iter().sum();
            let own = lengths.iter().flat_map(|length| 0..*length);
            let padding = (taken..tokens).map(|_| 0);
            own.chain(padding).collect::<Vec<_>>()
        };
        self.rows.iter().flat_map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_begin_again_with_each_text() {
        let documents = Documents::new(vec![vec![2, 3], vec![1]]);
        let expected = [0, 1, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(documents.positions(6), expected);
        assert_eq!(documents.longest(), 3);
    }
}
