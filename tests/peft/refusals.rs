use std::fs;

use crate::support::Place;

#[test]
fn a_folder_that_is_no_run_is_refused() {
    let place = Place::new("roberta");
    let errors = place.refuses("export model");
    assert!(errors.contains("model is not a run folder"), "{errors}");
    assert!(!place.path("model/peft").exists());
}

#[test]
fn a_run_that_has_not_ended_is_refused() {
    let place = Place::new("roberta");
    fs::create_dir(place.path("run")).unwrap();
    fs::write(place.path("run/scenario.toml"), "task = \"rte\"\n").unwrap();
    let errors = place.refuses("export run");
    assert!(errors.contains("it has not ended"), "{errors}");
}

#[test]
fn a_folder_with_something_in_it_is_left_as_it_is() {
    let place = Place::new("roberta");
    place.train("--agg_type fedit");
    fs::create_dir(place.path("out")).unwrap();
    fs::write(place.path("out/mine.txt"), "mine").unwrap();
    let errors = place.refuses("export run --out out");
    assert!(errors.contains("out is not empty"), "{errors}");
    assert_eq!(fs::read_dir(place.path("out")).unwrap().count(), 1);
}

#[test]
fn an_unknown_format_is_refused_with_the_known_ones() {
    let place = Place::new("roberta");
    let errors = place.refuses("export run --format gguf");
    assert!(
        errors.contains("gguf") && errors.contains("peft"),
        "{errors}"
    );
}

#[test]
fn nothing_is_left_behind_when_the_base_model_is_gone() {
    let place = Place::new("roberta");
    place.train("--agg_type fedex");
    fs::remove_file(place.path("model/model.safetensors")).unwrap();
    let output = place.regatta("export run --merge --out out/whole");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("model.safetensors"), "{errors}");
    assert_eq!(fs::read_dir(place.path("out")).unwrap().count(), 0);
}
