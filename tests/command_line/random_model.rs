//! Runs of models whose weights are drawn from the seed.

use std::fs;

use regatta_actors::ids::Digest;
use regatta_actors::protocol::round_record::RoundRecord;

use crate::workplace::Workplace;

const RUN: &str = "run --task rte --model random:models/tiny/config.json --tokenizer \
                   models/tiny/tokenizer.json --num_clients 2 --local_epochs 1 --batch_size 4 \
                   --rounds 2 --metrics off --web off";

/// A place without any weights.
fn place() -> Workplace {
    let place = Workplace::new();
    fs::remove_file(place.path().join("models/tiny/model.safetensors")).unwrap();
    place
}

fn digests(place: &Workplace, folder: &str) -> Vec<Digest> {
    let text = place.read(&format!("{folder}/rounds.jsonl"));
    let rounds = text.lines().map(|line| {
        let round: RoundRecord = serde_json::from_str(line).unwrap();
        round.state_digest
    });
    rounds.collect()
}

#[test]
fn the_seed_decides_the_weights_and_a_run_replays_and_goes_on_with_the_same() {
    let place = place();
    place.accepts(&format!("{RUN} --out whole"));
    let said = place.accepts("replay whole --check");
    assert!(said.contains("are the same, bit for bit"), "{said}");

    // Its last checkpoint is that of the round before: it does the last one again.
    let expected = digests(&place, "whole");
    let said = place.accepts("resume whole");
    assert!(said.contains("resuming after round 1"), "{said}");
    assert_eq!(digests(&place, "whole"), expected);

    place.accepts(&format!("{RUN} --out other --seed 7"));
    assert_ne!(digests(&place, "other"), expected);
    let summary = place.read("whole/summary.json");
    assert!(
        summary.contains("random:models/tiny/config.json"),
        "{summary}"
    );
}

#[test]
fn only_the_whole_model_can_be_exported_and_the_export_can_be_run() {
    let place = place();
    place.accepts(&format!("{RUN} --out run --agg_type fedex"));
    let errors = place.errors("export run");
    assert!(
        errors[0].contains("use --merge to write the whole model"),
        "{errors:?}"
    );
    place.accepts("export run --merge --out models/merged");
    let said = place.accepts("check --task rte --model models/merged");
    assert!(said.contains("rte"), "{said}");
}

#[test]
fn what_a_random_model_lacks_is_said_and_what_it_could_be() {
    let place = place();
    let check = |flags: &str| place.errors(&format!("check --task rte {flags}"));
    let tokenizer = "--tokenizer models/tiny/tokenizer.json";
    for (flags, wrong) in [
        (
            "--model random:models/tiny/config.json".to_owned(),
            "--model=random:models/tiny/config.json: a random model has no tokenizer; \
             name a tokenizer.json with --tokenizer",
        ),
        (
            format!("--model random:roberta-huge {tokenizer}"),
            "--model=random:roberta-huge: unknown architecture; name one of minilm-l6",
        ),
        (
            format!("--model random:gpt3 {tokenizer}"),
            "--model=random:gpt3: unknown architecture; name one of minilm-l6",
        ),
        (
            format!("--model random:gpt2 {tokenizer}"),
            "--model=random:gpt2: a GPT-2 gives the next token and has no head for classes",
        ),
        (
            format!("--model random:no/config.json {tokenizer}"),
            "--model=random:no/config.json: cannot read no/config.json: No such file",
        ),
        (
            "--model random:models/tiny/config.json --tokenizer nowhere.json".to_owned(),
            "--tokenizer=nowhere.json: there is no such file",
        ),
        (
            "--model models/tiny --tokenizer nowhere.json".to_owned(),
            "--tokenizer=nowhere.json: there is no such file",
        ),
    ] {
        let errors = check(&flags);
        assert!(errors[0].contains(wrong), "{flags}: {errors:#?}");
    }
}

#[test]
fn a_tokenizer_with_more_tokens_than_the_architecture_names_both() {
    let place = place();
    let config = place.read("models/tiny/config.json");
    let fewer = config.replace("\"vocab_size\": 500", "\"vocab_size\": 5");
    place.write("few.json", &fewer);
    let errors = place
        .errors("check --task rte --model random:few.json --tokenizer models/tiny/tokenizer.json");
    let wrong = "models/tiny/tokenizer.json: it has 6 tokens, but the model of random:few.json \
                 embeds 5";
    assert!(errors[0].contains(wrong), "{errors:#?}");
}

#[test]
fn impossible_sizes_are_refused_by_name() {
    let place = place();
    let config = place.read("models/tiny/config.json");
    for (from, to, wrong) in [
        (
            "\"hidden_size\": 96",
            "\"hidden_size\": 0",
            "hidden_size is 0",
        ),
        (
            "\"vocab_size\": 500",
            "\"vocab_size\": 900000000000",
            "vocab_size is 900000000000",
        ),
    ] {
        place.write("sizes.json", &config.replace(from, to));
        let errors = place.errors(
            "check --task rte --model random:sizes.json --tokenizer models/tiny/tokenizer.json",
        );
        assert!(errors[0].contains(wrong), "{errors:#?}");
    }
}
