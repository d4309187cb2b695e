//! BLEU: how many n-grams of the outputs are in references (Papineni et al., 2002).

use super::corpus::{Corpus, CountedInstance, CountedText};
use super::mteval::Script;

const ORDERS: usize = 4;

/// BLEU of a corpus, for tokens of the same script.
///
/// With `mₙ` of `tₙ` n-grams found in references, `c` tokens in the outputs and `r` in the references
/// nearest in length (of two the shorter): `min(1, exp(1 − r/c)) · exp(¼ Σₙ ln(mₙ/tₙ))`, n from 1 to 4.
///
/// - Python: an output's n-grams number its length − n + 1, even where that is negative; `mₙ` is at
///   least 1e-15, `tₙ` at least 1e-9. With very short outputs BLEU may pass 1.
/// - Perl: the k-th order without a match has `mₙ = 2⁻ᵏ`, an order without n-grams is left out of the
///   sum, and outputs without tokens have BLEU 0.
#[must_use]
pub fn bleu(corpus: &Corpus, script: Script) -> f64 {
    let length = corpus.output_tokens();
    let nearest: usize = corpus.instances.iter().map(nearest_reference).sum();
    if length == 0 {
        return 0.0;
    }
    let orders = (1..=ORDERS).map(|n| Order::of(corpus, n, script));
    let logarithms = match script {
        Script::Python => orders.map(|order| order.floored_logarithm()).sum(),
        Script::Perl => smoothed_logarithms(orders),
    };
    let brevity = (1.0 - nearest as f64 / length as f64).min(0.0);
    (brevity + logarithms / ORDERS as f64).exp()
}

/// The n-grams of one length.
struct Order {
    matches: f64,
    total: f64,
}

impl Order {
    fn of(corpus: &Corpus, n: usize, script: Script) -> Self {
        let instances = corpus.instances.iter();
        let matches = instances
            .flat_map(|it| it.matches(n))
            .map(|(_, count)| f64::from(count));
        Self {
            matches: matches.sum(),
            total: ngram_total(corpus, n, script),
        }
    }

    fn floored_logarithm(&self) -> f64 {
        (self.matches.max(1e-15) / self.total.max(1e-9)).ln()
    }
}

fn smoothed_logarithms(orders: impl Iterator<Item = Order>) -> f64 {
    let mut smoothing = 1.0;
    let mut sum = 0.0;
    for Order { matches, total } in orders.filter(|order| order.total > 0.0) {
        if matches == 0.0 {
            smoothing /= 2.0;
        }
        sum += (if matches > 0.0 { matches } else { smoothing } / total).ln();
    }
    sum
}

/// How many n-grams the outputs count as having.
pub(super) fn ngram_total(corpus: &Corpus, n: usize, script: Script) -> f64 {
    let total = |output: &CountedText| {
        let total = (output.tokens.len() + 1) as f64 - n as f64;
        match script {
            Script::Python => total,
            Script::Perl => total.max(0.0),
        }
    };
    corpus.instances.iter().map(|it| total(&it.output)).sum()
}

fn nearest_reference(instance: &CountedInstance) -> usize {
    let lengths = instance.references.iter().map(|it| it.tokens.len());
    lengths
        .min_by_key(|length| (length.abs_diff(instance.output.tokens.len()), *length))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(instances: &[(&str, &[&str])]) -> [f64; 2] {
        let corpus = Corpus::of_words(instances);
        [Script::Python, Script::Perl].map(|script| bleu(&corpus, script))
    }

    fn assert_near(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-12, "{got}, not {expected}");
    }

    #[test]
    fn precisions_are_multiplied_and_short_outputs_pay() {
        // 5 of 6, 4 of 5, 3 of 4 and 2 of 3 match; the nearest reference has 7 tokens.
        let instance: (&str, &[&str]) = ("a b c d e x", &["a b c d e f g", "a"]);
        let expected =
            (1.0_f64 - 7.0 / 6.0).exp() * (5.0_f64 / 6.0 * 0.8 * 0.75 * 2.0 / 3.0).powf(0.25);
        for score in both(&[instance]) {
            assert_near(score, expected);
        }
    }

    #[test]
    fn of_references_as_near_the_shorter_counts() {
        // 4 and 6 tokens are as near to 5: nothing is to pay.
        let expected = (0.8_f64 * 0.75 * (2.0 / 3.0) * 0.5).powf(0.25);
        for score in both(&[("a b c d e", &["a b c d", "v w x y z z"])]) {
            assert_near(score, expected);
        }
    }

    #[test]
    fn without_a_match_perl_halves_and_python_has_nearly_nothing() {
        let [python, perl] = both(&[("a b c d x", &["a y b y c"])]);
        // 3 of 5; then 0 of 4, 3 and 2.
        let product = 3.0 / 5.0 * (0.5 / 4.0) * (0.25 / 3.0) * (0.125 / 2.0_f64);
        assert_near(perl, product.powf(0.25));
        assert!(python > 0.0 && python < 1e-10, "{python}");
    }

    #[test]
    fn python_counts_a_negative_number_of_ngrams_in_short_outputs() {
        let [python, perl] = both(&[("a", &["a"]), ("a b c d e", &["a b c d e"])]);
        // 6, 4, 3 and 2 match; of 6, 4 + 0, 3 − 1 and 2 − 2 of at least 1e-9.
        assert_near(python.powi(4) / (1.5 * 2e9), 1.0);
        assert_near(perl, 1.0);
    }

    #[test]
    fn outputs_without_tokens_have_no_bleu() {
        assert_eq!(both(&[("", &["a"])]), [0.0, 0.0]);
    }
}
