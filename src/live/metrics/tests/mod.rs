pub(crate) mod fleet;
pub(crate) mod hosts;
pub(crate) mod serving;

use std::collections::BTreeSet;

use metrics_exporter_prometheus::PrometheusHandle;
use prometheus_parse::{Sample, Scrape, Value};
use regatta_actors::ids::{ClientId, Digest};
use regatta_actors::observe::Observer;
use regatta_actors::protocol::client_state::ClientState;
use regatta_actors::protocol::event::{ClientInfo, Event};
use regatta_actors::protocol::round_record::{ClientRecord, Outcome, PhaseSeconds, RoundRecord};
use regatta_actors::workload::update::Scores;

use crate::live::metrics::observer::{MetricsObserver, RunLabels};
use crate::live::metrics::{catalog, exporter};
use crate::tasks::metrics::info::MetricInfo;
use crate::tasks::metrics::set::MetricSet;

/// The scrape after these events.
fn scrape(events: &[Event]) -> Scrape {
    scrape_of(info(), events)
}

fn scrape_of(info: RunLabels, events: &[Event]) -> Scrape {
    let text = with_recorder(|handle| {
        let mut observer = MetricsObserver::new(info, METRICS);
        events.iter().for_each(|event| observer.on_event(event));
        handle.render()
    });
    Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap()
}

const METRICS: MetricSet = MetricSet::of(&[MetricInfo::lower("perplexity")]);

fn info() -> RunLabels {
    RunLabels {
        version: "0",
        libtorch: "2".into(),
        task: "sst2".to_owned(),
        adapter: "LoRA",
        method: "ours",
        lanes: vec!["cpu".into()],
        client_series: 100,
    }
}

fn with_recorder<T>(work: impl FnOnce(PrometheusHandle) -> T) -> T {
    let recorder = exporter::builder("demo").unwrap().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        catalog::ALL.iter().for_each(|metric| metric.describe());
        work(recorder.handle())
    })
}

fn samples<'a>(scrape: &'a Scrape, name: &str, labels: &[(&str, &str)]) -> Vec<&'a Sample> {
    let fits = |sample: &&Sample| {
        sample.metric == name
            && labels
                .iter()
                .all(|(key, value)| sample.labels.get(key) == Some(*value))
    };
    scrape.samples.iter().filter(fits).collect()
}

fn value(scrape: &Scrape, name: &str, labels: &[(&str, &str)]) -> f64 {
    match samples(scrape, name, labels).as_slice() {
        [sample] => match sample.value {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => value,
            ref other => panic!("{name} is {other:?}"),
        },
        found => panic!("{} series {name} with {labels:?}", found.len()),
    }
}

fn started() -> Event {
    let client = |number: u32| ClientInfo {
        client: ClientId(number),
        name: format!("c{number}"),
        examples: 10,
    };
    Event::RunStarted {
        run: "demo".into(),
        rounds: 3,
        lanes: 1,
        clients: vec![client(0), client(1)],
    }
}

fn round_finished(outcomes: [Outcome; 2]) -> Event {
    let client = |(number, outcome): (u32, Outcome)| ClientRecord {
        client: ClientId(number),
        name: format!("c{number}"),
        outcome,
        loss: Some(0.5),
        examples: 10,
        steps: 2,
        bytes_up: 100,
        bytes_down: 1000,
        seconds: 1.5,
    };
    Event::RoundFinished(RoundRecord {
        round: 1,
        train_loss: Some(0.5),
        eval: Some(Scores::from([("accuracy".into(), 0.75)])),
        exactness_error: Some(2e-8),
        measures: [].into(),
        virtual_seconds: 12.0,
        seconds: PhaseSeconds {
            train: 3.0,
            aggregate: 0.5,
            evaluate: 1.0,
        },
        state_digest: Digest("0".repeat(64)),
        refused: Vec::new(),
        clients: (0..).zip(outcomes).map(client).collect(),
    })
}

