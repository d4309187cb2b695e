//! The tasks instruct and gsm8k with a tiny decoder whose weights are drawn: templates, several
//! turns, and packed rows; `instruct_refused` has bad input.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::e2e::{bytes_tokenizer, digests, scores};
use crate::workplace::Workplace;

pub const RUN: &str = "run --task instruct --data chats.jsonl --model random:gpt2.json \
                   --tokenizer bytes.json --target_modules c_attn,c_proj --num_clients 2 \
                   --local_epochs 1 --batch_size 4 --max_new_tokens 5 --metrics off --web off \
                   --quiet";

const GPT2: &str = r#"{"model_type": "gpt2", "vocab_size": 259, "n_positions": 1024, "n_embd": 16,
    "n_layer": 2, "n_head": 2, "initializer_range": 0.2, "eos_token_id": 256}"#;

/// A place with a decoder's sizes, a tokenizer that makes a token of each byte and has ChatML's two,
/// and twenty conversations of two turns.
pub fn place() -> Workplace {
    let place = Workplace::new();
    place.write("gpt2.json", GPT2);
    let mut tokenizer = bytes_tokenizer();
    let added = tokenizer["added_tokens"].as_array_mut().unwrap();
    for (id, content) in [(257, "<|im_start|>"), (258, "<|im_end|>")] {
        let mut token = added[0].clone();
        token["id"] = json!(id);
        token["content"] = json!(content);
        added.push(token);
    }
    place.write("bytes.json", &tokenizer.to_string());
    let chats: String = (0..20).map(|number| chat(number) + "\n").collect();
    place.write("chats.jsonl", &chats);
    place
}

/// A conversation of two turns.
pub fn chat(number: usize) -> String {
    let kind = ["sums", "names"][number % 2];
    json!({"category": kind, "messages": [
        {"role": "user", "content": format!("Begin at {number}.")},
        {"role": "assistant", "content": "Done."},
        {"role": "user", "content": "And now?"},
        {"role": "assistant", "content": "+1 ".repeat(number)}]})
    .to_string()
    .replace("\"content\":\"\"", "\"content\":\"nothing\"")
}

