use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::time::Duration;

use super::*;
use crate::runs::sweep::planned::Planned;
use crate::runs::sweep::slurm::cluster::{LimitError, array_limit, limit_in, output_of};

/// Names that people give, and that break a line, a quotation or a file's name.
const NAMES: [&str; 16] = [
    "grid of rates",
    "a: b",
    "a/b",
    "../../etc/passwd",
    "%x-%j",
    "it's",
    "say \"no\"",
    "back\\slash\\",
    "two\nlines\n#SBATCH --uid=0",
    "tab\tand\u{7f}\u{1b}[2J",
    "-x",
    "# no comment",
    " $(id) `id` ${HOME}; id & ",
    "größe – 日本",
    "",
    "   ",
];

fn plan(name: &str, runs: usize) -> SweepPlan {
    let run = Planned {
        label: "ours".into(),
        folder: "runs/s/ours".into(),
        arguments: Vec::new(),
    };
    SweepPlan {
        name: name.into(),
        out: "runs/s".into(),
        target: None,
        runs: vec![run; runs],
        choices: Vec::new(),
    }
}

fn limit(tasks: u32) -> ArrayLimit {
    ArrayLimit {
        tasks: NonZeroU32::new(tasks).unwrap(),
        is_assumed: false,
    }
}

fn job(sweep: &Path) -> ArrayScript<'_> {
    ArrayScript {
        sweep,
        program: Path::new("/bin/echo"),
        folder: Path::new("/"),
        limit: ArrayLimit::ASSUMED,
        at_most: None,
    }
}

/// What a task of the script prints, whose program is `echo`.
fn carried_out(script: &str, task: usize) -> Vec<u8> {
    let output = Command::new("bash")
        .args(["-c", script])
        .env("SLURM_ARRAY_TASK_ID", task.to_string())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    output.stdout
}

/// The options of a script's `#SBATCH` lines, by sbatch's rules: words end at blanks, except in
/// quotes of either kind; a backslash keeps what follows it; `#` before a word begins a comment;
/// the first line that is neither a comment nor empty ends them.
fn options(script: &str) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    let lines = script
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with('#'));
    for line in lines.filter_map(|line| line.strip_prefix("#SBATCH")) {
        let words = words(line);
        assert_eq!(words.len(), 1, "{line}");
        let (key, value) = words[0].split_once('=').unwrap();
        let before = options.insert(key.to_owned(), value.to_owned());
        assert_eq!(before, None, "{line}");
    }
    options
}

fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => word.get_or_insert_default().extend(characters.next()),
            c if Some(c) == quote => quote = None,
            '"' | '\'' if quote.is_none() => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            '#' if quote.is_none() && word.is_none() => break,
            c if c.is_ascii_whitespace() && quote.is_none() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    assert_eq!(quote, None, "unmatched quotes: {line}");
    words.extend(word);
    words
}

#[test]
fn every_name_is_one_word_of_a_directive_and_a_part_of_a_files_name() {
    for name in NAMES {
        let text = script(&plan(name, 3), &job(Path::new("s.toml")));
        let options = options(&text);
        let keys: Vec<&str> = options.keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            ["--array", "--job-name", "--output", "--signal"],
            "{text}"
        );
        let taken = &options["--job-name"];
        assert!(!taken.is_empty() && taken.len() <= 128, "{taken:?}");
        let breaks = |c: char| c.is_control() || matches!(c, '/' | '%' | '"' | '\\');
        assert!(!taken.contains(breaks), "{taken:?}");
        assert_eq!(options["--output"], "%x-%A_%a.log");
    }
    let name_of = |name: &str| {
        let text = script(&plan(name, 3), &job(Path::new("s.toml")));
        options(&text)["--job-name"].clone()
    };
    assert_eq!(name_of("grid of rates"), "grid of rates");
    assert_eq!(name_of("a: b"), "a: b");
    assert_eq!(name_of("größe – 日本"), "größe – 日本");
    assert_eq!(name_of("a/b"), "a-b");
    assert_eq!(name_of(" "), "regatta");
    assert_eq!(name_of(&"é".repeat(200)), "é".repeat(64));
}

#[test]
fn every_path_reaches_the_program_as_it_is() {
    let plain = NAMES
        .iter()
        .filter(|name| !name.is_empty())
        .map(|name| name.as_bytes());
    let others: [&[u8]; 3] = [
        b"caf\xe9.toml",
        b"\xff\n'\xfe",
        "naïve\u{85}\u{2028}".as_bytes(),
    ];
    for bytes in plain.chain(others) {
        let text = script(&plan("s", 12), &job(Path::new(OsStr::from_bytes(bytes))));
        // Nothing of the path begins a line, not even in a comment.
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        assert_eq!(lines.count(), 3, "{text}");
        options(&text);
        let expected = [b"sweep --only 7 -- ", bytes, b"\n"].concat();
        assert_eq!(carried_out(&text, 7), expected, "{text}");
    }
}

