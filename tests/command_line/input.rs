//! What is accepted and what is refused.

use std::fs;

use crate::workplace::{Workplace, write_model};

/// The example of the README of the project that the flags are taken from.
const UPSTREAM: &str = "--model=models/models--FacebookAI--roberta-base/snapshots/\
    e2da8e2f811d1448a5b465c236feacd80ffbac7b --task=rte --agg_type=ours_vera --vera \
    --num_clients=3 --r=128 --rounds=51 --lr=1e-3 --local_epochs=5 --parallel_clients \
    --server_gpu 0 --client_gpus 1,2,3";

#[test]
fn upstreams_command_is_accepted_as_it_stands() {
    let place = Workplace::new();
    let snapshot = "models/models--FacebookAI--roberta-base/snapshots/\
                    e2da8e2f811d1448a5b465c236feacd80ffbac7b";
    write_model(&place.path().join(snapshot));
    let output = place.regatta(&format!("check {UPSTREAM}"));
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    if output.status.success() {
        let said = "rte-fedex_vera: rte among 3 clients, VeRA of rank 128 with fedex_vera, \
                    51 rounds of 5 epochs";
        assert!(stdout.contains(said), "{stdout}");
    } else {
        // A machine that has GPUs, but not these.
        let lines = stderr.lines().filter(|line| line.starts_with("error"));
        assert!(
            lines
                .into_iter()
                .all(|line| line.contains("there is no GPU")),
            "{stderr}"
        );
    }
}

#[test]
fn all_errors_of_a_scenario_come_at_once_with_their_lines() {
    let place = Workplace::new();
    place.write(
        "bad.toml",
        "# A scenario with a mistake in nearly every line.\n\
         task = \"rte\"\n\
         model = \"models/tiny\"\n\
         r = 0\n\
         \n\
         batch_sise = 8\n\
         rounds = \"many\"\n\
         partition = \"classes(3)\"\n\
         agg_type = \"sorf_vera\"\n\
         vera = false\n",
    );
    let errors = place.errors("check bad.toml");
    let starts = [
        "error: bad.toml:4:5: r = 0: out of range; give a number from 1 to 65536",
        "error: bad.toml:6:1: unknown key `batch_sise`; did you mean `batch_size`?",
        "error: bad.toml:7:10: rounds: invalid type: string \"many\", expected a whole number",
        "error: bad.toml:8:13: partition = \"classes(3)\": rte has 2 classes; give classes(K)",
        "error: bad.toml:10:8: vera = false: the other settings imply the adapter SORF-VeRA",
    ];
    assert_eq!(errors.len(), starts.len(), "{errors:#?}");
    for (error, start) in errors.iter().zip(starts) {
        assert!(
            error.starts_with(start),
            "{error:?} does not start with {start:?}"
        );
    }
}

#[test]
fn damaged_toml_is_reported_with_line_and_column() {
    let place = Workplace::new();
    place.write("bad.toml", "task = \"rte\"\nr = = 4\n");
    let errors = place.errors("check bad.toml");
    assert!(
        errors.len() == 1 && errors[0].starts_with("error: bad.toml:2:"),
        "{errors:?}"
    );
}

#[test]
fn a_missing_scenario_is_named() {
    let errors = Workplace::new().errors("run nowhere.toml");
    assert!(
        errors.len() == 1 && errors[0].contains("nowhere.toml: "),
        "{errors:?}"
    );
}

#[test]
fn a_missing_model_and_missing_data_are_reported_together() {
    let place = Workplace::new();
    let errors = place.errors("check --task mrpc --model models/none --data data/glue");
    let starts = [
        "error: --data=data/glue: no mrpc data",
        "error: --model=models/none: there is no",
    ];
    assert_eq!(errors.len(), 2, "{errors:?}");
    for start in starts {
        assert!(
            errors.iter().any(|error| error.starts_with(start)),
            "{errors:?}"
        );
    }
}

#[test]
fn a_model_folder_without_its_files_is_an_error_that_names_them() {
    let place = Workplace::new();
    fs::remove_file(place.path().join("models/tiny/model.safetensors")).unwrap();
    let errors = place.errors("check --task rte --model models/tiny");
    assert!(
        errors.len() == 1 && errors[0].contains("no model.safetensors"),
        "{errors:?}"
    );
}

#[test]
fn a_label_outside_the_task_is_reported_with_its_line() {
    let place = Workplace::new();
    place.write(
        "data/glue/RTE/dev.tsv",
        "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n1\ta\tb\tperhaps\n",
    );
    let errors = place.errors("check --task rte --model models/tiny");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].contains("dev.tsv:3") && errors[0].contains("perhaps"),
        "{errors:?}"
    );
}

