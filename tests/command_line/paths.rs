//! Paths that are not UTF-8, which Linux allows: they work, or are refused with the flag's name
//! before anything is made.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output};

use clap::CommandFactory;
use regatta::cli::args::Cli;

use crate::workplace::Workplace;

const RUN: &str = "--task rte --model models/tiny --num_clients 2 --local_epochs 1 --batch_size 4 \
                   --rounds 1 --metrics off --web off --quiet";

/// `café` in Latin-1.
fn name() -> &'static OsStr {
    OsStr::from_bytes(b"caf\xe9")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", errors(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An argument that is a path: what stands before it, and whether it is a flag.
struct Argument {
    subcommand: String,
    flag: Option<String>,
}

impl Argument {
    fn of_all_subcommands() -> Vec<Self> {
        let command = Cli::command();
        let mut found = Vec::new();
        // A broker runs until it is told to end.
        let ending = command.get_subcommands();
        for subcommand in ending.filter(|subcommand| subcommand.get_name() != "broker") {
            let global = command.get_arguments().filter(|it| it.is_global_set());
            for argument in subcommand.get_arguments().chain(global) {
                let kind = argument.get_value_parser().type_id();
                if kind == std::any::TypeId::of::<PathBuf>() {
                    found.push(Self {
                        subcommand: subcommand.get_name().to_owned(),
                        flag: argument.get_long().map(|long| format!("--{long}")),
                    });
                }
            }
        }
        found
    }

    /// A command line with a path that is not UTF-8 in this place, and what else it takes.
    fn line(&self) -> Vec<OsString> {
        let other =
            |text: &str| -> Vec<OsString> { text.split_whitespace().map(Into::into).collect() };
        let mut line = other(&self.subcommand);
        line.extend(other(match self.subcommand.as_str() {
            "run" | "check" | "data" => RUN,
            "replay" => "--check",
            _ => "",
        }));
        line.extend(other(match (self.subcommand.as_str(), &self.flag) {
            ("ctl", _) => "--control 127.0.0.1:1 status",
            ("resume" | "replay" | "report" | "compare" | "export", Some(_)) => "done",
            ("sweep", Some(_)) => "s.toml",
            ("runs", Some(_)) => ".",
            _ => "",
        }));
        match &self.flag {
            Some(flag) => {
                let mut joined = OsString::from(format!("{flag}="));
                joined.push(name());
                line.push(joined);
            }
            None => line.push(name().to_owned()),
        }
        line
    }
}

#[test]
fn every_argument_that_is_a_path_takes_any_bytes_or_is_refused_by_name() {
    let place = Workplace::new();
    place.write(
        "s.toml",
        "[settings]\ntask = \"rte\"\nmodel = \"models/tiny\"\n[grid]\nseed = [1]\n",
    );
    place.accepts(&format!("run {RUN} --out done"));
    let arguments = Argument::of_all_subcommands();
    let flags = arguments.iter().filter(|argument| argument.flag.is_some());
    assert!(flags.count() > 15, "the arguments were not found");
    for argument in arguments {
        let line = argument.line();
        let output = place.command("").args(&line).output().unwrap();
        let said = errors(&output);
        let code = output.status.code();
        assert!(
            matches!(code, Some(0..=2)),
            "{line:?} ended with {code:?}: {said}"
        );
        assert!(
            !said.contains("panicked") && !said.contains("internal error"),
            "{line:?}: {said}"
        );
        if code != Some(0) {
            // By the flag, or the path itself, as far as it can be shown.
            let flag = argument.flag.as_deref().unwrap_or("caf\u{fffd}");
            let shown = ["caf\u{fffd}", flag].iter().any(|name| said.contains(name));
            // What is said first is that the other end is missing.
            let elsewhere = ["ctl", "worker"].contains(&&*argument.subcommand);
            assert!(shown || elsewhere, "{line:?}: {said}");
        }
        for made in [name(), OsStr::new("runs")] {
            let made = place.path().join(made);
            assert!(
                code == Some(0) || !made.is_dir(),
                "{line:?} left {}",
                made.display()
            );
            let _ = fs::remove_dir_all(&made);
            let _ = fs::remove_file(&made);
        }
    }
}

