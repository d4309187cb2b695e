//! Every method on every adapter that it takes, and what it leaves behind.

use std::collections::BTreeSet;

use regatta::aggregate::methods::{self, METHODS};
use regatta::base::tensors::TensorMap;
use regatta_actors::protocol::round_record::Outcome;

use crate::workplace::Workplace;

const TINY: &str = "--task rte --model models/tiny";

const RUN: &str = "run --task rte --model models/tiny --num_clients 4 --local_epochs 3 \
                   --batch_size 4 --lr 1e-2 --metrics off --quiet";

#[test]
fn every_method_runs_on_every_adapter_it_takes_and_only_two_lose_anything() {
    let place = Workplace::new();
    let runs = [
        ("fedit --adapter lora", true),
        ("fedit --adapter vera", true),
        ("fedit --adapter sorf_vera", true),
        ("ffa --adapter lora", false),
        ("ffa --adapter vera", false),
        ("ffa --adapter sorf_vera", false),
        ("fedex", false),
        ("fedex --rslora", false),
        ("fedex_vera", false),
        ("fedex_vera --rsvera", false),
        ("sorf_vera", true),
        ("sorf_vera_exact", false),
        ("fedsvd", false),
        ("flora", false),
        ("flora --ranks 2,4,8", false),
        ("rolora", false),
    ];
    let names = |method: &str| {
        method
            .split(' ')
            .next()
            .and_then(methods::find)
            .unwrap()
            .name
    };
    let run: BTreeSet<_> = runs.iter().map(|(method, _)| names(method)).collect();
    assert_eq!(run.len(), METHODS.len(), "every method is run");
    for (i, (method, loses)) in runs.into_iter().enumerate() {
        let info = methods::find(names(method)).unwrap();
        assert_eq!(info.exact, !loses, "{method}");
        place.accepts(&format!(
            "{RUN} --rounds 3 --out run{i} --agg_type {method}"
        ));
        let records = place.rounds(&format!("run{i}"));
        assert_eq!(records.len(), 3, "{method}");
        for record in &records {
            let error = record.exactness_error.unwrap();
            let round = record.round;
            assert_eq!(
                error > 1e-6,
                loses,
                "{method}, round {round}: exactness error {error:e}"
            );
            assert!(
                record
                    .clients
                    .iter()
                    .all(|client| client.outcome == Outcome::Aggregated)
            );
        }
        assert_ne!(
            records[0].state_digest, records[2].state_digest,
            "{method} learns"
        );
        let adapter = format!("run{i}/adapter/adapter_model.safetensors");
        assert!(
            !TensorMap::read(&place.path().join(adapter))
                .unwrap()
                .is_empty()
        );
    }
}

#[test]
fn a_methods_former_name_is_its_name_as_a_flag_and_in_a_run_that_is_resumed() {
    let place = Workplace::new();
    for info in METHODS {
        for name in info.aliases.iter().chain([&info.name]) {
            let said = place.accepts(&format!("check {TINY} --agg_type {name}"));
            assert!(said.contains(&format!("with {}, ", info.name)), "{said}");
        }
    }
    place.accepts(&format!(
        "{RUN} --rounds 1 --agg_type ours --name x --out run"
    ));
    let scenario = place.read("run/scenario.toml");
    assert!(scenario.contains("agg_type = \"fedex\""), "{scenario}");
    // As an earlier version wrote it.
    let earlier = scenario.replace("\"fedex\"", "\"ours\"");
    place.write("run/scenario.toml", &earlier);
    place.accepts("resume run");
    place.accepts("replay run --check");
    let listed = place.accepts("runs . --format csv");
    assert!(listed.contains("run,rte,fedex,lora"), "{listed}");
}

#[test]
fn clients_send_only_what_their_method_trains() {
    let place = Workplace::new();
    let uploads = |name: &str, method: &str| {
        place.accepts(&format!(
            "{RUN} --rounds 3 --out {name} --agg_type {method}"
        ));
        place
            .rounds(name)
            .iter()
            .map(|round| round.clients[0].bytes_up)
            .collect::<Vec<_>>()
    };
    let (all, half) = (
        uploads("all", "fedex"),
        uploads("half", "ffa --adapter lora"),
    );
    // The tiny model: two layers, two adapted modules of 96 × 96 in each, rank 4, float32; the
    // head has 96 · 96 + 96 + 2 · 96 + 2 numbers.
    let (adapter, head) = (4 * 4 * (96 + 96) * 4, (96 * 96 + 96 + 2 * 96 + 2) * 4);
    assert_eq!(all, [adapter + head; 3]);
    assert_eq!(half, [adapter / 2 + head; 3]);
    let alternating = uploads("alternating", "rolora");
    assert_eq!(alternating, half);
}

#[test]
fn residuals_make_downloads_larger_by_their_smaller_form() {
    let place = Workplace::new();
    let downloads = |name: &str, method: &str| {
        place.accepts(&format!(
            "{RUN} --rounds 3 --out {name} --agg_type {method}"
        ));
        place
            .rounds(name)
            .iter()
            .map(|round| round.clients[0].bytes_down)
            .collect::<Vec<_>>()
    };
    let (plain, exact) = (downloads("plain", "fedit"), downloads("exact", "fedex"));
    assert_eq!(
        plain[0], exact[0],
        "nothing has been aggregated before the first round"
    );
    // (4 clients + 1) · rank 4 · (96 + 96) numbers against 96 · 96, in each of four modules.
    let (factors, dense) = (5 * 4 * (96 + 96), 96 * 96);
    assert!(factors < dense);
    assert_eq!(exact[1] - plain[1], 4 * 4 * factors);
}

#[test]
fn biases_and_further_modules_are_trained_and_sent_when_asked_for() {
    let place = Workplace::new();
    let bytes = |name: &str, flags: &str| {
        place.accepts(&format!("{RUN} --rounds 1 --out {name} {flags}"));
        place.rounds(name)[0].clients[0].bytes_up
    };
    let plain = bytes("plain", "");
    assert_eq!(bytes("own", "--bias lora_only") - plain, 4 * 96 * 4);
    assert!(bytes("all", "--bias all") > bytes("some", "--bias lora_only"));
    let embeddings = bytes("modules", "--modules_to_save token_type_embeddings");
    assert_eq!(embeddings - plain, 96 * 4);
    let errors = place.errors(&format!("{RUN} --modules_to_save lm_head"));
    assert!(
        errors.len() == 1 && errors[0].contains("modules_to_save"),
        "{errors:?}"
    );
}

#[test]
fn a_flag_without_meaning_for_the_adapter_or_the_method_is_refused_with_the_reason() {
    let place = Workplace::new();
    for (flags, named) in [
        ("--d_initial 0.2", "d_initial"),
        ("--adapter vera --rslora", "rslora"),
        ("--ranks 2,4", "ranks"),
        ("--sorf_seed 3", "sorf_seed"),
        ("--agg_type fedex_vera --adapter lora", "agg_type"),
        ("--agg_type fedsvd --adapter vera", "agg_type"),
        ("--agg_type fedit --vera_scale", "vera_scale"),
        ("--agg_type ffa --residual_scale 0.5", "residual_scale"),
        (
            "--agg_type fedex_vera --vera_scale --residual_scale 0.5",
            "residual_scale",
        ),
        ("--adapter sorf_vera --r 97", "r"),
        ("--fan_in_fan_out true", "fan_in_fan_out"),
    ] {
        let errors = place.errors(&format!("{RUN} {flags}"));
        assert!(
            errors.iter().any(|error| error.contains(named)),
            "{flags}: {errors:?}"
        );
    }
}
