//! Runs whose layers are multiplied in bfloat16 on a CPU: by packed weights where it has AMX, else by
//! libtorch.

use regatta_actors::protocol::round_record::RoundRecord;

use crate::workplace::Workplace;

/// Widths that packed weights have, with dropout; aggregation changes the base.
const RUN: &str = "run --task rte --model random:models/wide.json --tokenizer \
                   models/tiny/tokenizer.json --num_clients 3 --local_epochs 2 --batch_size 4 --lr \
                   1e-2 --rounds 3 --agg_type fedex --metrics off --web off --quiet";

fn place() -> Workplace {
    let place = Workplace::new();
    place.write(
        "models/wide.json",
        r#"{"model_type": "roberta", "vocab_size": 6, "hidden_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 96, "max_position_embeddings": 130,
            "type_vocab_size": 1, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}"#,
    );
    place
}

#[test]
fn a_run_in_bfloat16_replays_and_resumes_to_the_same_bits_whatever_the_lanes() {
    let place = place();
    place.accepts(&format!("{RUN} --precision bfloat16 --lanes 2 --out run"));
    let said = place.accepts("replay run --check --lanes 1");
    assert!(said.contains("are the same, bit for bit"), "{said}");
    let digests = |rounds: Vec<RoundRecord>| -> Vec<String> {
        let digests = rounds.into_iter().map(|round| round.state_digest.0);
        digests.collect()
    };
    let expected = digests(place.rounds("run"));
    place.accepts("resume run --lanes 1");
    assert_eq!(digests(place.rounds("run")), expected);
}

#[test]
fn a_run_in_bfloat16_learns_what_one_in_float32_learns() {
    let place = place();
    for precision in ["float32", "bfloat16"] {
        place.accepts(&format!("{RUN} --precision {precision} --out {precision}"));
    }
    let (wide, narrow) = (place.rounds("float32"), place.rounds("bfloat16"));
    for (wide, narrow) in wide.iter().zip(&narrow) {
        for (client, other) in wide.clients.iter().zip(&narrow.clients) {
            let (loss, found) = (client.loss.unwrap(), other.loss.unwrap());
            // Sums of values with 8 bits.
            let miss = (found - loss).abs();
            assert!(
                miss < 0.02 * loss,
                "round {}: {found} for {loss}",
                wide.round
            );
        }
    }
}
