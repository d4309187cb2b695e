//! Tasks whose models write texts.

use serde_json::{Value, json};

use crate::own_data::scores;

#[test]
fn a_language_model_learns_answers_to_prompts_made_of_columns() {
    let place = crate::e2e::place();
    let line = |at: usize| {
        json!({
            "about": {"boat": format!("boat {at}")},
            "ask": "how old?",
            "said": format!("{} years", at % 4),
            "key": at,
        })
        .to_string()
    };
    let lines: Vec<String> = (0..24).map(line).collect();
    place.write("ask.jsonl", &lines.join("\n"));
    place.write(
        "test.json",
        &json!([{"about": {"boat": "x"}, "ask": "how big?", "key": "t-1"}]).to_string(),
    );
    place.write(
        "ask.toml",
        "[task]\ntrain = \"ask.jsonl\"\ntest = \"test.json\"\nid = \"key\"\nanswer = \"said\"\n\
         prompt = \"{about.boat}: {ask} ->\"\nmetrics = [\"rouge_l\"]\nholdout = 0.25\n",
    );
    let run = "--model random:gpt2.json --tokenizer bytes.json --target_modules c_attn,c_proj \
               --num_clients 2 --local_epochs 1 --rounds 2 --batch_size 4 --max_seq_length 128 \
               --max_new_tokens 4 --metrics off --web off --quiet";
    place.accepts(&format!(
        "run --task ask.toml {run} --generate_every 1 --out run"
    ));
    let found = scores(&place, "run");
    for name in ["perplexity", "base_perplexity", "rouge_l", "bleu", "loss"] {
        assert!(found[name].is_finite(), "{name}");
    }
    let written = place.read("run/predictions/ask-test.csv");
    assert!(written.starts_with("key,text\nt-1,"), "{written}");
    let texts: Value = serde_json::from_str(&place.read("run/generated/round-00002.json")).unwrap();
    let prompt = texts["texts"][0]["prompt"].as_str().unwrap();
    assert!(
        prompt.starts_with("boat ") && prompt.ends_with(": how old? ->"),
        "{prompt}"
    );
    let said = place.accepts("replay run --check");
    assert!(said.contains("are the same, bit for bit"), "{said}");
    let mut command = place.command("generate run --format json");
    let output = command
        .args(["--prompt", "boat 3: how old? ->"])
        .output()
        .unwrap();
    let texts: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(texts[0]["prompt"], "boat 3: how old? ->");

    // By flags alone, of one column.
    let mut command = place.command(
        &format!("data --task ask.jsonl --answer said {run} --show 1 --format json")
            .replace("--max_new_tokens 4 ", ""),
    );
    let output = command
        .args(["--prompt", "{key} {ask}\n"])
        .output()
        .unwrap();
    let table: Value = serde_json::from_slice(&output.stdout).unwrap();
    let parts = table["examples"].as_array().unwrap();
    let tokens = parts[1]["tokens"].as_str().unwrap();
    assert!(
        tokens.ends_with("Ġ y e a r s <|endoftext|>") && !tokens.starts_with('Ġ'),
        "{tokens}"
    );
    let errors =
        place.errors(&format!("run --task ask.toml {run}").replace("_length 128", "_length 16"));
    assert!(errors[0].contains("cuts the whole answer"), "{errors:?}");
}

#[test]
fn instructions_in_files_of_the_users_own_are_learnt_by_a_template() {
    let place = crate::e2e::place();
    let line = |at: usize| {
        json!({"instruction": format!("Add {at} and 1."), "output": (at + 1).to_string()})
            .to_string()
    };
    let lines: Vec<String> = (0..12).map(line).collect();
    place.write("sums.jsonl", &lines.join("\n"));
    place.write(
        "more.json",
        &json!([{"instruction": "Add 40 and 1.", "output": "41"}]).to_string(),
    );
    let task = "[task]\nkind = \"instruct\"\ntrain = \"sums.jsonl\"\nvalidation = \"more.json\"\n";
    place.write("sums.toml", &format!("{task}template = \"alpaca\"\n"));
    let run = "--model random:gpt2.json --tokenizer bytes.json --target_modules c_attn \
               --num_clients 2 --local_epochs 1 --rounds 1 --batch_size 4 --max_seq_length 240 \
               --max_new_tokens 4 --metrics off --web off --quiet";
    place.accepts(&format!("run sums.toml {run} --out run"));
    assert!(scores(&place, "run")["perplexity"].is_finite());
    let scenario = place.read("run/scenario.toml");
    assert!(scenario.contains("template = \"alpaca\""), "{scenario}");
    let said = place.accepts("replay run --check");
    assert!(said.contains("are the same, bit for bit"), "{said}");
    place.accepts("report run");
    place.write("bad.toml", &format!("{task}label = \"output\"\n"));
    let errors = place.errors(&format!("run bad.toml {run}"));
    assert!(errors[0].contains("kind = \"instruct\""), "{errors:?}");
}
