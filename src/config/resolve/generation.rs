//! How and when texts are written.

use crate::config::resolve::Resolver;
use crate::config::settings::{ALL, SETTINGS};
use crate::model::generate::{BeamSearch, Decoding, Draw};
use crate::tasks::Task;
use crate::tasks::texts::{GenerationPlan, TextDefaults};

/// The settings of when texts are written and how they are scored; those of how they are written
/// are declared as such.
const WHEN_AND_SCORES: [&str; 4] = ["generate_every", "log", "limit_generate", "meteor_jar"];

/// Those of beam search, and those of drawing.
const SEARCH: [&str; 3] = ["num_beams", "length_penalty", "no_repeat_ngram"];
const DRAW: [&str; 2] = ["top_p", "top_k"];

impl Resolver<'_> {
    /// How a task's texts are written; `None` where it has none.
    pub(crate) fn generation(&mut self, task: &dyn Task) -> Option<GenerationPlan> {
        let Some(texts) = task.texts().map(|texts| texts.defaults()) else {
            let how = ALL.iter().map(|setting| setting.facts());
            let how = how.filter(|facts| facts.of_texts).map(|facts| facts.key);
            for key in WHEN_AND_SCORES.into_iter().chain(how) {
                self.reject_unused(key, format_args!("{task}, for which no text is written"));
            }
            return None;
        };
        if self.settings.log.take() == Some(true) {
            if self.settings.generate_every.is_some_and(|every| every != 1) {
                let right = "give one of the two";
                self.problems
                    .report("log", "generate_every says otherwise", right);
            }
            self.settings.generate_every = Some(1);
        }
        let evaluated = self.value(&SETTINGS.eval_every);
        if let Some(every) = self.settings.generate_every {
            self.problems.require(
                every.is_multiple_of(evaluated),
                "generate_every",
                format_args!(
                    "the model is evaluated every {evaluated} rounds, and writes texts then"
                ),
                "give a multiple of eval_every",
            );
        }
        let settings = &mut self.settings;
        let most = *settings.max_new_tokens.get_or_insert(texts.max_new_tokens);
        Some(GenerationPlan {
            decoding: self.decoding(texts),
            max_new_tokens: most,
            every: self.settings.generate_every,
            limit: self.value(&SETTINGS.limit_generate),
            meteor_jar: self.settings.meteor_jar.clone(),
        })
    }

    fn decoding(&mut self, texts: TextDefaults) -> Decoding {
        if let Some(temperature) = self.settings.temperature {
            for key in SEARCH {
                self.reject_unused(key, "--temperature, by which texts are drawn");
            }
            return Decoding::Draw(Draw {
                temperature,
                top_p: *self.settings.top_p.get_or_insert(1.0),
                top_k: *self.settings.top_k.get_or_insert(0) as usize,
            });
        }
        for key in DRAW {
            self.reject_unused(key, "beam search; it goes with --temperature");
        }
        let (settings, search) = (&mut self.settings, texts.search);
        let width = settings.num_beams.get_or_insert(search.width as u32);
        let length_penalty = settings.length_penalty.get_or_insert(search.length_penalty);
        let ngram = settings
            .no_repeat_ngram
            .get_or_insert(search.no_repeat_ngram as u32);
        Decoding::Beams(BeamSearch {
            width: *width as usize,
            length_penalty: *length_penalty,
            no_repeat_ngram: *ngram as usize,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{plan, problems};

    #[test]
    fn texts_are_written_as_the_task_has_it_unless_something_else_is_said() {
        let generation = |text: &str| plan(&format!("task = \"e2e\"\n{text}")).generation.unwrap();
        let default = generation("");
        let search = |width, no_repeat_ngram| {
            Decoding::Beams(BeamSearch {
                width,
                length_penalty: 0.8,
                no_repeat_ngram,
            })
        };
        assert_eq!(
            (default.decoding, default.max_new_tokens),
            (search(10, 4), 64)
        );
        assert_eq!(
            generation("num_beams = 1\nno_repeat_ngram = 0").decoding,
            search(1, 0)
        );
        let drawn = Draw {
            temperature: 0.7,
            top_p: 1.0,
            top_k: 5,
        };
        let found = generation("temperature = 0.7\ntop_k = 5").decoding;
        assert_eq!(found, Decoding::Draw(drawn));
        assert_eq!(plan("task = \"sst2\"").generation, None);
    }

    #[test]
    fn settings_that_have_no_meaning_are_refused() {
        for (text, key) in [
            ("task = \"sst2\"\nnum_beams = 2", "num_beams"),
            ("task = \"e2e\"\ntop_p = 0.5", "top_p"),
            ("task = \"sst2\"\nlog = true", "log"),
            (
                "task = \"e2e\"\ntemperature = 1.0\nnum_beams = 2",
                "num_beams",
            ),
        ] {
            let text = problems(text).concat();
            assert!(
                text.contains(&format!("{key} = ")) && text.contains("no meaning"),
                "{text}"
            );
        }
    }

    #[test]
    fn texts_are_written_when_the_model_is_evaluated() {
        let text = "task = \"e2e\"\neval_every = 2\ngenerate_every = ";
        assert_eq!(plan(&format!("{text}4")).generation.unwrap().every, Some(4));
        let refused = problems(&format!("{text}3")).concat();
        assert!(
            refused.contains("generate_every = 3: ") && refused.contains("every 2"),
            "{refused}"
        );
    }

    #[test]
    fn all_prompts_are_written_for_after_the_last_round() {
        let text = "task = \"e2e\"\ngenerate_every = 2\nlimit_generate = 3";
        let plan = plan(text).generation.unwrap();
        let after = |round| plan.prompts_after(round, 5, 7);
        assert_eq!([1, 2, 4, 5].map(after), [None, Some(3), Some(3), Some(7)]);
    }
}