#[test]
fn a_run_and_all_that_is_made_of_it_may_lie_anywhere() {
    let place = Workplace::new();
    let here = place.path().join(name());
    fs::create_dir(&here).unwrap();
    for (what, folder) in [("models", "models"), ("data", "data")] {
        symlink(place.path().join(folder), here.join(what)).unwrap();
    }
    let with = |ending: &str| {
        let mut file = name().to_owned();
        file.push(ending);
        file
    };
    let scenario = "task = \"rte\"\nmodel = \"models/tiny\"\nnum_clients = 2\nlocal_epochs = 1\n\
                    batch_size = 4\nmetrics = \"off\"\nweb = \"off\"\nquiet = true\nrounds = 1\n";
    fs::write(here.join(with(".toml")), scenario).unwrap();
    let regatta = |line: &str| {
        let mut command = place.command(line);
        command
            .current_dir(&here)
            .env("HOME", &here)
            .env("XDG_CACHE_HOME", here.join("cache"))
            .env("XDG_STATE_HOME", here.join("state"))
            .env("TMPDIR", &here);
        command
    };
    succeeds(regatta("check").arg(with(".toml")));
    succeeds(regatta("run").arg(with(".toml")).arg("--out").arg(name()));
    let run = here.join(name());
    assert!(run.join("summary.json").exists());
    succeeds(regatta("report").arg(name()));
    assert!(run.join("report.html").exists() && run.join("figures/loss.png").exists());
    let json = succeeds(regatta("report --format json").arg(name()));
    assert!(
        json.contains("\"run\": \"caf\u{fffd}\"") || json.contains("\"run\":\"caf\u{fffd}\""),
        "{json}"
    );
    succeeds(regatta("replay --check").arg(name()));
    succeeds(
        regatta("compare")
            .args([name(), OsStr::new("--out")])
            .arg(with(".html")),
    );
    assert!(here.join(with(".html")).exists());
    succeeds(regatta("runs").arg(&here));
    succeeds(
        regatta("export --merge")
            .arg(name())
            .arg("--out")
            .arg(with("-merged")),
    );
    assert!(
        here.join(with("-merged"))
            .join("model.safetensors")
            .exists()
    );
    succeeds(&mut regatta("doctor"));
    let sweep = "out = \"swept\"\n[settings]\ntask = \"rte\"\nmodel = \"models/tiny\"\nrounds = 1\n\
                 num_clients = 2\nlocal_epochs = 1\nmetrics = \"off\"\nweb = \"off\"\nquiet = true\n\
                 [grid]\nseed = [1]\n";
    fs::write(here.join(with("-sweep.toml")), sweep).unwrap();
    succeeds(regatta("sweep").arg(with("-sweep.toml")));
    assert!(here.join("swept/compare.html").exists());
    let log = here.join(with(".log"));
    succeeds(
        regatta("sweep")
            .arg(with("-sweep.toml"))
            .arg("--slurm")
            .arg(with(".sh"))
            .arg("--log_file")
            .arg(&log),
    );
    let script = Command::new("bash")
        .arg(here.join(with(".sh")))
        .env("SLURM_ARRAY_TASK_ID", "0")
        .output();
    let script = script.unwrap();
    let said = String::from_utf8_lossy(&script.stdout);
    assert!(
        script.status.success() && said.contains("already complete"),
        "{}",
        errors(&script)
    );
    assert!(log.exists());
}

#[test]
fn a_run_in_such_a_folder_goes_on() {
    let place = Workplace::new();
    succeeds(
        place
            .command(&format!("run {RUN}"))
            .arg("--out")
            .arg(name()),
    );
    let run = place.path().join(name());
    // As after a kill right before the end.
    let ledger = fs::read_to_string(run.join("events.jsonl")).unwrap();
    let kept = ledger.trim_end().rfind('\n').unwrap() + 1;
    fs::write(run.join("events.jsonl"), &ledger[..kept]).unwrap();
    succeeds(place.command("resume").arg(name()));
    let output = place
        .command(&format!("run {RUN}"))
        .arg("--out")
        .arg(name())
        .output()
        .unwrap();
    let said = errors(&output);
    assert!(
        said.contains("--out=caf\u{fffd}: a run's results are in it already"),
        "{said}"
    );
}

#[test]
fn variables_with_such_paths_are_refused_by_name_and_those_of_the_home_work() {
    let place = Workplace::new();
    let run = "run --task rte --model models/tiny --metrics off --web off";
    let output = place
        .command(run)
        .env("REGATTA_DATA", name())
        .output()
        .unwrap();
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("error: REGATTA_DATA=caf\u{fffd}: not UTF-8"),
        "{said}"
    );
    assert!(!place.path().join("runs").exists());
    let output = place
        .command("doctor")
        .env("REGATTA_DATA", name())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &errors(&output);
    assert!(
        said.contains("REGATTA_DATA is caf\u{fffd}: not UTF-8"),
        "{said}"
    );
}

#[test]
fn files_that_are_not_utf_8_are_refused_with_the_place() {
    let place = Workplace::new();
    fs::write(
        place.path().join("s.toml"),
        b"task = \"rte\"\ndata = \"caf\xe9\"\n",
    )
    .unwrap();
    for subcommand in ["check", "run", "sweep"] {
        let errors = place.errors(&format!("{subcommand} s.toml"));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].starts_with("error: s.toml:2:12: not UTF-8: invalid byte 0xE9"),
            "{errors:?}"
        );
    }
}
