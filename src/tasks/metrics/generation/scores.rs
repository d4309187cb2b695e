//! All scores of a corpus.

use serde::Serialize;

use super::bleu::bleu;
use super::cider::cider;
use super::corpus::Corpus;
use super::instance::Instance;
use super::meteor::Meteor;
use super::mteval::{Script, mteval_tokens};
use super::nist::nist;
use super::ptb::coco_tokens;
use super::rouge_l::rouge_l;

/// The scores of a corpus of generated texts, as the E2E challenge's scripts compute them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GenerationScores {
    /// BLEU-4, from 0 to 1, as the challenge's script has it in Python: what is reported for E2E.
    pub bleu: f64,
    /// NIST-5, from 0, in Python.
    pub nist: f64,
    /// ROUGE-L, from 0 to 1.
    pub rouge_l: f64,
    /// CIDEr-D, from 0 to 10.
    pub cider: f64,
    /// BLEU-4 as the Perl script has it.
    pub bleu_perl: f64,
    /// NIST-5 as the Perl script has it.
    pub nist_perl: f64,
    /// METEOR, from 0 to 1, if its program was named and worked.
    pub meteor: Option<f64>,
    /// Why the program gave no METEOR.
    pub meteor_failure: Option<String>,
}

/// Why a corpus has no scores.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenerationError {
    /// Means would be of nothing.
    #[error("there are no generated texts to score")]
    NoInstances,
    /// There is nothing to compare an output with.
    #[error("instance {0} (from 0) has no reference; each needs one at least")]
    NoReferences(usize),
}

/// Scores a corpus, by METEOR too if its program is given. A failure of that is part of the result.
///
/// # Errors
/// If the corpus is empty, or an instance has no reference.
pub fn evaluate(
    instances: &[Instance],
    meteor: Option<&Meteor>,
) -> Result<GenerationScores, GenerationError> {
    check(instances)?;
    let (meteor, meteor_failure) = match meteor.map(|meteor| meteor.score(instances)) {
        None => (None, None),
        Some(Ok(scores)) => (Some(scores.corpus), None),
        Some(Err(error)) => (None, Some(error.to_string())),
    };
    let python = Corpus::new(instances, |text| mteval_tokens(text, Script::Python));
    let perl = Corpus::new(instances, |text| mteval_tokens(text, Script::Perl));
    let coco = Corpus::new(instances, coco_tokens);
    Ok(GenerationScores {
        bleu: bleu(&python, Script::Python),
        nist: nist(&python, Script::Python),
        rouge_l: rouge_l(&coco),
        cider: cider(&coco),
        bleu_perl: bleu(&perl, Script::Perl),
        nist_perl: nist(&perl, Script::Perl),
        meteor,
        meteor_failure,
    })
}

fn check(instances: &[Instance]) -> Result<(), GenerationError> {
    if instances.is_empty() {
        return Err(GenerationError::NoInstances);
    }
    match instances.iter().position(|it| it.references.is_empty()) {
        Some(instance) => Err(GenerationError::NoReferences(instance)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn instance(output: &str, references: &[&str]) -> Instance {
        Instance {
            output: output.to_owned(),
            references: references.iter().map(|it| (*it).to_owned()).collect(),
        }
    }

    #[test]
    fn outputs_that_are_their_references_have_full_scores() {
        let texts = [
            "The Vaults is a cheap pub.",
            "Cotto serves Chinese food by the river.",
        ];
        let instances = texts.map(|text| instance(text, &[text]));
        let scores = evaluate(&instances, None).unwrap();
        for (score, full) in [
            (scores.bleu, 1.0),
            (scores.bleu_perl, 1.0),
            (scores.rouge_l, 1.0),
            (scores.cider, 10.0),
        ] {
            assert!((score - full).abs() < 1e-12, "{scores:?}");
        }
        assert_eq!(scores.meteor, None);
        assert_eq!(scores.meteor_failure, None);
    }

    #[test]
    fn a_corpus_of_nothing_has_no_scores() {
        assert_eq!(evaluate(&[], None), Err(GenerationError::NoInstances));
        let instances = [instance("a", &["a"]), instance("a", &[])];
        assert_eq!(
            evaluate(&instances, None),
            Err(GenerationError::NoReferences(1))
        );
    }

    #[test]
    fn texts_without_tokens_have_finite_scores() {
        for texts in [
            [("", ""), ("", "")],
            [("", "a pub"), ("a pub", "")],
            [("-", "."), (" ", "!")],
        ] {
            let instances = texts.map(|(output, reference)| instance(output, &[reference]));
            let scores = evaluate(&instances, None).unwrap();
            let all = [scores.bleu, scores.nist, scores.rouge_l, scores.cider];
            let perl = [scores.bleu_perl, scores.nist_perl];
            assert!(
                all.iter().chain(&perl).all(|it| it.is_finite()),
                "{texts:?}: {scores:?}"
            );
        }
    }

    #[test]
    fn a_failure_of_meteor_is_told_beside_the_other_scores() {
        let meteor = Meteor::new(PathBuf::from("no-such.jar"));
        let scores = evaluate(&[instance("a pub", &["a pub"])], Some(&meteor)).unwrap();
        assert_eq!(scores.meteor, None);
        assert!(
            scores
                .meteor_failure
                .unwrap()
                .starts_with("no-such.jar is not there")
        );
        assert_eq!(scores.rouge_l, 1.0);
    }
}
