//! The task e2e with tiny decoders whose weights are drawn: training, texts, and bad input.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use regatta_actors::protocol::round_record::RoundRecord;
use serde_json::{Map, Value, json};

use crate::workplace::Workplace;

/// What most runs here have.
const RUN: &str = "run --task e2e --data data --model random:gpt2.json --tokenizer bytes.json \
                   --target_modules c_attn,c_proj --num_clients 2 --local_epochs 1 --batch_size 4 \
                   --max_seq_length 256 --limit_train 16 --limit_eval 6 --limit_test 4 \
                   --num_beams 2 --max_new_tokens 5 --metrics off --web off --quiet";

const GPT2: &str = r#"{"model_type": "gpt2", "vocab_size": 257, "n_positions": 256, "n_embd": 16,
    "n_layer": 2, "n_head": 2, "initializer_range": 0.2, "eos_token_id": 256}"#;

const LLAMA: &str = r#"{"model_type": "llama", "vocab_size": 257, "hidden_size": 16,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 24, "max_position_embeddings": 256, "initializer_range": 0.2,
    "eos_token_id": [256, 10]}"#;

/// A place with two decoders' sizes, a tokenizer that makes a token of each byte, and the
/// restaurants of the project.
pub fn place() -> Workplace {
    let place = Workplace::new();
    place.write("gpt2.json", GPT2);
    place.write("llama.json", LLAMA);
    place.write("bytes.json", &bytes_tokenizer().to_string());
    let restaurants = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/restaurants");
    fs::create_dir_all(place.path().join("data/e2e")).unwrap();
    for entry in fs::read_dir(restaurants).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        fs::copy(&path, place.path().join("data/e2e").join(name)).unwrap();
    }
    place
}

