//! What studies need: what explains a run's scores, runs in pairs, rates chosen by trials.

use std::fs;

use serde_json::Value;

use crate::workplace::Workplace;

const RUN: &str = "run --task rte --model models/tiny --num_clients 3 --local_epochs 1 \
                   --batch_size 4 --lr 1e-2 --threads_per_lane 1 --metrics off --quiet";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The last round of a run.
fn last_round(place: &Workplace, run: &str) -> Value {
    json(
        place
            .read(&format!("{run}/rounds.jsonl"))
            .lines()
            .last()
            .unwrap(),
    )
}

#[test]
fn what_an_aggregation_is_measured_by_is_recorded_alike_on_any_lanes_and_drawn() {
    let place = Workplace::new();
    for (name, flags) in [
        ("fedit", "--agg_type fedit"),
        ("fedex", "--agg_type fedex --lanes 1"),
        ("two", "--agg_type fedex --lanes 2"),
    ] {
        place.accepts(&format!("{RUN} --rounds 2 --out {name} {flags}"));
    }
    let (fedit, fedex) = (last_round(&place, "fedit"), last_round(&place, "fedex"));
    let of = |round: &Value, name: &str| round["measures"][name].as_f64().unwrap();
    // What the exact method merges is what the other misses.
    let missed = fedit["exactness_error"].as_f64().unwrap();
    let share = of(&fedit, "residual_norm") / of(&fedit, "ideal_norm");
    assert!((share - missed).abs() < 1e-12 * missed, "{share} {missed}");
    assert!(of(&fedex, "residual_norm") > 0.0 && of(&fedex, "base_delta_norm") > 0.0);
    assert!(fedit["measures"].get("base_delta_norm").is_none());
    let drift = of(&fedex, "client_drift");
    assert!(drift > 0.0 && drift < 2.0, "{drift}");
    assert_eq!(
        place.read("fedex/events.jsonl"),
        place.read("two/events.jsonl")
    );
    place.accepts("replay fedex --check");
    for (run, figures) in [
        ("fedit", &["residual", "drift"][..]),
        ("fedex", &["residual", "drift", "base_delta"]),
    ] {
        place.accepts(&format!("report {run}"));
        for figure in ["residual", "drift", "base_delta"] {
            let path = place.path().join(format!("{run}/figures/{figure}.png"));
            assert_eq!(path.exists(), figures.contains(&figure), "{run} {figure}");
        }
    }
}

#[test]
fn a_residual_that_is_scaled_is_missed_in_part() {
    let place = Workplace::new();
    for (name, scale) in [("half", "0.5"), ("none", "0"), ("whole", "1")] {
        place.accepts(&format!(
            "{RUN} --rounds 1 --agg_type fedex --residual_scale {scale} --out {name}"
        ));
    }
    place.accepts(&format!("{RUN} --rounds 1 --agg_type fedex --out plain"));
    place.accepts(&format!("{RUN} --rounds 1 --agg_type fedit --out fedit"));
    let error = |run: &str| last_round(&place, run)["exactness_error"].as_f64().unwrap();
    // The one is the norm of a product, the other of factors, which is known to 1e-8 of the update's.
    assert!((error("none") - error("fedit")).abs() < 1e-7);
    assert!((error("half") - 0.5 * error("none")).abs() < 1e-6 * error("none"));
    let digest = |run: &str| last_round(&place, run)["state_digest"].clone();
    assert_eq!(digest("whole"), digest("plain"));
    assert_ne!(digest("half"), digest("plain"));
}

