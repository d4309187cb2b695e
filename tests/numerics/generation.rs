//! The texts that decoders write.

use rand::SeedableRng;
use regatta::model::ModelError;
use regatta::model::architecture::{CausalLm, Model};
use regatta::model::decoder::cache::KvCache;
use regatta::model::dropout::Masks;
use regatta::model::generate::{BeamSearch, Decoding, Draw, Generated, Limits, generate};
use regatta::model::inputs::Inputs;
use regatta::model::loss::{Labels, Loss};
use regatta_actors::random::Stream;
use tch::{Device, Kind, Tensor, no_grad};

use crate::decoders::{built, drawn, folders, ids};
use crate::support::golden;

#[derive(serde::Deserialize)]
struct Generation {
    max_new_tokens: usize,
    length_penalty: f64,
    no_repeat_ngram: usize,
    eos: Vec<i64>,
    cases: Vec<serde_json::Map<String, serde_json::Value>>,
}

fn tokens(value: &serde_json::Value) -> Vec<i64> {
    let list = value.as_array().unwrap();
    list.iter().map(|token| token.as_i64().unwrap()).collect()
}

/// `greedy`, `beam4`, `beam10_ngram4`: how each is written.
fn decoding(name: &str, golden: &Generation) -> Option<Decoding> {
    if name == "greedy" {
        return Some(Decoding::Greedy);
    }
    let (width, ngram) = match name.strip_prefix("beam")?.split_once("_ngram") {
        Some((width, _)) => (width, golden.no_repeat_ngram),
        None => (name.strip_prefix("beam")?, 0),
    };
    Some(Decoding::Beams(BeamSearch {
        width: width.parse().ok()?,
        length_penalty: golden.length_penalty,
        no_repeat_ngram: ngram,
    }))
}

#[test]
fn golden_generation_writes_the_texts_of_the_reference() {
    let mut compared = 0;
    for folder in folders() {
        let Ok(text) = std::fs::read(folder.join("generation.json")) else {
            continue;
        };
        let golden: Generation = serde_json::from_slice(&text).unwrap();
        let (model, _) = built(&folder);
        let limits = Limits {
            end_tokens: &golden.eos,
            max_new_tokens: golden.max_new_tokens,
        };
        let prompts: Vec<_> = golden
            .cases
            .iter()
            .map(|case| tokens(&case["prompt"]))
            .collect();
        for name in golden.cases[0].keys() {
            let Some(decoding) = decoding(name, &golden) else {
                continue;
            };
            let written = |batch| {
                let stream = |_| Stream::seed_from_u64(0);
                let model = model.as_causal().unwrap();
                generate(model, &prompts, decoding, limits, batch, stream).unwrap()
            };
            let texts = written(8);
            for (alone, text) in written(1).iter().zip(&texts) {
                assert_eq!(alone.tokens, text.tokens, "{name}: read alone");
            }
            for (case, text) in golden.cases.iter().zip(texts) {
                let (tokens, score) = match &case[name] {
                    serde_json::Value::Array(_) => (tokens(&case[name]), None),
                    object => (tokens(&object["tokens"]), object["score"].as_f64()),
                };
                assert_eq!(text.tokens, tokens, "{} {name}", folder.display());
                if let Some(score) = score.filter(|_| name != "greedy") {
                    assert!((text.score - score).abs() < 1e-4, "{name}: {}", text.score);
                }
                compared += 1;
            }
        }
    }
    if golden().join("decoder").is_dir() {
        assert!(compared > 10, "only {compared} texts were there to compare");
    }
}