/// Byte-level BPE without merges, as GPT-2's: a letter for each byte, and the end of a text.
pub fn bytes_tokenizer() -> Value {
    let is_shown = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut hidden = 256..;
    let letters = (0..256).map(|byte| match is_shown(byte) {
        true => byte,
        false => hidden.next().unwrap(),
    });
    let letters = letters.map(|letter| char::from_u32(letter).unwrap().to_string());
    let vocabulary: Map<String, Value> = letters.zip((0..).map(|id| json!(id))).collect();
    let level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
        "use_regex": true});
    json!({
        "version": "1.0",
        "added_tokens": [{"id": 256, "content": "<|endoftext|>", "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
        "pre_tokenizer": level,
        "decoder": level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    })
}

pub fn digests(place: &Workplace, folder: &str) -> Vec<String> {
    place
        .rounds(folder)
        .into_iter()
        .map(|round| round.state_digest.0)
        .collect()
}

pub fn scores(round: &RoundRecord) -> BTreeMap<String, f64> {
    round.eval.clone().unwrap_or_default()
}

#[test]
fn texts_are_written_in_the_rounds_that_are_asked_for_and_scored_beside_the_base() {
    let place = place();
    let line = "--rounds 3 --generate_every 2 --limit_generate 2 --agg_type fedex --out run";
    place.accepts(&format!("{RUN} {line}"));
    for (round, written) in place.rounds("run").iter().zip([false, true, true]) {
        let scores = scores(round);
        for name in ["loss", "perplexity", "base_loss", "base_perplexity"] {
            assert!(scores[name].is_finite(), "{name}");
        }
        assert!((scores["loss"].exp() - scores["perplexity"]).abs() < 1e-6);
        for name in ["bleu", "nist", "rouge_l", "cider", "base_bleu"] {
            assert_eq!(scores.contains_key(name), written, "{name}");
        }
        assert!(round.exactness_error.unwrap() < 1e-5);
    }
    // The limit is for rounds before the last; six examples have three prompts.
    let texts = |round: u32| -> Value {
        serde_json::from_str(&place.read(&format!("run/generated/round-{round:05}.json"))).unwrap()
    };
    let count = |round| texts(round)["texts"].as_array().unwrap().len();
    assert_eq!([count(2), count(3), count(0)], [2, 3, 3]);
    let first = &texts(3)["texts"][0];
    assert!(
        first["prompt"].as_str().unwrap().ends_with("] ->"),
        "{first}"
    );
    assert_eq!(first["references"].as_array().unwrap().len(), 2);
    for (file, lines) in [("e2e-validation", 3), ("e2e-test", 2)] {
        let text = place.read(&format!("run/predictions/{file}.txt"));
        assert_eq!(text.lines().count(), lines, "{file}");
        let references = place.read(&format!("run/predictions/{file}-references.txt"));
        assert_eq!(references.split("\n\n").count(), lines, "{file}");
    }
}

#[test]
fn texts_are_written_over_a_base_of_four_bits_and_the_run_replays() {
    let place = place();
    for (model, targets) in [("gpt2", "c_attn,c_proj"), ("llama", "q_proj,down_proj")] {
        let run = RUN.replace("gpt2.json", &format!("{model}.json"));
        let run = run.replace("c_attn,c_proj", targets);
        let line = "--rounds 2 --agg_type fedex --base_precision nf4 --checkpoint_blocks";
        place.accepts(&format!("{run} {line} --lanes 2 --out {model}"));
        let last = &place.rounds(model)[1];
        assert!(last.exactness_error.unwrap() < 1e-6);
        assert!(scores(last)["loss"].is_finite() && scores(last).contains_key("bleu"));
        let said = place.accepts(&format!("replay {model} --check --lanes 1"));
        assert!(said.contains("are the same, bit for bit"), "{said}");
        let prompt = ["--prompt", "name[The Mill] ->"];
        let output = place
            .command(&format!("generate {model}"))
            .args(prompt)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn a_decoders_run_replays_and_resumes_to_the_same_bits_whatever_the_lanes() {
    let place = place();
    for (model, targets) in [("gpt2", "c_attn,c_proj"), ("llama", "q_proj,down_proj")] {
        let run = RUN.replace("gpt2.json", &format!("{model}.json"));
        let run = run.replace("c_attn,c_proj", targets);
        let run = format!("{run} --rounds 2 --generate_every 1 --label_smoothing 0.1");
        let whole = format!("{model}-whole");
        place.accepts(&format!(
            "{run} --max_grad_norm 1e-4 --lanes 2 --out {whole}"
        ));
        let said = place.accepts(&format!("replay {whole} --check --lanes 1"));
        assert!(said.contains("are the same, bit for bit"), "{said}");
        // Its last checkpoint is that of the round before: it does the last one again.
        let (expected, scored) = (digests(&place, &whole), scores(&place.rounds(&whole)[1]));
        let said = place.accepts(&format!("resume {whole} --lanes 1"));
        assert!(said.contains("resuming after round 1"), "{said}");
        assert_eq!(digests(&place, &whole), expected);
        assert_eq!(scores(&place.rounds(&whole)[1]), scored);
        place.accepts(&format!("{run} --out {model}-other"));
        assert_ne!(
            digests(&place, &format!("{model}-other")),
            expected,
            "no limit of the norm"
        );
    }
}

#[test]
fn clients_are_divided_by_what_a_representation_names() {
    let place = place();
    let run = RUN
        .replace("--num_clients 2", "--num_clients 4")
        .replace("--limit_train 16 ", "");
    let names = |column: &str, out: &str| -> Vec<String> {
        let line = format!("--partition natural:{column} --rounds 1 --batch_size 64 --out {out}");
        place.accepts(&format!("{} {line}", run.replace("--batch_size 4", "")));
        let clients = place.rounds(out)[0].clients.clone();
        clients.into_iter().map(|client| client.name).collect()
    };
    let restaurants = [
        "Blue Lantern",
        "Harbour Table",
        "The Copper Kettle",
        "Willow House",
    ];
    assert_eq!(names("name", "by-name"), restaurants);
    assert_eq!(
        names("eatType", "by-type"),
        ["coffee shop", "none", "pub", "restaurant"]
    );
}

#[test]
fn the_data_is_shown_as_the_model_sees_it_with_what_counts_and_what_is_cut() {
    let place = place();
    let data = RUN.replacen("run", "data", 1);
    let table: Value =
        serde_json::from_str(&place.accepts(&format!("{data} --show 2 --format json"))).unwrap();
    let parts = table["examples"].as_array().unwrap();
    assert_eq!(parts.len(), 4, "{parts:?}");
    let (prompt, answer) = (&parts[0], &parts[1]);
    assert_eq!(
        (&prompt["part"], &answer["part"]),
        (&json!("prompt"), &json!("answer"))
    );
    assert_eq!(
        (&prompt["counts"], &answer["counts"]),
        (&json!(0), &answer["length"])
    );
    let tokens = answer["tokens"].as_str().unwrap();
    assert!(
        tokens.starts_with("Ġ T h e") && tokens.ends_with(". <|endoftext|>"),
        "{tokens}"
    );

    let cut = data.replace("--max_seq_length 256", "--max_seq_length 90");
    let table: Value =
        serde_json::from_str(&place.accepts(&format!("{cut} --show 9 --format json"))).unwrap();
    let train = &table["splits"][0];
    let left_out = train["left_out"].as_u64().unwrap();
    assert!(
        left_out > 0 && left_out < 16 && train["cut"].as_u64() > Some(left_out),
        "{train}"
    );
    let lost = |part: &&Value| {
        part["cut"] == "yes" && part["tokens"].as_str().unwrap().ends_with("<|endoftext|>")
    };
    assert!(
        !table["examples"]
            .as_array()
            .unwrap()
            .iter()
            .any(|part| lost(&part))
    );
}

#[test]
fn the_model_of_a_run_writes_texts_for_prompts_of_the_users() {
    let place = place();
    place.accepts(&format!("{RUN} --rounds 1 --out run"));
    place.write("prompts.txt", "name[A]\nname[B], eatType[pub] ->\n");
    let mut one = place.command("generate run");
    let one = one
        .args(["--prompt", "name[Willow House], area[riverside]"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(one.stdout).unwrap().lines().count(), 1);
    let texts = place.accepts("generate run --file prompts.txt --num_beams 1 --format json");
    let texts: Value = serde_json::from_str(&texts).unwrap();
    let prompts: Vec<_> = texts
        .as_array()
        .unwrap()
        .iter()
        .map(|text| &text["prompt"])
        .collect();
    assert_eq!(prompts, ["name[A] ->", "name[B], eatType[pub] ->"]);
    let drawn = |more: &str| {
        place.accepts(&format!(
            "generate run --file prompts.txt --temperature 1 {more}"
        ))
    };
    assert_eq!(drawn(""), drawn(""));
    // The best possible text by a search is what the run itself wrote for a prompt of its own.
    let file: Value = serde_json::from_str(&place.read("run/generated/round-00001.json")).unwrap();
    let own = &file["texts"][0];
    let mut again = place.command("generate run --format json");
    let again = again
        .args(["--prompt", own["prompt"].as_str().unwrap()])
        .output()
        .unwrap();
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again[0]["text"], own["text"]);

    for (line, reason) in [
        ("generate run", "--prompt TEXT"),
        ("generate run --file none.txt", "none.txt"),
        (
            "generate run --prompt a --temperature 1 --num_beams 2",
            "num_beams",
        ),
        (
            "generate run --prompt a --max_new_tokens 400",
            "beyond the model's 256",
        ),
        ("generate data --prompt a", "not a run folder"),
    ] {
        let errors = place.errors(line);
        assert!(errors[0].contains(reason), "{line}: {errors:?}");
    }
    let rte = "run --task rte --model models/tiny --num_clients 2 --rounds 1 --local_epochs 1 \
               --metrics off --web off --quiet --out rte";
    place.accepts(rte);
    let errors = place.errors("generate rte --prompt a");
    assert!(errors[0].contains("write no texts"), "{errors:?}");
}

#[test]
fn the_python_projects_flags_for_e2e_are_taken() {
    let place = place();
    let line = "run --task e2e --agg_type ours --rounds 1 --num_clients 2 --local_epochs 1 \
                --batch_size 8 --lr 2e-4 --lora_r 4 --lora_alpha 32 --lora_dropout 0.1 --rslora \
                --warmup_ratio 0.06 --max_seq_length 256 --seed 42 --device cuda --log --idx 3 \
                --run_dir out --data data --model random:gpt2.json --tokenizer bytes.json \
                --target_modules c_attn,c_proj --limit_train 16 --limit_eval 4 --limit_test 2 \
                --max_new_tokens 3 --metrics off --web off --quiet";
    place.accepts(line);
    let scenario = place.read("out/scenario.toml");
    for setting in [
        "r = 4",
        "generate_every = 1",
        "name = \"e2e-fedex-3\"",
        "rslora = true",
    ] {
        assert!(scenario.contains(setting), "{setting} in {scenario}");
    }
}

#[test]
fn bad_input_is_refused_with_its_place_before_anything_is_trained() {
    let place = place();
    let with = |old: &str, new: &str| {
        assert!(RUN.contains(old), "{old}");
        RUN.replace(old, new)
    };
    let glue_task = with("--task e2e", "--task rte");
    let glue_task = glue_task.replace("--num_beams 2 --max_new_tokens 5", "");
    for (line, reasons) in [
        (
            format!("{RUN} --partition dirichlet(0.1)"),
            ["e2e has no classes", "natural:COLUMN"],
        ),
        (
            format!("{RUN} --partition natural:colour"),
            ["no column `colour`", "eatType"],
        ),
        (
            with("--max_seq_length 256", "--max_seq_length 20"),
            ["max_seq_length", "cuts the whole answer"],
        ),
        (
            with("--max_seq_length 256", "--max_seq_length 300"),
            ["max_seq_length", "256"],
        ),
        (
            with("--max_new_tokens 5", "--max_new_tokens 200"),
            ["max_new_tokens", "beyond the model's 256"],
        ),
        (
            with("random:gpt2.json", "models/tiny"),
            ["model", "next token"],
        ),
        (
            with("--target_modules c_attn,c_proj", "--target_modules query"),
            ["target_modules", "query"],
        ),
        (
            format!("{RUN} --meteor_jar none.jar"),
            ["meteor_jar", "no such file"],
        ),
        (glue_task, ["model", "classes"]),
    ] {
        let errors = place.errors(&line).join("\n");
        for reason in reasons {
            assert!(errors.contains(reason), "{line}: {errors}");
        }
    }
    for (text, reasons) in [
        (
            "meaning,text\na,b\n",
            ["trainset.csv", "no column `mr`; it has meaning, text"],
        ),
        (
            "mr,ref\nname[A],b\nname[B],\n",
            ["trainset.csv:3", "expected text"],
        ),
        (
            "mr,ref\nname[A],\"b\nname[B],c\n",
            ["trainset.csv:2", "not closed"],
        ),
        ("mr,ref\nname[A]\n", ["trainset.csv:2", "1 fields"]),
        ("mr,ref\n", ["trainset.csv", "no examples"]),
    ] {
        place.write("data/e2e/trainset.csv", text);
        let errors = place.errors(RUN).join("\n");
        for reason in reasons {
            assert!(errors.contains(reason), "{text:?}: {errors}");
        }
    }
    let errors = place.errors(&with("--data data", "--data models"));
    assert!(errors[0].contains("models/e2e/trainset.csv"), "{errors:?}");
    assert!(!errors[0].contains("--data hub"), "{errors:?}");
}
