//! METEOR 1.5 (Denkowski and Lavie, 2014), by its own program in Java.
//!
//! METEOR aligns words by stems, synonyms and a table of paraphrases of 62 MB; a user who has
//! `meteor-1.5.jar`, with its `data` beside it, names it, and for others the score is absent. The
//! program reads a question a line and answers each with a line: for each instance `SCORE` gives its
//! statistics, and `EVAL` with all of these gives a score for each and one for the corpus.

pub mod error;
mod program;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use self::error::MeteorError;
use self::program::Program;
use super::instance::Instance;
use super::ptb::ptb_tokens;

/// How METEOR is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meteor {
    /// The command of Java.
    pub java: PathBuf,
    /// The file `meteor-1.5.jar`.
    pub jar: PathBuf,
    /// How long an answer may take. The first takes seconds, as tables are read.
    pub patience: Duration,
}

/// METEOR of a corpus, from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct MeteorScores {
    /// Of the corpus; not the mean.
    pub corpus: f64,
    /// Of each instance.
    pub each: Vec<f64>,
}

impl Meteor {
    /// METEOR of this jar, with the `java` of the search path and two minutes for an answer.
    #[must_use]
    pub fn new(jar: PathBuf) -> Self {
        Self {
            java: PathBuf::from("java"),
            jar,
            patience: Duration::from_secs(120),
        }
    }

    /// Scores a corpus.
    ///
    /// # Errors
    /// If the program cannot be called, ends early, is silent for too long or answers something else.
    pub fn score(&self, instances: &[Instance]) -> Result<MeteorScores, MeteorError> {
        if !self.jar.is_file() {
            return Err(MeteorError::NoJar(self.jar.clone()));
        }
        let mut program = self.start()?;
        let mut all = "EVAL".to_owned();
        for instance in instances {
            let statistics = program.ask(question(instance))?;
            all = all + " ||| " + &statistics;
        }
        let first = program.ask(all)?;
        let mut scores = vec![score(&first)?];
        for _ in instances {
            scores.push(score(&program.answer()?)?);
        }
        let corpus = scores.pop().unwrap_or_default();
        Ok(MeteorScores {
            corpus,
            each: scores,
        })
    }

    fn start(&self) -> Result<Program, MeteorError> {
        let mut command = Command::new(&self.java);
        command.arg("-Xmx2G").arg("-jar").arg(&self.jar);
        command.args(["-", "-", "-stdio", "-l", "en", "-norm"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.stderr(Stdio::piped()).spawn();
        let child = child.map_err(|source| MeteorError::NoJava {
            java: self.java.clone(),
            source,
        })?;
        Ok(Program::new(child, self.patience))
    }
}

/// `SCORE ||| reference ||| reference ||| output`, in PTB tokens.
fn question(instance: &Instance) -> String {
    let texts = instance.references.iter().chain([&instance.output]);
    texts.fold("SCORE".to_owned(), |question, text| {
        let tokens = ptb_tokens(text).join(" ");
        question + " ||| " + &tokens.replace("|||", "").replace("  ", " ")
    })
}

fn score(answer: &str) -> Result<f64, MeteorError> {
    let score = answer.trim().parse().ok();
    score
        .filter(|score| (0.0..=1.0).contains(score))
        .ok_or_else(|| MeteorError::NoScore(answer.to_owned()))
}

#[cfg(test)]
mod tests;