#[test]
fn counters_exist_before_anything_is_counted() {
    let scrape = scrape(&[started()]);
    for name in [
        "regatta_client_examples_total",
        "regatta_client_restarts_total",
    ] {
        assert_eq!(
            value(&scrape, name, &[("client", "c1"), ("run", "demo")]),
            0.0
        );
    }
    let missed = samples(&scrape, "regatta_client_missed_rounds_total", &[]);
    assert_eq!(missed.len(), 2 * 5);
    assert_eq!(value(&scrape, "regatta_lane_examples_total", &[]), 0.0);
    assert_eq!(samples(&scrape, "regatta_updates_total", &[]).len(), 6);
    assert_eq!(value(&scrape, "regatta_clients", &[("state", "idle")]), 2.0);
    for (name, series) in [
        ("regatta_round_seconds_count", 3),
        ("regatta_job_seconds_count", 1),
        ("regatta_update_virtual_seconds_count", 1),
    ] {
        let found = samples(&scrape, name, &[]);
        assert_eq!(found.len(), series, "{name}");
        assert!(
            found.iter().all(|s| s.value == Value::Untyped(0.0)),
            "{name}"
        );
    }
}

#[test]
fn a_finished_round_is_counted_for_each_client() {
    let outcomes = [Outcome::Aggregated, Outcome::Dropped];
    let scrape = scrape(&[
        started(),
        round_finished(outcomes),
        round_finished(outcomes),
    ]);
    assert_eq!(
        value(
            &scrape,
            "regatta_rounds_total",
            &[("outcome", "aggregated")]
        ),
        2.0
    );
    assert_eq!(
        value(&scrape, "regatta_updates_total", &[("outcome", "dropped")]),
        2.0
    );
    assert_eq!(
        value(
            &scrape,
            "regatta_client_missed_rounds_total",
            &[("client", "c1"), ("reason", "dropped")]
        ),
        2.0
    );
    assert_eq!(
        value(
            &scrape,
            "regatta_client_missed_rounds_total",
            &[("client", "c0"), ("reason", "dropped")]
        ),
        0.0
    );
    let up = [("client", "c0"), ("direction", "up")];
    assert_eq!(value(&scrape, "regatta_client_bytes_total", &up), 200.0);
    assert_eq!(
        value(&scrape, "regatta_bytes_total", &[("direction", "up")]),
        400.0
    );
    assert_eq!(
        value(&scrape, "regatta_exactness_error", &[("method", "ours")]),
        2e-8
    );
}

#[test]
fn round_times_are_histograms_with_the_catalogues_buckets() {
    let scrape = scrape(&[started(), round_finished([Outcome::Aggregated; 2])]);
    let series = samples(&scrape, "regatta_round_seconds", &[("phase", "train")]);
    let Value::Histogram(buckets) = &series[0].value else {
        panic!("{:?} is not a histogram", series[0]);
    };
    // The last bucket is +Inf.
    assert_eq!(buckets.len(), catalog::ROUND_SECONDS.buckets.len() + 1);
}

#[test]
fn the_best_score_is_the_least_loss_and_the_highest_of_the_others() {
    let evaluated = |loss, accuracy| Event::Evaluated {
        round: 1,
        scores: Scores::from([("loss".into(), loss), ("accuracy".into(), accuracy)]),
        seconds: 1.0,
    };
    let scrape = scrape(&[started(), evaluated(0.4, 0.8), evaluated(0.6, 0.7)]);
    assert_eq!(value(&scrape, "regatta_score", &[("score", "loss")]), 0.6);
    assert_eq!(
        value(&scrape, "regatta_best_score", &[("score", "loss")]),
        0.4
    );
    assert_eq!(
        value(&scrape, "regatta_best_score", &[("score", "accuracy")]),
        0.8
    );
}

#[test]
fn the_score_of_the_base_is_beside_that_of_the_trained_model_and_has_no_best() {
    let evaluated = |perplexity: f64| Event::Evaluated {
        round: 1,
        scores: Scores::from([
            ("perplexity".into(), perplexity),
            ("base_perplexity".into(), 99.0),
        ]),
        seconds: 1.0,
    };
    let scrape = scrape(&[started(), evaluated(4.0), evaluated(6.0)]);
    let of = |name| value(&scrape, name, &[("score", "perplexity")]);
    let found = ["regatta_score", "regatta_best_score", "regatta_base_score"].map(of);
    assert_eq!(found, [6.0, 4.0, 99.0]);
    for name in ["regatta_score", "regatta_best_score"] {
        assert!(samples(&scrape, name, &[("score", "base_perplexity")]).is_empty());
    }
}

