//! A run whose ports are flooded, on loopback and within bounds.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::workplace::{Running, Workplace};

const RUN: &str = "run --task rte --model models/tiny --num_clients 2 --local_epochs 1 \
                   --batch_size 4 --rounds 1000000 --out run";

/// The command with at most N file handles, and no right to have more.
fn limited(place: &Workplace, line: &str, handles: u32) -> Command {
    let whole = place.command(line);
    let mut limited = Command::new("sh");
    let script = format!("ulimit -n {handles}; exec \"$0\" \"$@\"");
    limited.args(["-c", &script]).arg(whole.get_program());
    limited.args(whole.get_args()).current_dir(place.path());
    limited.env("XDG_CACHE_HOME", place.path().join("cache"));
    limited.env("XDG_STATE_HOME", place.path().join("state"));
    limited
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The address that a line of the run's names.
fn address(lines: &mut impl Iterator<Item = String>, before: &str) -> String {
    let line = lines.find(|line| line.starts_with(before)).unwrap();
    let rest = line.strip_prefix(before).unwrap();
    rest.split([':', '/']).take(2).collect::<Vec<_>>().join(":")
}

#[test]
fn a_run_with_few_file_handles_and_every_port_flooded_is_steered_saved_and_ended() {
    let place = Workplace::new();
    let line = format!(
        "--log_file log {RUN} --metrics 127.0.0.1:0 --control 127.0.0.1:0 --web 127.0.0.1:0"
    );
    let (running, mut lines) = Running::of(limited(&place, &line, 128));
    let metrics = address(&mut lines, "metrics at http://");
    let control = address(&mut lines, "control at ");
    let page = address(&mut lines, "watch at http://");
    lines.find(|line| line.starts_with("round ")).unwrap();
    let follow = format!("GET /api/events HTTP/1.1\r\nHost: {page}\r\n\r\n");
    let mut held = Vec::new();
    for said in ["", "GET / HTTP/1.1\r\nX: ", "\u{0}\u{1}", follow.as_str()] {
        for address in [&metrics, &control, &page] {
            for _ in 0..60 {
                let mut stream = TcpStream::connect(address).unwrap();
                // Whoever comes later may have had this one closed already.
                let _ = stream.write_all(said.as_bytes());
                held.push(stream);
            }
        }
    }
    assert!(get(&metrics, "/metrics").contains("regatta_rounds_total"));
    assert!(get(&page, "/api/history").starts_with("HTTP/1.1 200"));
    let ctl = |what: &str| place.accepts(&format!("ctl --control {control} {what}"));
    assert!(ctl("status").contains("/1000000"));
    ctl("checkpoint");
    ctl("pause");
    lines.find(|line| line.starts_with("paused")).unwrap();
    ctl("stop");
    lines.for_each(drop);
    assert!(running.wait().success());
    drop(held);
    let log = place.read("log");
    for port in ["metrics", "control", "web"] {
        let told = format!("the {port} port is full");
        // Once, and then as a count each minute.
        assert!((1..9).contains(&log.matches(&told).count()), "{log}");
    }
}

#[test]
fn too_few_file_handles_are_an_error_before_anything_is_begun() {
    let place = Workplace::new();
    let output = limited(&place, &format!("{RUN} --metrics off --web off"), 64)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("open only 64 files") && text.contains("ulimit -n"),
        "{text}"
    );
    assert!(!place.path().join("run").exists());
}

#[test]
fn what_a_run_does_not_confirm_in_time_has_an_exit_status_of_its_own() {
    let place = Workplace::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let begin = Instant::now();
    let address = silent.local_addr().unwrap();
    let output = place.regatta(&format!("ctl --control {address} stop"));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.starts_with("error: not confirmed: "), "{text}");
    assert!(begin.elapsed() >= Duration::from_secs(2));
    drop(silent);
}

#[test]
fn a_factor_out_of_bounds_is_refused_before_the_run_hears_of_it() {
    let place = Workplace::new();
    for factor in ["0", "-2", "nan", "inf", "1e7", "1e-9", "fast", "1e999"] {
        let output = place.regatta(&format!("ctl --control 127.0.0.1:1 slow 0 {factor}"));
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{factor}: {text}");
        assert!(text.contains("from 0.001 to 1000000"), "{factor}: {text}");
    }
}
