//! The types of weights in GGUF files, by the numbers that ggml gives them.

/// A type whose weights are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are ggml's")]
pub enum TensorType {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}

/// The types whose weights are read: number, name, values and bytes of a block.
const SUPPORTED: [(u32, TensorType, &str, u64, u64); 11] = [
    (0, TensorType::F32, "F32", 1, 4),
    (1, TensorType::F16, "F16", 1, 2),
    (30, TensorType::Bf16, "BF16", 1, 2),
    (2, TensorType::Q4_0, "Q4_0", 32, 18),
    (3, TensorType::Q4_1, "Q4_1", 32, 20),
    (6, TensorType::Q5_0, "Q5_0", 32, 22),
    (7, TensorType::Q5_1, "Q5_1", 32, 24),
    (8, TensorType::Q8_0, "Q8_0", 32, 34),
    (12, TensorType::Q4K, "Q4_K", 256, 144),
    (13, TensorType::Q5K, "Q5_K", 256, 176),
    (14, TensorType::Q6K, "Q6_K", 256, 210),
];

/// The other types of ggml, which are refused by name.
const OTHERS: [(u32, &str); 22] = [
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
];

impl TensorType {
    /// The type of that number.
    ///
    /// # Errors
    /// If it is not supported, or unknown; with the types that are.
    pub(crate) fn of_number(number: u32) -> Result<Self, String> {
        if let Some((_, kind, ..)) = SUPPORTED.iter().find(|row| row.0 == number) {
            return Ok(*kind);
        }
        let other = OTHERS.iter().find(|row| row.0 == number);
        let found = other.map_or_else(|| format!("number {number}"), |row| row.1.to_owned());
        let names: Vec<_> = SUPPORTED.iter().map(|row| row.2).collect();
        Err(format!(
            "weights of type {found} are not supported; supported are {}",
            names.join(", ")
        ))
    }

    fn row(self) -> (&'static str, u64, u64) {
        let row = SUPPORTED.iter().find(|row| row.1 == self);
        row.map_or(("", 1, 1), |row| (row.2, row.3, row.4))
    }

    /// Its name in ggml.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Values in a block.
    #[must_use]
    pub fn block_values(self) -> u64 {
        self.row().1
    }

    /// Bytes of a block.
    #[must_use]
    pub fn block_bytes(self) -> u64 {
        self.row().2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_types_are_refused_by_name_with_those_that_are_supported() {
        let error = TensorType::of_number(16).unwrap_err();
        assert!(error.contains("type IQ2_XXS"), "{error}");
        assert!(error.contains("Q4_1") && error.contains("Q6_K"), "{error}");
        let error = TensorType::of_number(4711).unwrap_err();
        assert!(error.contains("number 4711"), "{error}");
    }

    #[test]
    fn no_number_and_no_type_is_there_twice() {
        let mut numbers: Vec<u32> = SUPPORTED.iter().map(|row| row.0).collect();
        numbers.extend(OTHERS.map(|row| row.0));
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count);
        for (number, kind, name, ..) in SUPPORTED {
            assert_eq!(TensorType::of_number(number).unwrap(), kind);
            assert_eq!(kind.name(), name);
        }
    }
}
