//! Many runs from one file.

use std::fs;
use std::path::PathBuf;

use crate::workplace::{Running, Workplace};

const BASE: &str = "task = \"rte\"\nmodel = \"models/tiny\"\nnum_clients = 2\nlocal_epochs = 1\n\
                    batch_size = 4\nmetrics = \"off\"\nquiet = true\nlr = 1e-2\n";

fn place(sweep: &str) -> Workplace {
    let place = Workplace::new();
    place.write("base.toml", BASE);
    place.write("s.toml", &format!("scenario = \"base.toml\"\n{sweep}"));
    place
}

/// The folders of a sweep's runs.
fn folders(place: &Workplace) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.path().join("runs/s")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut runs: Vec<_> = paths
        .filter(|path| path.join("scenario.toml").exists())
        .collect();
    runs.sort();
    runs
}

#[test]
fn a_sweep_runs_each_with_each_compares_them_and_keeps_what_is_complete() {
    let place =
        place("[settings]\nrounds = 2\n[grid]\nagg_type = [\"ours\", \"ffa\"]\nseed = [1, 2]\n");
    let said = place.accepts("sweep s.toml");
    assert!(
        said.contains("accuracy") && said.contains("2 of 2"),
        "{said}"
    );
    assert!(
        place
            .read("runs/s/compare.html")
            .contains("4 runs in 2 groups")
    );
    assert!(place.path().join("runs/s/figures/score.png").exists());
    let runs = folders(&place);
    assert_eq!(runs.len(), 4);
    let modified = |path: &PathBuf| fs::metadata(path.join("summary.json")).unwrap().modified();
    let before: Vec<_> = runs.iter().map(|run| modified(run).unwrap()).collect();
    let said = place.accepts("sweep s.toml");
    assert_eq!(said.matches("already complete").count(), 4, "{said}");
    let after: Vec<_> = folders(&place)
        .iter()
        .map(|run| modified(run).unwrap())
        .collect();
    assert_eq!(before, after);
}

#[cfg(feature = "cluster")]
#[test]
fn a_sweep_whose_cluster_is_not_there_or_that_slurm_is_to_run_makes_nothing() {
    let place = place("[settings]\nrounds = 1\n[grid]\nseed = [1, 2]\n");
    for (flags, code, why) in [
        ("", 1, "nowhere.toml: "),
        ("--slurm job.sh", 2, "cannot be used with"),
    ] {
        let output = place.regatta(&format!("sweep s.toml --cluster nowhere.toml {flags}"));
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(why), "{text}");
    }
    assert!(!place.path().join("runs").exists() && !place.path().join("job.sh").exists());
}

#[test]
fn a_run_that_fails_is_reported_and_the_others_go_on() {
    // The model has too few positions for these tokens, which is seen when it is loaded.
    let place = place("[settings]\nrounds = 1\n[grid]\nmax_seq_length = [16, 4000]\n");
    let output = place.regatta("sweep s.toml");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("1 of 2 runs are complete"), "{errors}");
    assert!(errors.contains("max_seq_length4000: "), "{errors}");
    assert!(
        place
            .read("runs/s/compare.html")
            .contains("1 run in 1 group")
    );
}

#[test]
fn combinations_that_cannot_be_are_refused_before_anything_runs() {
    let place = place("[grid]\nagg_type = [\"ours\", \"ours_vera\"]\nadapter = \"lora\"\n");
    let errors = place.errors("sweep s.toml");
    assert!(
        !errors.is_empty() && errors[0].contains("lora-fedex_vera: "),
        "{errors:?}"
    );
    assert!(!place.path().join("runs").exists());
}

#[test]
fn an_interrupt_is_passed_on_and_the_sweep_goes_on_where_it_was() {
    let place = place("[grid]\nrounds = [100000]\nseed = [1, 2]\n");
    let (running, mut lines) = Running::start(&place, "sweep s.toml");
    lines.find(|line| line.starts_with("round ")).unwrap();
    running.signal("-INT");
    let rest: Vec<String> = lines.collect();
    assert!(
        rest.iter().any(|line| line.starts_with("stopped after ")),
        "{rest:?}"
    );
    assert_eq!(running.wait().code(), Some(1));
    assert_eq!(folders(&place).len(), 1);
    let (running, mut lines) = Running::start(&place, "sweep s.toml");
    lines
        .find(|line| line.starts_with("resuming after round"))
        .unwrap();
    running.signal("-TERM");
    lines.for_each(drop);
    assert_eq!(running.wait().code(), Some(1));
}

#[test]
fn one_run_is_carried_out_by_its_number_and_slurm_gets_a_script_that_asks_for_each() {
    let place = place("[settings]\nrounds = 1\n[grid]\nseed = [1, 2, 3]\n");
    place.accepts("sweep s.toml --only 1");
    let runs = folders(&place);
    assert_eq!(runs.len(), 1);
    assert!(runs[0].display().to_string().contains("seed2"), "{runs:?}");
    assert!(!place.path().join("runs/s/compare.html").exists());
    let errors = place.errors("sweep s.toml --only 3");
    assert!(
        errors[0].contains("give a number from 0 to 2"),
        "{errors:?}"
    );
    place.accepts("sweep s.toml --slurm s.sbatch");
    let script = place.read("s.sbatch");
    assert!(script.contains("#SBATCH --array=0-2\n"), "{script}");
    let check = std::process::Command::new("bash")
        .args(["-n", "s.sbatch"])
        .current_dir(place.path())
        .status();
    assert!(check.unwrap().success());
}

#[test]
fn a_run_is_in_one_process_at_a_time() {
    let place = place("");
    let (running, mut lines) = Running::start(&place, "run base.toml --rounds 1000000 --out run");
    lines.find(|line| line.starts_with("round ")).unwrap();
    let output = place.regatta("resume run");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("another process is using run"), "{errors}");
    let said = place.accepts("runs .");
    assert!(said.contains("running"), "{said}");
    running.kill();
    let said = place.accepts("runs .");
    assert!(said.contains("interrupted"), "{said}");
}