#[test]
fn the_best_score_is_the_best_of_the_finite_ones_and_nan_while_there_is_none() {
    let evaluated = |loss, pearson| Event::Evaluated {
        round: 1,
        scores: Scores::from([("loss_mm".into(), loss), ("pearson".into(), pearson)]),
        seconds: 1.0,
    };
    let best = |scrape: &Scrape, score| value(scrape, "regatta_best_score", &[("score", score)]);
    let nan = evaluated(f64::NAN, f64::NAN);
    let nothing = scrape(&[started(), nan.clone()]);
    assert!(best(&nothing, "loss_mm").is_nan() && best(&nothing, "pearson").is_nan());
    let last = evaluated(f64::NEG_INFINITY, f64::INFINITY);
    let events = [
        started(),
        nan,
        evaluated(0.4, -0.2),
        evaluated(0.6, -0.3),
        last,
    ];
    let scrape = scrape(&events);
    assert_eq!(
        (best(&scrape, "loss_mm"), best(&scrape, "pearson")),
        (0.4, -0.2)
    );
}

#[test]
fn the_best_score_may_be_of_a_round_that_an_earlier_process_did_and_is_not_done_again() {
    let scored = |round, accuracy| {
        let Event::RoundFinished(mut record) = round_finished([Outcome::Aggregated; 2]) else {
            unreachable!("it is a finished round");
        };
        record.round = round;
        record.eval = Some(Scores::from([("accuracy".into(), accuracy)]));
        record
    };
    let Event::RunStarted {
        run,
        rounds,
        lanes,
        clients,
    } = started()
    else {
        unreachable!("it is the start");
    };
    let resumed = Event::RunResumed {
        run,
        rounds,
        lanes,
        clients,
        after_round: 2,
    };
    let text = with_recorder(|handle| {
        let earlier = [scored(1, 0.8), scored(2, f64::NAN), scored(3, 0.9)];
        let mut observer = MetricsObserver::new(info(), METRICS).recalling(earlier);
        observer.on_event(&resumed);
        handle.render()
    });
    let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap();
    let accuracy = [("score", "accuracy")];
    assert_eq!(value(&scrape, "regatta_best_score", &accuracy), 0.8);
}

#[test]
fn a_clients_state_moves_it_between_the_counts() {
    let state = Event::ClientState {
        round: 1,
        client: ClientId(1),
        state: ClientState::Training,
        lane: None,
    };
    let scrape = scrape(&[started(), state]);
    assert_eq!(
        value(&scrape, "regatta_client_state", &[("client", "c1")]),
        2.0
    );
    assert_eq!(value(&scrape, "regatta_clients", &[("state", "idle")]), 1.0);
    assert_eq!(
        value(&scrape, "regatta_clients", &[("state", "training")]),
        1.0
    );
}

#[test]
fn names_follow_prometheus_and_are_shown_as_they_are() {
    let mut names = BTreeSet::new();
    for metric in catalog::ALL {
        let name = metric.name();
        assert!(names.insert(name), "{name} is listed twice");
        assert!(name.starts_with("regatta_"), "{name}");
        assert_eq!(
            metric.kind() == "counter",
            name.ends_with("_total"),
            "{name}"
        );
        assert!(
            !metric.labels().contains(&"round"),
            "{name} has an unbounded label"
        );
    }
    let text = with_recorder(|handle| {
        let mut observer = MetricsObserver::new(info(), METRICS);
        observer.on_event(&started());
        observer.on_event(&round_finished([Outcome::Aggregated; 2]));
        handle.render()
    });
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(names.contains(name), "{name} is not in the catalogue");
        assert!(
            text.contains(&format!("# HELP {name} ")),
            "{name} has no help"
        );
    }
}