#[test]
fn greedy_takes_the_likeliest_token_and_a_wider_beam_finds_no_worse_a_text() {
    let prompts = [vec![4, 9, 17], vec![21, 2], vec![30, 11, 6]];
    let limits = Limits {
        end_tokens: &[],
        max_new_tokens: 6,
    };
    for model in drawn() {
        let causal = model.as_causal().unwrap();
        let write = |decoding| {
            generate(causal, &prompts, decoding, limits, 2, |_| {
                Stream::seed_from_u64(0)
            })
            .unwrap()
        };
        let greedy = write(Decoding::Greedy);
        for (prompt, text) in prompts.iter().zip(&greedy) {
            let mut read = prompt.clone();
            for token in &text.tokens {
                let mut cache = KvCache::default();
                let next = no_grad(|| {
                    let hidden = causal.read_prompts(&ids(&read), &mut cache).unwrap();
                    causal.logits(&hidden).unwrap()
                });
                assert_eq!(next.argmax(-1, false).int64_value(&[0]), *token);
                read.push(*token);
            }
        }
        let beams = write(Decoding::Beams(BeamSearch {
            width: 40,
            length_penalty: 0.0,
            no_repeat_ngram: 0,
        }));
        for (beam, greedy) in beams.iter().zip(&greedy) {
            assert!(beam.score >= greedy.score - 1e-5, "{beam:?} {greedy:?}");
        }
    }
}

#[test]
fn logits_that_are_not_numbers_make_no_text() {
    struct Broken;
    impl Model for Broken {
        fn outputs(&self, _: &Inputs, _: Option<&Masks>) -> Result<Tensor, ModelError> {
            Err(ModelError::Refused("not asked for".to_owned()))
        }
        fn joint_hidden(&self, _: &[Inputs], _: &Masks) -> Result<Vec<Tensor>, ModelError> {
            Err(ModelError::Refused("not asked for".to_owned()))
        }
        fn outputs_of(
            &self,
            _: &Tensor,
            _: &Inputs,
            _: Option<&Masks>,
        ) -> Result<Tensor, ModelError> {
            Err(ModelError::Refused("not asked for".to_owned()))
        }
        fn loss(&self, _: &Tensor, _: &Labels, _: f64) -> Result<Loss, ModelError> {
            Err(ModelError::Refused("not asked for".to_owned()))
        }
        fn checkpoint_blocks(&mut self) {}
        fn finish_backward(&self) -> Result<(), ModelError> {
            Ok(())
        }
    }
    impl CausalLm for Broken {
        fn logits(&self, hidden: &Tensor) -> Result<Tensor, ModelError> {
            Ok(hidden.shallow_clone())
        }
        fn read_prompts(&self, ids: &Tensor, cache: &mut KvCache) -> Result<Tensor, ModelError> {
            self.read_next(ids, cache)
        }
        fn read_next(&self, ids: &Tensor, _: &mut KvCache) -> Result<Tensor, ModelError> {
            let kind = (Kind::Float, Device::Cpu);
            Ok(Tensor::full([ids.size()[0], 5], f64::NAN, kind))
        }
        fn device(&self) -> Device {
            Device::Cpu
        }
    }
    let limits = Limits {
        end_tokens: &[],
        max_new_tokens: 3,
    };
    let draw = Draw {
        temperature: 1.0,
        top_p: 1.0,
        top_k: 0,
    };
    for decoding in [Decoding::Greedy, Decoding::Draw(draw)] {
        let stream = |_| Stream::seed_from_u64(0);
        let error = generate(&Broken, &[vec![1]], decoding, limits, 1, stream).unwrap_err();
        assert!(error.to_string().contains("not numbers"), "{error}");
    }
}

#[test]
fn a_drawn_text_depends_on_its_stream_alone() {
    let model = drawn().remove(0);
    let limits = Limits {
        end_tokens: &[],
        max_new_tokens: 12,
    };
    let how = Draw {
        temperature: 1.0,
        top_p: 0.95,
        top_k: 50,
    };
    let prompts = [vec![5, 6, 7], vec![8, 9], vec![5, 6, 7]];
    let written = |batch| {
        let stream = |at| Stream::seed_from_u64(at as u64);
        let model = model.as_causal().unwrap();
        generate(model, &prompts, Decoding::Draw(how), limits, batch, stream).unwrap()
    };
    let texts = written(3);
    let tokens = |texts: &[Generated]| -> Vec<Vec<i64>> {
        texts.iter().map(|text| text.tokens.clone()).collect()
    };
    assert_eq!(tokens(&texts), tokens(&written(1)));
    assert!(texts.iter().all(|text| text.tokens.len() == 12));
    assert_ne!(texts[0].tokens, texts[2].tokens, "two streams");
}
