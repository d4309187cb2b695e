//! ROUGE-L: the longest common subsequence (Lin, 2004), as the COCO caption evaluation has it.

use super::corpus::{Corpus, CountedInstance, NGram};

/// How much recall counts against precision.
const BETA: f64 = 1.2;

/// The mean ROUGE-L of a corpus in PTB tokens.
#[must_use]
pub fn rouge_l(corpus: &Corpus) -> f64 {
    let scores = corpus.instances.iter().map(rouge_l_of);
    scores.sum::<f64>() / corpus.instances.len() as f64
}

/// The ROUGE-L of one instance.
///
/// With `P` the greatest `LCS/|output|` and `R` the greatest `LCS/|reference|`, of references that may
/// differ: `(1 + β²)PR / (R + β²P)`, 0 if nothing is in common.
#[must_use]
pub fn rouge_l_of(instance: &CountedInstance) -> f64 {
    let output = &instance.output.tokens;
    let (mut precision, mut recall) = (0.0_f64, 0.0_f64);
    for reference in instance.references.iter().map(|it| &it.tokens) {
        let common = longest_common_subsequence(output, reference) as f64;
        precision = precision.max(common / output.len().max(1) as f64);
        recall = recall.max(common / reference.len().max(1) as f64);
    }
    if precision == 0.0 || recall == 0.0 {
        return 0.0;
    }
    let beta_squared = BETA * BETA;
    (1.0 + beta_squared) * precision * recall / (recall + beta_squared * precision)
}

fn longest_common_subsequence(left: &[NGram], right: &[NGram]) -> usize {
    let mut lengths = vec![0; right.len() + 1];
    for token in left {
        let mut diagonal = 0;
        for (place, other) in right.iter().enumerate() {
            let above = lengths[place + 1];
            lengths[place + 1] = if token == other {
                diagonal + 1
            } else {
                above.max(lengths[place])
            };
            diagonal = above;
        }
    }
    lengths[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsequences_may_have_gaps_and_no_other_order() {
        assert_eq!(longest_common_subsequence(&[1, 2, 3, 4], &[2, 9, 4, 1]), 2);
        assert_eq!(longest_common_subsequence(&[1, 1, 1], &[1, 1]), 2);
        assert_eq!(longest_common_subsequence(&[], &[1]), 0);
    }

    #[test]
    fn precision_and_recall_may_come_from_different_references() {
        // 4 of 4 are in the first, whose 8 tokens give half; the second is there in whole.
        let corpus = Corpus::of_words(&[
            ("a b c d", &["a x b x c x d x", "b c"]),
            ("a b c d", &["e f"]),
            ("a b", &["a c d e"]),
        ]);
        assert_eq!(rouge_l_of(&corpus.instances[0]), 1.0);
        assert_eq!(rouge_l_of(&corpus.instances[1]), 0.0);
        // P = 1/2, R = 1/4, β² = 1.44.
        let third = 2.44 * 0.125 / (0.25 + 1.44 * 0.5);
        assert!((rouge_l_of(&corpus.instances[2]) - third).abs() < 1e-12);
        assert!((rouge_l(&corpus) - (1.0 + third) / 3.0).abs() < 1e-12);
    }
}