#[test]
fn more_clients_than_examples_are_an_error_of_num_clients() {
    let place = Workplace::new();
    let errors = place.errors("check --task rte --model models/tiny --num_clients 13");
    assert!(
        errors.len() == 1 && errors[0].starts_with("error: --num_clients=13: "),
        "{errors:?}"
    );
}

#[test]
fn layers_and_lengths_that_the_model_lacks_are_errors() {
    let place = Workplace::new();
    for flag in [
        "--layers_to_transform=0,2",
        "--target_modules=query,gate",
        "--target_modules=regex:.*(gate|gates){1,2}",
        "--target_modules=regex:(query",
        "--max_seq_length=129",
    ] {
        let errors = place.errors(&format!("check --task rte --model models/tiny {flag}"));
        let start = format!("error: {flag}: ");
        assert!(
            errors.len() == 1 && errors[0].starts_with(&start),
            "{errors:?}"
        );
    }
}

#[test]
fn both_spellings_and_valued_switches_are_accepted() {
    let place = Workplace::new();
    let said = |flags: &str| {
        place.accepts(&format!(
            "check --task rte --model models/tiny --metrics off {flags}"
        ))
    };
    let one = said("--agg_type=ffa --vera --num_clients=4 --save_projection=true");
    let other = said("--agg-type ffa --vera=true --num-clients 4 --save-projection True");
    assert_eq!(one, other);
}

#[test]
fn flags_override_the_scenario() {
    let place = Workplace::new();
    place.write(
        "s.toml",
        "task = \"rte\"\nmodel = \"models/tiny\"\nr = 2\nnum_clients = 2\n",
    );
    let said = place.accepts("check s.toml --r 3");
    assert!(said.contains("2 clients, LoRA of rank 3"), "{said}");
}

#[test]
fn an_unknown_flag_is_refused_with_a_hint() {
    let output = Workplace::new().regatta("run --num_client 3");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("--num_clients"), "{text}");
}

#[test]
fn a_folder_with_other_files_is_no_place_for_results() {
    let place = Workplace::new();
    let line = "run --task rte --model models/tiny --metrics off --out data";
    let errors = place.errors(line);
    assert!(
        errors.len() == 1 && errors[0].starts_with("error: --out=data: "),
        "{errors:?}"
    );
    assert_eq!(fs::read_dir(place.path().join("data")).unwrap().count(), 1);
}

#[test]
fn a_taken_port_that_was_asked_for_is_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let place = Workplace::new();
    let errors = place.errors(&format!(
        "run --task rte --model models/tiny --metrics {address}"
    ));
    assert!(
        errors.len() == 1 && errors[0].starts_with("error: --metrics="),
        "{errors:?}"
    );
    assert!(!place.path().join("runs").exists());
}

#[test]
fn data_are_shown_with_each_clients_share() {
    let place = Workplace::new();
    let said = place.accepts("data --task rte --model models/tiny --num_clients 3");
    for text in ["entailment", "validation", "iid among 3 clients"] {
        assert!(said.contains(text), "{said}");
    }
}

#[test]
fn the_doctor_names_libtorch_the_data_and_what_is_missing() {
    let said = Workplace::new().accepts("doctor");
    for text in [
        "libtorch",
        "cpu",
        "cuda",
        "data/glue: rte",
        "models/tiny: roberta",
        "GFLOP/s in float32",
        "make setup",
    ] {
        assert!(said.contains(text), "{said}");
    }
}

#[test]
fn a_calibration_is_remembered_and_what_runs_take_from_then_on() {
    let place = Workplace::new();
    let calibrate = "doctor --calibrate --model random:models/tiny/config.json";
    let said = place.accepts(calibrate);
    assert!(
        [
            "examples/s",
            "lanes.toml",
            "--precision bfloat16 would train"
        ]
        .iter()
        .all(|text| said.contains(text)),
        "{said}"
    );
    assert!(place.accepts("doctor").contains("as calibrated"));

    // What others wrote there is not used, and said to be so.
    place.write("state/regatta/lanes.toml", "[[dogs]]\nname = \"Rex\"\n");
    let output = place.regatta("doctor");
    let warned = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{warned}");
    assert!(
        warned.contains("ignoring the calibration in")
            && warned.contains("state/regatta/lanes.toml"),
        "{warned}"
    );
    place.accepts(calibrate);
    assert!(place.accepts("doctor").contains("as calibrated"));

    let errors = place.errors("doctor --calibrate --model nowhere");
    assert!(errors[0].contains("nowhere"), "{errors:?}");
}
