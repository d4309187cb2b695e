#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::path::Path;

use tempfile::TempDir;

use super::*;

/// Answers as METEOR does, and notes what it was called with and asked. The statistics are the number
/// of the question.
const ANSWERS: &str = r#"
echo "$@" > "$0.log"
questions=0
while IFS= read -r line; do
    questions=$((questions + 1))
    printf '%s\n' "$line" >> "$0.log"
    case "$line" in
        SCORE*) echo "$questions.0 1.0" ;;
        EVAL*) printf '0.5\n0.25\n0.375\n' ;;
    esac
done"#;

/// METEOR whose `java` is a script, in a folder with an empty jar.
fn meteor(script: &str) -> (TempDir, Meteor) {
    let folder = tempfile::tempdir().unwrap();
    let (java, jar) = (folder.path().join("java"), folder.path().join("meteor.jar"));
    std::fs::write(&jar, "").unwrap();
    // Written by another process: one that another test starts at this moment would inherit our
    // handle, and a file that is open for writing cannot be executed.
    let mut writer = Command::new("sh");
    writer
        .args(["-c", r#"cat > "$0"; chmod +x "$0""#])
        .arg(&java);
    let mut writer = writer.stdin(Stdio::piped()).spawn().unwrap();
    let script = format!("#!/bin/sh\necho $$ > \"$0.pid\"\n{script}\n");
    let mut stdin = writer.stdin.take().unwrap();
    stdin.write_all(script.as_bytes()).unwrap();
    drop(stdin);
    assert!(writer.wait().unwrap().success());
    let patience = Duration::from_secs(20);
    let meteor = Meteor {
        java,
        jar,
        patience,
    };
    (folder, meteor)
}

fn instances() -> Vec<Instance> {
    [
        ("A pub.", ["A cheap pub.", "Pub"]),
        ("", ["It isn't.", "<a |||> b"]),
    ]
    .map(|(output, references)| Instance {
        output: output.to_owned(),
        references: references.map(str::to_owned).to_vec(),
    })
    .to_vec()
}

/// Whether the process of the script is gone, and not as a zombie. One that was ended before it noted
/// its number cannot be asked about.
fn is_gone(folder: &Path) -> bool {
    let pid = std::fs::read_to_string(folder.join("java.pid")).unwrap_or_default();
    pid.is_empty() || !Path::new("/proc").join(pid.trim()).exists()
}

#[test]
fn instances_are_asked_about_one_by_one_and_then_scored_together() {
    let (folder, meteor) = meteor(ANSWERS);
    let scores = meteor.score(&instances()).unwrap();
    assert_eq!(scores.corpus, 0.375);
    assert_eq!(scores.each, [0.5, 0.25]);
    let log = std::fs::read_to_string(folder.path().join("java.log")).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(
        lines,
        [
            &*format!(
                "-Xmx2G -jar {} - - -stdio -l en -norm",
                meteor.jar.display()
            ),
            "SCORE ||| a cheap pub ||| pub ||| a pub",
            "SCORE ||| it is n't ||| <a\u{A0}> b ||| ",
            "EVAL ||| 1.0 1.0 ||| 2.0 1.0",
        ]
    );
    assert!(is_gone(folder.path()));
}

#[test]
fn a_missing_jar_and_a_missing_java_are_told_apart() {
    let (_folder, mut meteor) = meteor("");
    meteor.java = "no-such-program".into();
    let error = meteor.score(&instances()).unwrap_err().to_string();
    assert!(
        error.starts_with("no-such-program does not start"),
        "{error}"
    );
    meteor.jar = "no-such.jar".into();
    let error = meteor.score(&instances()).unwrap_err().to_string();
    assert!(error.starts_with("no-such.jar is not there"), "{error}");
}

#[test]
fn a_program_that_ends_early_is_quoted() {
    let (folder, meteor) = meteor("read -r line; echo 'out of memory' >&2; exit 3");
    let error = meteor.score(&instances()).unwrap_err().to_string();
    assert!(error.contains("exit status: 3"), "{error}");
    assert!(error.ends_with("out of memory"), "{error}");
    assert!(is_gone(folder.path()));
}

#[test]
fn a_program_that_never_reads_or_answers_is_ended() {
    let (folder, mut meteor) = meteor("exec sleep 600");
    meteor.patience = Duration::from_secs(1);
    // Longer than a pipe holds.
    let mut instances = instances();
    instances[0].output = "pub ".repeat(100_000);
    let error = meteor.score(&instances).unwrap_err();
    assert!(matches!(error, MeteorError::Silent(_)), "{error}");
    assert!(is_gone(folder.path()));
}

#[test]
fn a_program_that_complains_a_lot_still_answers() {
    let noise = "head -c 1000000 /dev/zero | tr '\\0' x >&2";
    let (_folder, meteor) = meteor(&format!("{noise}\n{ANSWERS}"));
    assert_eq!(meteor.score(&instances()).unwrap().corpus, 0.375);
}

#[test]
fn an_answer_that_is_no_score_is_shown() {
    let (folder, meteor) = meteor("while read -r line; do echo Error; done");
    let error = meteor.score(&instances()).unwrap_err().to_string();
    assert!(error.contains("\"Error\""), "{error}");
    assert!(is_gone(folder.path()));
}