/// What the program says on the side.
fn warnings(place: &Workplace, line: &str) -> String {
    let output = place.regatta(line);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

fn shown(place: &Workplace, line: &str) -> Value {
    let line = format!("{} --format json", line.replacen("run", "data", 1));
    serde_json::from_str(&place.accepts(&line)).unwrap()
}

#[test]
fn both_turns_of_a_conversation_are_learnt_with_the_tokens_that_end_them() {
    let place = place();
    let table = shown(&place, &format!("{RUN} --template chatml --show 1"));
    let parts = table["examples"].as_array().unwrap();
    let names: Vec<&str> = parts
        .iter()
        .map(|it| it["part"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["prompt", "answer", "prompt", "answer"]);
    for part in parts {
        let tokens = part["tokens"].as_str().unwrap();
        let is_answer = part["part"] == "answer";
        assert_eq!(
            part["counts"],
            if is_answer {
                part["length"].clone()
            } else {
                json!(0)
            }
        );
        assert_eq!(tokens.ends_with("<|im_end|>"), is_answer, "{tokens}");
    }
    assert_eq!(parts[1]["tokens"], "D o n e . <|im_end|>");
}

#[test]
fn a_run_on_conversations_replays_resumes_and_writes_texts() {
    let place = place();
    let run = format!("{RUN} --template chatml --rounds 2 --generate_every 1");
    let said = warnings(&place, &format!("{run} --lanes 2 --out whole"));
    assert!(
        said.contains("of 20 examples are held out for validation"),
        "{said}"
    );
    let expected = digests(&place, "whole");
    let last = scores(&place.rounds("whole")[1]);
    for name in ["perplexity", "base_perplexity", "bleu", "rouge_l"] {
        assert!(last[name].is_finite(), "{name}");
    }
    let said = place.accepts("replay whole --check --lanes 1");
    assert!(said.contains("are the same, bit for bit"), "{said}");
    place.accepts("resume whole --lanes 1");
    assert_eq!(digests(&place, "whole"), expected);
    let texts: Value =
        serde_json::from_str(&place.read("whole/generated/round-00002.json")).unwrap();
    let prompt = texts["texts"][0]["prompt"].as_str().unwrap();
    assert!(
        prompt.contains("assistant: Done.\nuser: And now?"),
        "{prompt}"
    );
    let scenario = place.read("whole/scenario.toml");
    assert!(scenario.contains("template = \"chatml\""), "{scenario}");
    let mut generate = place.command("generate whole");
    let generate = generate
        .args(["--prompt", "Say <|im_end|>"])
        .output()
        .unwrap();
    assert!(generate.status.success());
}

#[test]
fn packed_rows_train_to_the_same_losses_and_replay_to_the_same_bits() {
    let place = place();
    let run = format!("{RUN} --template chatml --rounds 2 --model_dropout 0 --lora_dropout 0");
    place.accepts(&format!("{run} --out plain"));
    place.accepts(&format!("{run} --pack --out packed"));
    for (plain, packed) in place.rounds("plain").iter().zip(place.rounds("packed")) {
        for (name, value) in scores(plain) {
            let miss = (value - scores(&packed)[&name]).abs();
            assert!(
                !name.contains("loss") || miss < 2e-3,
                "{name} misses by {miss:e}"
            );
        }
    }
    assert_ne!(
        digests(&place, "plain"),
        digests(&place, "packed"),
        "rows of several examples"
    );
    let said = place.accepts("replay packed --check --lanes 1");
    assert!(said.contains("are the same, bit for bit"), "{said}");
    let again = format!("{run} --pack --checkpoint_blocks --out again");
    place.accepts(&again);
    assert_eq!(digests(&place, "again"), digests(&place, "packed"));
    let refused = "run --task rte --model models/tiny --pack";
    assert!(
        place.errors(refused)[0].contains("has no meaning"),
        "{refused}"
    );
}

#[test]
fn special_tokens_that_a_user_spells_are_text() {
    let place = place();
    let spelled = "{\"question\": \"a<|im_end|>b\", \"answer\": \"<|im_start|>\"}\n";
    fs::create_dir(place.path().join("spelled")).unwrap();
    place.write("spelled/train.jsonl", &spelled.repeat(2));
    place.write("spelled/val.jsonl", spelled);
    let run = RUN.replace("chats.jsonl", "spelled");
    let table = shown(&place, &format!("{run} --template chatml --show 1"));
    let tokens = |at: usize| table["examples"][at]["tokens"].as_str().unwrap().to_owned();
    assert_eq!(tokens(0).matches("<|im_end|>").count(), 1, "{}", tokens(0));
    assert!(
        tokens(0).contains("a < | i m _ e n d | > b <|im_end|>"),
        "{}",
        tokens(0)
    );
    assert_eq!(tokens(1), "< | i m _ s t a r t | > <|im_end|>");
}

#[test]
fn the_models_own_template_is_used_where_it_has_one_and_said_so() {
    let place = place();
    let own = "{% for m in messages %}{{ '<|im_start|>' + m.role + ':' + m.content + '<|im_end|>' }}\
               {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant:' }}{% endif %}";
    let said = warnings(&place, &RUN.replacen("run", "data", 1));
    assert!(
        said.contains("the template is chatml: the model has none"),
        "{said}"
    );
    place.write("chat_template.jinja", own);
    let said = warnings(&place, &RUN.replacen("run", "data", 1));
    assert!(
        said.contains("the template is model: it is the model's own"),
        "{said}"
    );
    let table = shown(&place, &format!("{RUN} --show 1"));
    let tokens = table["examples"][0]["tokens"].as_str().unwrap();
    assert!(
        tokens.starts_with("<|im_start|> u s e r : B e g i n"),
        "{tokens}"
    );
    assert!(
        tokens.ends_with("<|im_end|> <|im_start|> a s s i s t a n t :"),
        "{tokens}"
    );
    place.accepts(&format!("{RUN} --rounds 1 --out run"));
    assert!(
        place
            .read("run/scenario.toml")
            .contains("template = \"model\"")
    );
}

#[test]
fn a_length_that_nobody_chose_is_no_longer_than_the_model_takes() {
    let place = place();
    place.write("gpt2.json", &GPT2.replace("1024", "256"));
    let run = format!("{RUN} --template chatml --rounds 1");
    let said = warnings(&place, &format!("{run} --out run"));
    assert!(
        said.contains("texts are cut to 256 tokens, not to 512"),
        "{said}"
    );
    let scenario = place.read("run/scenario.toml");
    assert!(scenario.contains("max_seq_length = 256"), "{scenario}");
    let errors = place.errors(&format!("{run} --max_seq_length 512"));
    assert!(errors[0].contains("to 256 tokens"), "{errors:?}");
}

#[test]
fn clients_are_divided_by_a_key_of_the_records() {
    let place = place();
    place.accepts(&format!(
        "{RUN} --template chatml --partition natural:category --rounds 1 --out run"
    ));
    let clients = place.rounds("run")[0].clients.clone();
    let names: Vec<String> = clients.into_iter().map(|client| client.name).collect();
    assert_eq!(names, ["names", "sums"]);
}

#[test]
fn word_problems_are_scored_by_their_final_numbers() {
    let place = place();
    let problem = |number: usize| {
        let answer = format!("It is <<1+{number}={0}>>{0}.\n#### {0}", number + 1);
        json!({"question": format!("What is 1 + {number}?"), "answer": answer}).to_string() + "\n"
    };
    fs::create_dir_all(place.path().join("data/gsm8k")).unwrap();
    let problems: String = (0..20).map(problem).collect();
    place.write("data/gsm8k/train.jsonl", &problems);
    place.write("data/gsm8k/test.jsonl", &problem(30));
    let run = RUN.replace("instruct --data chats.jsonl", "gsm8k --data data");
    place.accepts(&format!("{run} --rounds 1 --out run"));
    let last = scores(&place.rounds("run")[0]);
    assert_eq!((last["exact_match"], last["base_exact_match"]), (0.0, 0.0));
    assert!(last["perplexity"].is_finite() && !last.contains_key("bleu"));
    assert_eq!(
        place
            .read("run/predictions/gsm8k-test-references.txt")
            .lines()
            .count(),
        1
    );
    let table = shown(&place, &format!("{run} --show 1"));
    let tokens = table["examples"][0]["tokens"].as_str().unwrap();
    assert!(
        tokens.starts_with("Q u e s t i o n : Ġ W h a t"),
        "{tokens}"
    );
    let table = shown(&place, &format!("{run} --template chatml --show 1"));
    let tokens = table["examples"][0]["tokens"].as_str().unwrap();
    assert!(tokens.starts_with("<|im_start|> u s e r"), "{tokens}");
}

#[test]
fn the_shared_word_problems_are_read_whole() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/gsm8k");
    if !shared.is_dir() {
        return;
    }
    let place = place();
    let run = RUN.replace("instruct --data chats.jsonl", "gsm8k");
    let run = format!(
        "{run} --data {} --limit_eval 50 --limit_test 20",
        shared.display()
    );
    let table = shown(&place, &run);
    let examples = |at: usize| table["splits"][at]["examples"].as_u64().unwrap();
    assert!((6_500..6_900).contains(&examples(0)), "{}", examples(0));
    assert_eq!((examples(1), examples(2)), (50, 20));
}

#[test]
fn a_tokenizer_without_a_templates_tokens_is_told_once() {
    let place = place();
    place.write("bytes.json", &bytes_tokenizer().to_string());
    let said = warnings(
        &place,
        &format!("{RUN} --template chatml --rounds 1 --out run"),
    );
    assert_eq!(
        said.matches("which the model's tokenizer lacks").count(),
        1,
        "{said}"
    );
}
