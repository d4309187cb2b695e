//! NIST: like BLEU, but rare n-grams count more (Doddington, 2002).

use super::bleu::ngram_total;
use super::corpus::{Corpus, CountedInstance, NGram};
use super::mteval::Script;

const ORDERS: usize = 5;

/// NIST of a corpus, for tokens of the same script.
///
/// `Σₙ Σ info(matches) / tₙ`, n from 1 to 5, times `exp(−β ln² min(1, ratio))` with
/// `β = ln 2 / ln² 1.5`. The information of an n-gram is `log₂` of the count of its first n − 1 tokens
/// over its own count, in all references; for n = 1 of the number of tokens over its count.
///
/// - Python: `tₙ` may be negative, as for BLEU, and its term with it; a term of no n-grams is 0. `ratio`
///   is the outputs' tokens over the sum of the references' mean length per instance.
/// - Perl: `ratio` is the outputs' tokens times the mean number of references over all their tokens.
#[must_use]
pub fn nist(corpus: &Corpus, script: Script) -> f64 {
    let information = Information::of(corpus);
    let term = |n| {
        let matches = corpus.instances.iter().flat_map(|it| it.matches(n));
        let bits = matches.map(|(ngram, count)| information.bits(ngram) * f64::from(count));
        let total = ngram_total(corpus, n, script);
        if total == 0.0 {
            0.0
        } else {
            bits.sum::<f64>() / total
        }
    };
    // A sum of nothing is -0, which is to be 0.
    (1..=ORDERS).map(term).sum::<f64>() * penalty(length_ratio(corpus, script)) + 0.0
}

fn length_ratio(corpus: &Corpus, script: Script) -> f64 {
    let tokens = |it: &CountedInstance| {
        let references = it.references.iter();
        references.map(|it| it.tokens.len()).sum::<usize>() as f64
    };
    let references = |it: &CountedInstance| it.references.len() as f64;
    let instances = corpus.instances.iter();
    let expected = match script {
        Script::Python => instances.map(|it| tokens(it) / references(it)).sum(),
        Script::Perl => {
            let tokens: f64 = instances.clone().map(tokens).sum();
            let number: f64 = instances.map(references).sum();
            tokens / (number / corpus.instances.len() as f64)
        }
    };
    corpus.output_tokens() as f64 / expected
}

fn penalty(ratio: f64) -> f64 {
    if ratio < 1.0 {
        let beta = 2.0_f64.ln() / 1.5_f64.ln().powi(2);
        (-beta * ratio.ln().powi(2)).exp()
    } else {
        1.0
    }
}

/// How often n-grams occur in all references of a corpus.
struct Information<'a> {
    corpus: &'a Corpus,
    counts: Vec<u32>,
    tokens: usize,
}

impl<'a> Information<'a> {
    fn of(corpus: &'a Corpus) -> Self {
        let (mut counts, mut tokens) = (vec![0; corpus.ngrams()], 0);
        for reference in corpus.instances.iter().flat_map(|it| &it.references) {
            tokens += reference.tokens.len();
            for (ngram, count) in (1..=ORDERS).flat_map(|n| reference.counts(n)) {
                counts[*ngram as usize] += count;
            }
        }
        Self {
            corpus,
            counts,
            tokens,
        }
    }

    /// The information of an n-gram of some reference.
    fn bits(&self, ngram: NGram) -> f64 {
        let count = |ngram: NGram| f64::from(self.counts[ngram as usize]);
        let context = self.corpus.context(ngram);
        let context = context.map_or(self.tokens as f64, count);
        (context / count(ngram)).log2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(instances: &[(&str, &[&str])]) -> [f64; 2] {
        let corpus = Corpus::of_words(instances);
        [Script::Python, Script::Perl].map(|script| nist(&corpus, script))
    }

    fn assert_near(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-12, "{got}, not {expected}");
    }

    #[test]
    fn rare_ngrams_tell_more() {
        // a is 4 of 8 tokens: 1 bit; b and c are one each: 3. ab and ac are each one of the 4 with a: 2.
        for score in both(&[("a b", &["a b a c a a e f"]), ("a c g h i k", &["x"])]) {
            // 1 + 3 for a b; then nothing matches x, though the corpus has it. 9 tokens now.
            let one = (9.0_f64 / 4.0).log2() + 9.0_f64.log2();
            let two = 4.0_f64.log2();
            let ratio = 8.0_f64 / 9.0;
            assert_near(score, (one / 8.0 + two / 6.0) * penalty(ratio));
        }
    }

    #[test]
    fn without_any_match_it_is_zero_and_not_minus_zero() {
        for score in both(&[("x", &["a b c"]), ("y z", &["d"])]) {
            assert_eq!(score.to_bits(), 0.0_f64.to_bits());
        }
    }

    #[test]
    fn an_output_of_two_thirds_the_length_has_half_the_score() {
        assert_near(penalty(2.0 / 3.0), 0.5);
        assert_near(penalty(1.5), 1.0);
        assert_near(penalty(0.0), 0.0);
    }

    #[test]
    fn the_scripts_measure_references_differently() {
        let corpus = Corpus::of_words(&[("a b", &["a b c d"]), ("a b", &["a", "b", "c"])]);
        // 4 tokens against 4 + 1, and against 7 / 2.
        assert_near(length_ratio(&corpus, Script::Python), 4.0 / 5.0);
        assert_near(length_ratio(&corpus, Script::Perl), 4.0 / 3.5);
    }

    #[test]
    fn python_counts_a_negative_number_of_ngrams_in_short_outputs() {
        // One token and two: 3 n-grams of 1, 0 + 1 of 2; −1 + 0 of 3 match nothing.
        let [python, perl] = both(&[("a", &["a"]), ("b c", &["b c"])]);
        // Each token has log2 3 bits, b c none.
        assert_near(python, 3.0_f64.log2());
        assert_near(perl, python);
        // One token and six: −1 + 4 of 3, where Perl has 4. b c d has 1 bit, longer ones none.
        let instance: (&str, &[&str]) = ("b c d e f g", &["b c d e f g b c x"]);
        let [python, perl] = both(&[("a", &["a"]), instance]);
        assert_near(python - perl, (1.0 / 3.0 - 1.0 / 4.0) * penalty(0.7));
    }
}
