//! CIDEr-D: the likeness of n-grams weighted by how rare they are (Vedantam et al., 2015), as the COCO
//! caption evaluation has it, where it is called CIDEr.

use super::corpus::{Corpus, CountedText, NGram};

const ORDERS: usize = 4;

/// The width of the penalty on a difference in length, in tokens.
const SIGMA: f64 = 6.0;

/// The CIDEr-D of each instance of a corpus in PTB tokens. A corpus's is their mean.
///
/// An n-gram of a text weighs its count times `ln N − ln max(1, d)`, if references of `d` of the `N`
/// instances have it. An output `g` and a reference `h` are alike by
/// `Σ min(gᵢ, hᵢ)hᵢ / (|g||h|) · exp(−δ²/2σ²)`, with `δ` the difference in the number of bigrams. The
/// score is 10 times the mean of that over n from 1 to 4 and over the references. In a corpus of one
/// instance nothing is rare and all is 0.
#[must_use]
pub fn cider_of_each(corpus: &Corpus) -> Vec<f64> {
    let rarity = Rarity::of(corpus);
    let instances = corpus.instances.iter();
    instances
        .map(|instance| {
            let output = rarity.weighted(&instance.output);
            let references = instance.references.iter();
            let alike = references.map(|it| output.likeness(&rarity.weighted(it)));
            // A sum of nothing is -0, which is to be 0.
            10.0 * alike.sum::<f64>() / instance.references.len() as f64 + 0.0
        })
        .collect()
}

/// The mean CIDEr-D of a corpus.
#[must_use]
pub fn cider(corpus: &Corpus) -> f64 {
    cider_of_each(corpus).iter().sum::<f64>() / corpus.instances.len() as f64
}

/// The logarithm of how rare n-grams are, by their numbers.
struct Rarity(Vec<f64>);

impl Rarity {
    fn of(corpus: &Corpus) -> Self {
        let mut instances = vec![0_u32; corpus.ngrams()];
        for instance in &corpus.instances {
            let references = instance.references.iter();
            let counts = references.flat_map(|it| (1..=ORDERS).flat_map(|n| it.counts(n)));
            let mut ngrams: Vec<NGram> = counts.map(|(ngram, _)| *ngram).collect();
            ngrams.sort_unstable();
            ngrams.dedup();
            for ngram in ngrams {
                instances[ngram as usize] += 1;
            }
        }
        let total = (corpus.instances.len() as f64).ln();
        let rarity = |count: u32| total - f64::from(count.max(1)).ln();
        Self(instances.into_iter().map(rarity).collect())
    }

    fn weighted(&self, text: &CountedText) -> Weighted {
        let weight =
            |(ngram, count): &(NGram, u32)| (*ngram, f64::from(*count) * self.0[*ngram as usize]);
        Weighted {
            orders: [1, 2, 3, 4].map(|n| text.counts(n).iter().map(weight).collect()),
            bigrams: text.tokens.len().saturating_sub(1) as f64,
        }
    }
}

/// The weights of a text's n-grams for each n, by their numbers.
struct Weighted {
    orders: [Vec<(NGram, f64)>; ORDERS],
    bigrams: f64,
}

impl Weighted {
    fn likeness(&self, reference: &Self) -> f64 {
        let difference = self.bigrams - reference.bigrams;
        let penalty = (-difference * difference / (2.0 * SIGMA * SIGMA)).exp();
        let orders = self.orders.iter().zip(&reference.orders);
        let cosines = orders.map(|(output, reference)| clipped_cosine(output, reference));
        penalty * cosines.sum::<f64>() / ORDERS as f64
    }
}

fn clipped_cosine(output: &[(NGram, f64)], reference: &[(NGram, f64)]) -> f64 {
    let common = output.iter().filter_map(|(ngram, weight)| {
        let place = reference.binary_search_by_key(ngram, |(ngram, _)| *ngram);
        let other = reference[place.ok()?].1;
        Some(weight.min(other) * other)
    });
    let product: f64 = common.sum();
    let norm = |weights: &[(NGram, f64)]| weights.iter().map(|(_, w)| w * w).sum::<f64>().sqrt();
    let norms = norm(output) * norm(reference);
    if norms > 0.0 { product / norms } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-12, "{got}, not {expected}");
    }

    #[test]
    fn what_all_instances_have_counts_for_nothing() {
        // a is in both, b and c in one each: only they have weight, and no bigrams are in common.
        let corpus = Corpus::of_words(&[("a b", &["a x b x"]), ("c", &["a c"])]);
        let scores = cider_of_each(&corpus);
        // |b| against |x x b|: 1/√5; 1 and 3 bigrams.
        let first = 10.0 / 4.0 / 5.0_f64.sqrt() * (-4.0_f64 / 72.0).exp();
        assert_near(scores[0], first);
        let second = 10.0 / 4.0 * (-1.0_f64 / 72.0).exp();
        assert_near(scores[1], second);
        assert_near(cider(&corpus), (first + second) / 2.0);
    }

    #[test]
    fn repeating_a_rare_word_is_no_gain() {
        let corpus = Corpus::of_words(&[("b b", &["b"]), ("c", &["c"])]);
        // min(2, 1) · 1 over 2 · 1.
        assert_near(
            cider_of_each(&corpus)[0],
            10.0 / 4.0 / 2.0 * (-1.0_f64 / 72.0).exp(),
        );
    }

    #[test]
    fn references_share_the_score() {
        let corpus = Corpus::of_words(&[("b c d e", &["b c d e", "y"]), ("z", &["z"])]);
        assert_near(cider_of_each(&corpus)[0], 5.0);
    }

    #[test]
    fn in_a_corpus_of_one_nothing_is_rare() {
        let corpus = Corpus::of_words(&[("a b c d", &["a b c d"])]);
        assert_eq!(cider(&corpus), 0.0);
    }
}
