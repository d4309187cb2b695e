#![allow(clippy::unwrap_used)]
use regatta::data::limits::TokenizerLimits;
use regatta::data::schema::SplitName;
use regatta::data::split::{Example, Split};
use regatta::data::tokenize::TextEncoder;
use regatta::tasks::instruct::chat::Chat;
use regatta::tasks::instruct::conversation::*;
use regatta::tasks::instruct::template::TemplateChoice;

#[test]
fn ids() {
    let reference: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string("/tmp/b/tpl/ref.json").unwrap()).unwrap();
    for (name, end) in [("qwen3", 151645u32), ("llama3_1", 128009)] {
        let limits = TokenizerLimits {
            model: name.into(),
            vocabulary: 200000,
            token_types: None,
            positions: 4096,
            pad_id: 0,
            end_tokens: vec![end],
            is_decoder: true,
            tokenizer_class: None,
        };
        let encoder = TextEncoder::new(
            std::path::Path::new(&format!("/tmp/b/tpl/{name}/package/models/tokenizer.json")),
            &limits,
            1024,
        )
        .unwrap();
        for choice in [
            TemplateChoice::Model,
            if name == "qwen3" {
                TemplateChoice::CHATML
            } else {
                "llama3".parse().unwrap()
            },
        ] {
            for (case, v) in reference[name].as_object().unwrap() {
                let mut c = Conversation::default();
                let mut q: Option<String> = None;
                let mut a: Option<String> = None;
                for m in v["messages"].as_array().unwrap() {
                    let t = m["content"].as_str().unwrap().to_owned();
                    match m["role"].as_str().unwrap() {
                        "system" => c.system = Some(t),
                        "user" => {
                            if let (Some(q), Some(a)) = (q.take(), a.take()) {
                                c.turns.push(Turn(q, a));
                            }
                            q = Some(t)
                        }
                        _ => a = Some(t),
                    }
                }
                c.question = q.unwrap();
                let mut split = Split::new(true, SplitName::Train);
                split.push(Example {
                    id: 0,
                    text_a: &c.to_text(),
                    text_b: a.as_deref(),
                    label: None,
                });
                let chat = Chat(choice);
                let encoded = match chat.encode(&split, &encoder, None) {
                    Ok(e) => e,
                    Err(e) => {
                        println!("{name} {case}: {e}");
                        continue;
                    }
                };
                let ids = |k: &str| -> Vec<u32> {
                    v[k].as_array()
                        .unwrap()
                        .iter()
                        .map(|i| i.as_u64().unwrap() as u32)
                        .collect()
                };
                let (want, found) = (ids("ids"), encoded.ids(0).to_vec());
                let prompt = chat
                    .encode_prompts(&[&c.to_text()], &encoder)
                    .unwrap()
                    .remove(0);
                let first = encoded.answer(0).next().unwrap();
                let labelled: Vec<u32> = encoded.answer(0).map(|at| found[at]).collect();
                println!(
                    "{name} {choice} {case}: whole {} prompt {} own-prefix {} ends {:?} first {first} learnt {:?}",
                    want.starts_with(&found),
                    prompt == ids("prompt_ids"),
                    found.starts_with(&prompt),
                    chat.end_tokens(&encoder),
                    encoder.decode(&labelled)
                );
                if case != "tricky" && (choice == TemplateChoice::Model) {
                    assert!(
                        want.starts_with(&found) && prompt == ids("prompt_ids"),
                        "{found:?}\n{want:?}"
                    );
                }
            }
        }
    }
}
