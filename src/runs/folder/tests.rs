use std::fs;

use regatta_actors::ids::{ClientId, Digest};
use regatta_actors::observe::Observer;
use regatta_actors::observe::control::control;
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::outcome::EndReason;
use regatta_actors::protocol::round_record::{ClientRecord, Outcome, PhaseSeconds, RoundRecord};
use regatta_actors::workload::update::Scores;

use super::*;
use crate::base::machine::Host;
use crate::config::load;
use crate::config::settings::Settings;
use crate::runs::folder::artifact::Artifact;
use crate::runs::folder::recorder::Recorder;
use crate::runs::folder::state::RunState;

fn plan(out: &Path) -> Plan {
    let settings = Settings {
        out: Some(out.to_owned()),
        name: Some("demo".into()),
        ..Settings::default()
    };
    let draft = load(None, &settings, &Host::cpu(1)).unwrap();
    draft.into_plan()
}

fn round(round: u32, loss: f64, accuracy: f64) -> RoundRecord {
    RoundRecord {
        round,
        train_loss: Some(loss),
        eval: Some(Scores::from([
            ("accuracy".into(), accuracy),
            ("loss".into(), loss),
        ])),
        exactness_error: Some(f64::from(round) * 1e-8),
        measures: [].into(),
        virtual_seconds: f64::from(round),
        seconds: PhaseSeconds::default(),
        state_digest: Digest(format!("{round:064x}")),
        refused: Vec::new(),
        clients: vec![ClientRecord {
            client: ClientId(0),
            name: "client-0".into(),
            outcome: Outcome::Aggregated,
            loss: Some(loss),
            examples: 8,
            steps: 1,
            bytes_up: 10,
            bytes_down: 20,
            seconds: 0.1,
        }],
    }
}

#[test]
fn the_scenario_in_the_folder_gives_the_plan_again() {
    let temporary = tempfile::tempdir().unwrap();
    let plan = plan(&temporary.path().join("new/run"));
    let folder = RunFolder::create(&plan).unwrap();
    let text = fs::read_to_string(folder.path().join("scenario.toml")).unwrap();
    assert!(text.ends_with(&plan.to_toml()), "{text}");
}

#[test]
fn a_folder_with_something_in_it_is_refused_and_left_alone() {
    let temporary = tempfile::tempdir().unwrap();
    fs::write(temporary.path().join("thesis.tex"), "mine").unwrap();
    let problems = RunFolder::create(&plan(temporary.path()))
        .unwrap_err()
        .to_string();
    assert!(
        problems.contains("--out=") && problems.contains("something else"),
        "{problems}"
    );
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1);
}

#[test]
fn a_folder_with_an_earlier_run_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let plan = plan(&temporary.path().join("run"));
    RunFolder::create(&plan).unwrap();
    let problems = RunFolder::create(&plan).unwrap_err().to_string();
    assert!(
        problems.contains("a run's results are in it already"),
        "{problems}"
    );
}

#[test]
fn two_runs_in_the_same_second_get_folders_of_their_own() {
    let temporary = tempfile::tempdir().unwrap();
    let make = || make_new(temporary.path(), "demo", "20260101-000000").unwrap();
    let names = [make(), make()].map(|path| path.file_name().unwrap().to_owned());
    assert_eq!(names, ["demo-20260101-000000", "demo-20260101-000000-2"]);
}

#[test]
fn rounds_are_lines_and_the_summary_holds_the_best() {
    let temporary = tempfile::tempdir().unwrap();
    let plan = plan(&temporary.path().join("run"));
    let folder = RunFolder::create(&plan).unwrap();
    let (handle, _control) = control();
    let mut recorder = Recorder::open(folder.clone(), &plan, handle).unwrap();
    let records = [round(1, 0.7, 0.6), round(2, 0.4, 0.9), round(3, 0.5, 0.8)];
    for record in &records {
        recorder.on_event(&Event::RoundFinished(record.clone()));
    }
    let text = fs::read_to_string(folder.path_of(Artifact::Rounds)).unwrap();
    let lines: Vec<RoundRecord> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines, records);
    assert!(!folder.path_of(Artifact::Summary).exists());

    recorder.on_event(&Event::RunFinished {
        rounds: 3,
        virtual_seconds: 3.0,
        ending: Some(EndReason::Complete),
        error: None,
    });
    let text = fs::read_to_string(folder.path_of(Artifact::Summary)).unwrap();
    let summary: Summary = serde_json::from_str(&text).unwrap();
    let best = |name: &str| {
        (
            summary.totals.best[name].round,
            summary.totals.best[name].value,
        )
    };
    assert_eq!((best("accuracy"), best("loss")), ((2, 0.9), (2, 0.4)));
    assert_eq!(summary.totals.eval.unwrap()["accuracy"], 0.8);
    assert_eq!(
        (summary.totals.bytes_up, summary.totals.bytes_down),
        (30, 60)
    );
    assert_eq!(
        summary.totals.worst_exactness_error,
        Some(f64::from(3) * 1e-8)
    );
    assert_eq!(recorder.failure().get(), None);
}