#[test]
fn a_folder_with_any_name_is_entered() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join(OsStr::from_bytes(b"- it's \xe9\n "));
    std::fs::create_dir(&folder).unwrap();
    let job = ArrayScript {
        folder: &folder,
        program: Path::new("/bin/pwd"),
        ..job(Path::new("s.toml"))
    };
    // It is asked to print where it is, by the name that it does not know.
    let text =
        script(&plan("s", 1), &job).replace(" sweep --only \"$SLURM_ARRAY_TASK_ID\" --", " #");
    let expected = [folder.as_os_str().as_bytes(), b"\n"].concat();
    assert_eq!(carried_out(&text, 0), expected);
}

#[test]
fn more_runs_than_an_array_may_have_tasks_are_dealt_out_in_turn() {
    let of = |runs, tasks| {
        let shares = Shares::of(runs, limit(tasks));
        (shares.tasks, shares.runs)
    };
    assert_eq!(of(1, 1001), (1, 1));
    assert_eq!(of(1001, 1001), (1001, 1));
    assert_eq!(of(1002, 1001), (501, 2));
    assert_eq!(of(1300, 1001), (650, 2));
    assert_eq!(of(7, 1), (1, 7));
    assert_eq!(of(7, 3), (3, 3));
    for (runs, most) in [(7, 3), (10, 4), (9, 5)] {
        let job = ArrayScript {
            limit: limit(most),
            ..job(Path::new("s.toml"))
        };
        let text = script(&plan("s", runs), &job);
        let last = options(&text)["--array"]
            .strip_prefix("0-")
            .unwrap()
            .parse::<usize>();
        let last = last.unwrap();
        assert!(last < most as usize, "{text}");
        let mut all: Vec<usize> = Vec::new();
        for task in 0..=last {
            let said = String::from_utf8(carried_out(&text, task)).unwrap();
            let only = said.strip_prefix("sweep --only ").unwrap();
            let only = only.strip_suffix(" -- s.toml\n").unwrap();
            all.extend(only.split(',').map(|run| run.parse::<usize>().unwrap()));
        }
        all.sort_unstable();
        assert_eq!(all, (0..runs).collect::<Vec<_>>(), "{text}");
    }
}

#[test]
fn a_script_says_what_it_took_the_cluster_to_allow_and_how_many_run_at_once() {
    let job = ArrayScript {
        at_most: NonZeroU32::new(8),
        ..job(Path::new("s.toml"))
    };
    let text = script(&plan("s", 1300), &job);
    assert_eq!(options(&text)["--array"], "0-649%8");
    assert!(
        text.contains("1001 tasks (Slurm's default of MaxArraySize"),
        "{text}"
    );
    let text = script(&plan("s", 12), &job);
    assert_eq!(options(&text)["--array"], "0-11%8");
}

#[test]
fn the_limit_is_read_from_what_scontrol_tells() {
    let config =
        "Configuration data as of now\nMaxArraySize            = 200\nMaxJobCount = 10000\n";
    assert_eq!(limit_in(config), Ok(limit(200)));
    assert_eq!(limit_in("MaxArraySize = 0\n"), Err(LimitError::NoArrays));
    for told in [
        "",
        "MaxArraySize\n",
        "MaxArraySize = many\n",
        "NotMaxArraySize = 3\n",
    ] {
        assert_eq!(limit_in(told), Ok(ArrayLimit::ASSUMED), "{told:?}");
    }
}

#[test]
fn a_controller_that_does_not_answer_is_not_waited_for() {
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    };
    let patience = Duration::from_secs(60);
    assert_eq!(output_of(shell("echo all"), patience).unwrap(), "all\n");
    output_of(shell("echo some; exit 1"), patience).unwrap_err();
    output_of(Command::new("no-such-program"), patience).unwrap_err();
    let silent = output_of(shell("exec sleep 600"), Duration::from_millis(1));
    assert_eq!(silent.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
}

/// Where there is a cluster, sbatch itself takes every script. What it has no room for is not the
/// script's fault.
#[test]
fn sbatch_takes_the_scripts_where_a_controller_answers() {
    let ping = Command::new("scontrol").arg("ping").output();
    if !ping.is_ok_and(|ping| ping.status.success()) {
        return;
    }
    let limit = array_limit().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("job.sh");
    for (name, runs) in NAMES
        .into_iter()
        .map(|name| (name, 3))
        .chain([("many", 1300)])
    {
        let job = ArrayScript {
            limit,
            at_most: NonZeroU32::new(2),
            ..job(Path::new("s.toml"))
        };
        std::fs::write(&path, script(&plan(name, runs), &job)).unwrap();
        let output = Command::new("sbatch")
            .arg("--test-only")
            .arg(&path)
            .output();
        let said = String::from_utf8(output.unwrap().stderr).unwrap();
        let faults = [
            "directive",
            "Unmatched",
            "array specification",
            "line ",
            "nvalid option",
        ];
        assert!(
            !faults.iter().any(|fault| said.contains(fault)),
            "{name:?}: {said}"
        );
    }
}