#[test]
fn runs_are_compared_seed_by_seed_and_those_in_no_pair_are_named() {
    let place = Workplace::new();
    for (method, seeds) in [("fedit", 1..=2), ("fedex", 1..=3)] {
        for seed in seeds {
            let name = format!("{method}{seed}");
            place.accepts(&format!(
                "{RUN} --rounds 2 --agg_type {method} --seed {seed} --out {name}"
            ));
        }
    }
    let runs = "fedex1 fedex2 fedex3 fedit1 fedit2";
    let line = format!("compare --paired --score loss --format json --out all.html {runs}");
    let said = json(&place.accepts(&line));
    let loss = |run: &str| last_round(&place, run)["eval"]["loss"].as_f64().unwrap();
    let mean = (loss("fedex1") - loss("fedit1") + loss("fedex2") - loss("fedit2")) / 2.0;
    let pair = &said["paired"][0];
    assert_eq!(
        (&pair["group"], &pair["pairs"]),
        (&"fedex".into(), &2.into())
    );
    assert!((pair["difference"].as_f64().unwrap() - mean).abs() < 1e-12);
    assert!(pair["interval_low"].as_f64().unwrap() <= mean);
    assert_eq!(said["unpaired"][0]["run"], "fedex3");
    let page = place.read("all.html");
    for text in [
        "Differences by seed",
        "Runs in no pair",
        "fedit has no run of seed 3",
    ] {
        assert!(page.contains(text), "{text} is missing");
    }
    let plain = place.accepts(&format!("compare {runs} --format json"));
    assert!(!plain.contains("\"paired\""), "{plain}");
    let errors = place.errors(&format!("compare --paired=lrr {runs}"));
    assert!(
        errors[0].contains("--paired=lrr: no run has such a setting"),
        "{errors:?}"
    );
    let errors = place.errors(&format!("compare --paired --reference flora {runs}"));
    assert!(errors[0].contains("there are: fedex, fedit"), "{errors:?}");
    let errors = place.errors(&format!("compare --score f1 {runs}"));
    assert!(
        errors[0].contains("there are: accuracy, loss"),
        "{errors:?}"
    );
}

#[test]
fn a_sweep_chooses_by_trials_on_seeds_of_their_own_and_goes_on_where_it_was() {
    let place = Workplace::new();
    place.write(
        "base.toml",
        "task = \"rte\"\nmodel = \"models/tiny\"\nnum_clients = 2\nlocal_epochs = 1\nrounds = 1\n\
         batch_size = 4\nmetrics = \"off\"\nquiet = true\n",
    );
    place.write(
        "s.toml",
        "scenario = \"base.toml\"\npaired = [\"agg_type\", \"lr\"]\n[grid]\n\
         agg_type = [\"fedit\", \"fedex\"]\nlr = [1e-3, 1e-2]\nseed = [1, 2]\n\
         [choose]\nsetting = \"lr\"\nseed = 9\nscore = \"loss\"\n",
    );
    let said = place.accepts("sweep s.toml");
    assert_eq!(said.matches("\ntrial ").count() + 1, 4, "{said}");
    assert_eq!(said.matches("\nrun ").count(), 4, "{said}");
    assert!(
        said.contains("trials' mean by value") && said.contains("sign test p"),
        "{said}"
    );
    let folders = |path: &str| -> Vec<String> {
        let entries = fs::read_dir(place.path().join(path)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.contains("seed")).collect();
        names.sort();
        names
    };
    let trials = folders("runs/s/trials");
    assert_eq!(trials.len(), 4);
    assert!(
        trials.iter().all(|name| name.contains("-seed9-")),
        "{trials:?}"
    );
    assert!(
        place
            .path()
            .join("runs/s/trials/figures/score_by_lr.png")
            .exists()
    );
    // The rate with the least loss, and no other.
    let loss = |method: &str, lr: &str| {
        let start = format!("{method}-lr{lr}-seed9-");
        let name = trials.iter().find(|name| name.starts_with(&start)).unwrap();
        let round = last_round(&place, &format!("runs/s/trials/{name}"));
        round["eval"]["loss"].as_f64().unwrap()
    };
    let runs = folders("runs/s");
    for method in ["fedit", "fedex"] {
        let best = if loss(method, "0.01") < loss(method, "0.001") {
            "0.01"
        } else {
            "0.001"
        };
        let start = format!("{method}-lr{best}-seed");
        assert_eq!(
            runs.iter().filter(|name| name.starts_with(&start)).count(),
            2,
            "{runs:?}"
        );
    }
    assert_eq!(runs.len(), 4);
    let again = place.accepts("sweep s.toml");
    assert_eq!(again.matches("already complete").count(), 8, "{again}");
    let errors = place.errors("sweep s.toml --only 1");
    assert!(
        errors[0].contains("--only: which runs a sweep with [choose] has"),
        "{errors:?}"
    );
}