#[test]
fn a_folder_that_cannot_be_written_is_a_failure_that_names_the_file() {
    let temporary = tempfile::tempdir().unwrap();
    let plan = plan(&temporary.path().join("run"));
    let folder = RunFolder::create(&plan).unwrap();
    let (handle, _control) = control();
    let mut recorder = Recorder::open(folder.clone(), &plan, handle).unwrap();
    fs::remove_dir_all(folder.path()).unwrap();
    recorder.on_event(&Event::RunFinished {
        rounds: 0,
        virtual_seconds: 0.0,
        ending: Some(EndReason::Complete),
        error: None,
    });
    let reason = recorder.failure().get().unwrap();
    assert!(reason.contains("deleted or moved"), "{reason}");
}

#[test]
fn rounds_are_read_from_a_file_that_ends_at_any_byte_and_damage_before_is_named() {
    let temporary = tempfile::tempdir().unwrap();
    let plan = plan(&temporary.path().join("run"));
    let folder = RunFolder::create(&plan).unwrap();
    let mut record = round(1, 0.7, 0.6);
    record.clients[0].name = "Zürich".into();
    let line = [serde_json::to_vec(&record).unwrap(), b"\n".to_vec()].concat();
    let text = line.repeat(2);
    for end in 0..=text.len() {
        fs::write(folder.path_of(Artifact::Rounds), &text[..end]).unwrap();
        let read = folder.read_rounds().unwrap();
        assert_eq!(read.len(), (end + 1) / line.len(), "cut at {end}");
    }
    fs::write(folder.path_of(Artifact::Rounds), &text[1..]).unwrap();
    let error = folder.read_rounds().unwrap_err().to_string();
    assert!(
        error.contains("line 1 of") && error.contains("rounds.jsonl"),
        "{error}"
    );
}

#[test]
fn a_run_that_goes_on_keeps_the_rounds_before_and_does_not_pass_damage_over() {
    let temporary = tempfile::tempdir().unwrap();
    let plan = plan(&temporary.path().join("run"));
    let folder = RunFolder::create(&plan).unwrap();
    let (handle, _control) = control();
    let resumed = Event::RunResumed {
        run: "demo".into(),
        rounds: 3,
        lanes: 1,
        clients: Vec::new(),
        after_round: 2,
    };
    let line = |number| serde_json::to_string(&round(number, 0.7, 0.6)).unwrap() + "\n";
    let go_on = |text: &[u8]| {
        fs::write(folder.path_of(Artifact::Rounds), text).unwrap();
        let mut recorder = Recorder::open(folder.clone(), &plan, handle.clone()).unwrap();
        recorder.on_event(&resumed);
        recorder.failure().get()
    };
    // What follows the round that the run resumes after is rewritten, damaged or not.
    let text = line(1) + &line(2) + &line(3) + "{\n" + &line(4);
    assert_eq!(go_on(text.as_bytes()), None);
    assert_eq!(folder.read_rounds().unwrap().len(), 2);
    let damaged = line(1) + "{\n" + &line(2);
    let failure = go_on(damaged.as_bytes()).unwrap();
    assert!(failure.contains("line 2 of"), "{failure}");
    assert_eq!(
        fs::read_to_string(folder.path_of(Artifact::Rounds)).unwrap(),
        damaged
    );
}

#[test]
fn a_ledger_s_end_tells_the_state_whatever_a_power_cut_left_behind_it() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = RunFolder::at(temporary.path());
    let end = r#"{"sequence":2,"time":0,"event":"run_finished","rounds":1,"virtual_seconds":0.0,"ending":"complete","error":null}"#;
    for (rest, state) in [
        ("\n", RunState::Complete),
        ("", RunState::Complete),
        ("\r\n", RunState::Complete),
        ("\n\0\0\0", RunState::Complete),
        ("\n{\"sequence\":3", RunState::Interrupted),
    ] {
        fs::write(
            folder.path_of(Artifact::Ledger),
            format!("{{}}\n{end}{rest}"),
        )
        .unwrap();
        assert_eq!(folder.state().unwrap(), state, "{rest:?}");
    }
    fs::write(folder.path_of(Artifact::Ledger), &end[..end.len() - 1]).unwrap();
    assert_eq!(folder.state().unwrap(), RunState::Interrupted);
}

#[test]
fn a_folder_is_not_written_into_when_it_is_another_one() {
    let temporary = tempfile::tempdir().unwrap();
    let (path, moved) = (temporary.path().join("run"), temporary.path().join("moved"));
    let plan = plan(&path);
    let folder = RunFolder::create(&plan).unwrap();
    folder.check().unwrap();
    let (handle, _control) = control();
    let mut recorder = Recorder::open(folder.clone(), &plan, handle).unwrap();
    fs::rename(&path, &moved).unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("lock"), "").unwrap();
    assert!(folder.check().is_err());
    recorder.on_event(&Event::RunFinished {
        rounds: 0,
        virtual_seconds: 0.0,
        ending: None,
        error: None,
    });
    let reason = recorder.failure().get().unwrap();
    assert!(reason.contains("replaced by another one"), "{reason}");
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
}
