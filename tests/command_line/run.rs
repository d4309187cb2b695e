//! What a run leaves behind, how it is stopped, and what it shows to Prometheus.

use std::io::{Read, Write};
use std::net::TcpStream;

use prometheus_parse::Scrape;
use regatta::runs::folder::summary::Summary;
use regatta_actors::ids::Digest;
use regatta_actors::protocol::outcome::EndReason;

use crate::workplace::{Running, Workplace};

const RUN: &str = "run --task rte --model models/tiny --num_clients 2 --local_epochs 1 \
                   --batch_size 4 --agg_type fedex";

fn summary(place: &Workplace, folder: &str) -> Summary {
    serde_json::from_str(&place.read(&format!("{folder}/summary.json"))).unwrap()
}

fn digests(place: &Workplace, folder: &str) -> Vec<Digest> {
    place
        .rounds(folder)
        .into_iter()
        .map(|round| round.state_digest)
        .collect()
}

#[test]
fn a_run_sets_what_its_libraries_read_from_the_environment_and_keeps_what_the_user_set() {
    let place = Workplace::new();
    let mut command = place.command(&format!("{RUN} --rounds 1000 --metrics off --web off"));
    command
        .env_remove("OMP_WAIT_POLICY")
        .env_remove("GOMP_SPINCOUNT")
        .env("CUBLAS_WORKSPACE_CONFIG", ":16:8");
    let (running, mut lines) = Running::of(command);
    assert!(lines.any(|line| line.starts_with("round ")));
    let environment = std::fs::read(format!("/proc/{}/environ", running.id())).unwrap();
    let has = |entry: &str| {
        environment
            .split(|byte| *byte == 0)
            .any(|e| e == entry.as_bytes())
    };
    assert!(has("OMP_WAIT_POLICY=passive") && has("GOMP_SPINCOUNT=30000"));
    assert!(has("CUBLAS_WORKSPACE_CONFIG=:16:8"));
    running.kill();
}

#[test]
fn a_run_leaves_its_rounds_and_a_summary_and_says_so() {
    let place = Workplace::new();
    let said = place.accepts(&format!("{RUN} --rounds 3 --metrics off --out results"));
    let records = place.rounds("results");
    assert_eq!(
        records
            .iter()
            .map(|record| record.round)
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert!(
        records
            .iter()
            .all(|record| record.clients.len() == 2 && record.eval.is_some())
    );
    assert!(
        records
            .iter()
            .all(|record| record.exactness_error.unwrap() < 1e-6)
    );
    let summary = summary(&place, "results");
    assert_eq!(
        (summary.ending, summary.totals.rounds),
        (Some(EndReason::Complete), 3)
    );
    assert_eq!(
        summary.totals.state_digest.as_ref(),
        Some(&records[2].state_digest)
    );
    for text in [
        "round 3/3  2/2 clients",
        "exactness error",
        "done: 3 rounds, results in results",
    ] {
        assert!(said.contains(text), "{said}");
    }
}

#[test]
fn the_scenario_in_the_folder_repeats_the_run_bit_for_bit() {
    let place = Workplace::new();
    place.accepts(&format!(
        "{RUN} --rounds 2 --metrics off --out first --lanes 1"
    ));
    place.accepts("run first/scenario.toml --out second --lanes 2");
    assert_eq!(digests(&place, "first"), digests(&place, "second"));
    place.accepts("run first/scenario.toml --out third --seed 43");
    assert_ne!(digests(&place, "first"), digests(&place, "third"));
}

#[test]
fn the_first_interrupt_finishes_the_round() {
    let place = Workplace::new();
    let line = format!("{RUN} --rounds 1000000 --metrics off --out results");
    let (running, mut lines) = Running::start(&place, &line);
    lines.find(|line| line.starts_with("round ")).unwrap();
    running.signal("-INT");
    let last = lines.last().unwrap();
    assert!(running.wait().success());
    assert!(last.starts_with("stopped after "), "{last}");
    let summary = summary(&place, "results");
    assert_eq!(summary.ending, Some(EndReason::StoppedAfterRound));
    assert_eq!(
        summary.totals.rounds as usize,
        place.rounds("results").len()
    );
}

#[test]
fn the_second_interrupt_ends_the_process_at_once() {
    let place = Workplace::new();
    let line = format!("{RUN} --rounds 1 --metrics off --out results")
        .replace("--local_epochs 1", "--local_epochs 1000000");
    let (running, mut lines) = Running::start(&place, &line);
    lines.find(|line| line.starts_with("2 clients on")).unwrap();
    running.signal("-INT");
    lines
        .find(|line| line.starts_with("finishing the round"))
        .unwrap();
    running.signal("-INT");
    lines.for_each(drop);
    assert_eq!(running.wait().code(), Some(130));
}

#[test]
fn metrics_are_served_until_an_interrupt_after_the_end() {
    let place = Workplace::new();
    let line = format!("{RUN} --rounds 2 --metrics 127.0.0.1:0 --out results");
    place.write("linger.toml", "metrics_linger = \"1 h\"\n");
    let line = line.replacen("run ", "run linger.toml ", 1);
    let (running, mut lines) = Running::start(&place, &line);
    let said = lines
        .find(|line| line.starts_with("metrics stay at "))
        .unwrap();
    let address = said
        .split(['/', ' '])
        .find(|part| part.contains(':') && part.contains('.'));
    let scrape = scrape(address.unwrap());
    let value = |name: &str| scrape.samples.iter().filter(|s| s.metric == name).count();
    assert_eq!(value("regatta_client_train_loss"), 2);
    assert_eq!(value("regatta_round"), 1);
    running.signal("-INT");
    assert!(running.wait().success());
}

fn scrape(address: &str) -> Scrape {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let samples = text.lines().filter(|line| line.starts_with(['#', 'r']));
    Scrape::parse(samples.map(|line| Ok(line.to_owned()))).unwrap()
}
