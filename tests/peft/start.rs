use std::fs;

use regatta::adapter::peft::export::AdapterFiles;
use regatta::adapter::peft::import::PeftFolder;

use crate::support::{Place, RUNS, go_on};

#[test]
fn a_run_starts_where_the_adapter_it_is_given_ended() {
    let runs = RUNS
        .iter()
        .filter(|(name, _, _)| !["sorf", "flora"].contains(name));
    for (name, family, flags) in runs {
        let place = Place::new(family);
        place.train(flags);
        place.accepts("export run --out out");
        let method = flags.split("--agg_type ").nth(1).unwrap();
        let method = method.split(' ').next().unwrap();
        let vera = if flags.contains("vera") { "--vera" } else { "" };
        for folder in ["run/adapter", "out"] {
            place.accepts(&go_on(
                &place,
                folder,
                &format!("{vera} --agg_type {method}"),
            ));
            let (before, after) = (place.reported_loss("run"), place.reported_loss("again"));
            let gap = (before - after).abs();
            assert!(
                gap < 1e-5 * before,
                "{name} from {folder}: {before} {after}"
            );
            fs::remove_dir_all(place.path("again")).unwrap();
        }
    }
}

#[test]
fn the_scenario_of_such_a_run_gives_it_again() {
    let place = Place::new("roberta");
    place.train("--agg_type fedit --r 6 --rslora --lora_alpha 3 --target_modules key --bias all");
    place.accepts(&go_on(&place, "run/adapter", ""));
    let again = "run again/scenario.toml --quiet --metrics off --out third";
    place.accepts(again);
    let digest = |run: &str| {
        let text = fs::read_to_string(place.path(run).join("summary.json")).unwrap();
        let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
        summary["state_digest"].clone()
    };
    assert!(digest("again").is_string());
    assert_eq!(digest("again"), digest("third"));
}

#[test]
fn a_setting_that_the_folder_contradicts_is_refused() {
    let place = Place::new("roberta");
    place.train("--agg_type fedit --r 6");
    let errors = place.refuses(&go_on(&place, "run/adapter", "--r 3"));
    assert!(
        errors.contains("--r=3") && errors.contains("otherwise"),
        "{errors}"
    );
    let errors = place.refuses(&go_on(&place, "run/adapter", "--vera"));
    assert!(errors.contains("a LoRA adapter"), "{errors}");
}

#[test]
fn sorf_vera_is_refused_as_a_start() {
    let place = Place::new("roberta");
    place.train("--agg_type sorf_vera");
    let errors = place.refuses(&go_on(&place, "run/adapter", ""));
    assert!(
        errors.contains("`regatta export` makes a LoRA of it"),
        "{errors}"
    );
}

/// Trains VeRA, changes the saved adapter, and returns the error of starting from it.
fn refusal(change: impl Fn(&mut AdapterFiles)) -> String {
    let place = Place::new("roberta");
    place.train("--vera --agg_type fedit");
    let mut files = AdapterFiles::from(PeftFolder::read(&place.path("run/adapter")).unwrap());
    change(&mut files);
    files.write(&place.path("changed")).unwrap();
    place.refuses(&go_on(&place, "changed", "--vera"))
}

#[test]
fn a_projection_that_its_key_does_not_give_is_refused() {
    let errors = refusal(|files| {
        let projection = files.projection.as_mut().unwrap();
        projection.a.values_mut()[0] += 1e-6;
    });
    assert!(errors.contains("projection_prng_key"), "{errors}");
    let other_key = refusal(|files| files.config.projection_prng_key = Some(5));
    assert!(other_key.contains("projection_prng_key"), "{other_key}");
}

#[test]
fn an_adapter_that_lacks_a_layer_is_refused() {
    let lacking = "roberta.encoder.layer.1.attention.self.value.vera_lambda_d";
    let errors = refusal(|files| drop(files.tensors.0.remove(lacking)));
    assert!(errors.contains(lacking), "{errors}");
}

#[test]
fn tensors_that_the_run_does_not_train_are_refused() {
    let errors = refusal(|files| {
        let extra = files.tensors.get("classifier.dense.bias").unwrap().clone();
        files
            .tensors
            .insert("roberta.embeddings.LayerNorm.bias", extra);
    });
    assert!(errors.contains("modules_to_save"), "{errors}");
}
