//! A corpus in n-grams, which have numbers: texts are compared without their words.

use std::array;
use std::collections::HashMap;

use super::instance::Instance;

/// The longest n-grams that a metric asks for.
pub const LONGEST: usize = 5;

/// The number of an n-gram: equal ones have the same in all of a corpus, whatever their length.
pub type NGram = u32;

/// Instances in tokens and their n-grams.
pub struct Corpus {
    /// The instances, in the order given.
    pub instances: Vec<CountedInstance>,
    /// What each n-gram is without its last token; nothing for a single token.
    contexts: Vec<Option<NGram>>,
}

/// An [`Instance`] in tokens.
pub struct CountedInstance {
    /// What was generated.
    pub output: CountedText,
    /// What it is compared with.
    pub references: Vec<CountedText>,
}

/// A text's tokens, and how often it has which n-gram.
pub struct CountedText {
    /// The tokens in order, numbered as n-grams of one.
    pub tokens: Vec<NGram>,
    /// For each n from 1, the n-grams with their counts, by number.
    counts: [Vec<(NGram, u32)>; LONGEST],
}

impl Corpus {
    /// Instances in the tokens that a function makes of a text.
    #[must_use]
    pub fn new(instances: &[Instance], tokens: impl Fn(&str) -> Vec<String>) -> Self {
        let mut numbers = Numbers::default();
        let mut counted = |text: &String| numbers.counted(tokens(text));
        let instances = instances
            .iter()
            .map(|instance| CountedInstance {
                output: counted(&instance.output),
                references: instance.references.iter().map(&mut counted).collect(),
            })
            .collect();
        Self {
            instances,
            contexts: numbers.contexts,
        }
    }

    /// How many different n-grams there are. Their numbers are smaller.
    #[must_use]
    pub fn ngrams(&self) -> usize {
        self.contexts.len()
    }

    /// An n-gram without its last token; `None` for a single token.
    #[must_use]
    pub fn context(&self, ngram: NGram) -> Option<NGram> {
        self.contexts[ngram as usize]
    }

    /// The number of tokens in all outputs.
    #[must_use]
    pub fn output_tokens(&self) -> usize {
        let outputs = self.instances.iter().map(|it| &it.output);
        outputs.map(|output| output.tokens.len()).sum()
    }
}

impl CountedInstance {
    /// The output's n-grams that references have too, each as often as the reference that has it most
    /// often, but not more often than the output.
    pub fn matches(&self, n: usize) -> impl Iterator<Item = (NGram, u32)> {
        self.output
            .counts(n)
            .iter()
            .filter_map(move |(ngram, count)| {
                let references = self.references.iter();
                let most = references.map(|it| it.count(n, *ngram)).max().unwrap_or(0);
                (most > 0).then(|| (*ngram, most.min(*count)))
            })
    }
}

impl CountedText {
    /// The n-grams with their counts, by number; `n` is from 1 to [`LONGEST`].
    #[must_use]
    pub fn counts(&self, n: usize) -> &[(NGram, u32)] {
        &self.counts[n - 1]
    }

    /// How often the text has an n-gram.
    #[must_use]
    pub fn count(&self, n: usize, ngram: NGram) -> u32 {
        let counts = self.counts(n);
        let place = counts.binary_search_by_key(&ngram, |(ngram, _)| *ngram);
        place.map_or(0, |place| counts[place].1)
    }
}

/// Gives numbers to n-grams: an n-gram is its context and a token.
#[derive(Default)]
struct Numbers {
    words: HashMap<String, u32>,
    ngrams: HashMap<u64, NGram>,
    contexts: Vec<Option<NGram>>,
}

impl Numbers {
    fn counted(&mut self, tokens: Vec<String>) -> CountedText {
        let words: Vec<u32> = tokens.into_iter().map(|token| self.word(token)).collect();
        let tokens: Vec<NGram> = words.iter().map(|word| self.ngram(None, *word)).collect();
        let mut ngrams = tokens.clone();
        let counts = array::from_fn(|shorter| {
            if shorter > 0 {
                ngrams.pop();
                let last = words.iter().skip(shorter);
                for (ngram, word) in ngrams.iter_mut().zip(last) {
                    *ngram = self.ngram(Some(*ngram), *word);
                }
            }
            counts(ngrams.clone())
        });
        CountedText { tokens, counts }
    }

    fn word(&mut self, token: String) -> u32 {
        let next = self.words.len() as u32;
        *self.words.entry(token).or_insert(next)
    }

    fn ngram(&mut self, context: Option<NGram>, word: u32) -> NGram {
        // A context is smaller than the greatest number: there would have to be 2³² n-grams.
        let key = u64::from(context.unwrap_or(NGram::MAX)) << 32 | u64::from(word);
        let next = self.contexts.len() as NGram;
        let number = *self.ngrams.entry(key).or_insert(next);
        if number == next {
            self.contexts.push(context);
        }
        number
    }
}

fn counts(mut ngrams: Vec<NGram>) -> Vec<(NGram, u32)> {
    ngrams.sort_unstable();
    let equal = ngrams.chunk_by(|a, b| a == b);
    equal.map(|equal| (equal[0], equal.len() as u32)).collect()
}

#[cfg(test)]
impl Corpus {
    /// Instances of words with spaces between them: outputs, each with its references.
    pub(super) fn of_words(instances: &[(&str, &[&str])]) -> Self {
        let instance = |(output, references): &(&str, &[&str])| Instance {
            output: (*output).to_owned(),
            references: references.iter().map(|it| (*it).to_owned()).collect(),
        };
        let instances: Vec<Instance> = instances.iter().map(instance).collect();
        Self::new(&instances, |text| {
            text.split_whitespace().map(str::to_owned).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_are_clipped_to_the_reference_that_has_most() {
        let corpus = Corpus::of_words(&[("a a a b c", &["a a b", "a b b", "d"])]);
        let counts = |n| {
            let mut counts: Vec<u32> = corpus.instances[0].matches(n).map(|it| it.1).collect();
            counts.sort_unstable();
            counts
        };
        assert_eq!(counts(1), [1, 2]);
        assert_eq!(counts(2), [1, 1]);
        assert_eq!(counts(3), [1]);
        assert!(counts(4).is_empty());
    }

    #[test]
    fn an_ngram_has_the_same_number_everywhere_and_knows_its_beginning() {
        let corpus = Corpus::of_words(&[("x a b", &["a b"]), ("a b a", &["b"])]);
        let [first, second] = &corpus.instances[..] else {
            panic!("two instances");
        };
        let (ngram, count) = first.references[0].counts(2)[0];
        assert_eq!(count, 1);
        assert_eq!(second.output.count(2, ngram), 1);
        assert_eq!(second.references[0].count(2, ngram), 0);
        assert_eq!(corpus.context(ngram), Some(first.references[0].tokens[0]));
        assert_eq!(corpus.context(first.output.tokens[0]), None);
        // x, a, b; xa, ab, ba; xab, aba.
        assert_eq!(corpus.ngrams(), 8);
    }
}
