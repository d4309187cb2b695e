//! Clients one by one, and in total.

use regatta_actors::ids::LaneId;
use regatta_actors::plan::fault::FaultName;
use regatta_actors::workload::job::Progress;

use super::*;
use crate::live::metrics::observer::RunLabels;

/// Clients c0, c1, ... of a run that gives two of them separate series.
fn scrape_large(clients: u32, events: Vec<Event>) -> Scrape {
    let info = RunLabels {
        client_series: 2,
        ..info()
    };
    let client = |number| ClientInfo {
        client: ClientId(number),
        name: format!("c{number}"),
        examples: 10,
    };
    let started = Event::RunStarted {
        run: "demo".into(),
        rounds: 3,
        lanes: 1,
        clients: (0..clients).map(client).collect(),
    };
    let finished = Event::RunFinished {
        rounds: 1,
        virtual_seconds: 1.0,
        ending: None,
        error: None,
    };
    let events: Vec<_> = [vec![started], events, vec![finished]].concat();
    scrape_of(info, &events)
}

fn update(client: u32, loss: f64, seconds: f64) -> Event {
    Event::UpdateReceived {
        round: 1,
        client: ClientId(client),
        loss,
        examples: 10,
        steps: 2,
        bytes_up: 100,
        digest: Digest("0".repeat(64)),
        seconds,
        virtual_seconds: 7.0,
    }
}

fn state(client: u32, state: ClientState, lane: Option<u32>) -> Event {
    Event::ClientState {
        round: 1,
        client: ClientId(client),
        state,
        lane: lane.map(LaneId),
    }
}

fn selected(clients: &[u32], virtual_seconds: f64) -> Event {
    Event::RoundStarted {
        round: 1,
        clients: clients.iter().copied().map(ClientId).collect(),
        virtual_seconds,
    }
}

#[test]
fn a_large_fleet_has_quantiles_and_its_worst_clients_and_no_series_per_client() {
    let losses = [0.1, 0.9, 0.5, 0.7];
    let updates = (0..)
        .zip(losses)
        .map(|(client, loss)| update(client, loss, 1.0));
    let scrape = scrape_large(4, updates.collect());
    let per_client = scrape
        .samples
        .iter()
        .filter(|s| s.labels.get("client").is_some());
    assert_eq!(per_client.count(), 0);
    let quantile = |quantile| value(&scrape, "regatta_fleet_train_loss", &[("q", quantile)]);
    assert_eq!(
        [quantile("0"), quantile("0.5"), quantile("1")],
        [0.1, 0.7, 0.9]
    );
    let worst = |rank| {
        let labels = [("by", "train_loss"), ("rank", rank)];
        let number = value(&scrape, "regatta_worst_client_number", &labels);
        (
            number,
            value(&scrape, "regatta_worst_client_value", &labels),
        )
    };
    assert_eq!([worst("1"), worst("2")], [(1.0, 0.9), (3.0, 0.7)]);
    let ranks = samples(
        &scrape,
        "regatta_worst_client_number",
        &[("by", "train_loss")],
    );
    assert_eq!(ranks.len(), 2);
}

#[test]
fn a_loss_that_is_not_a_number_is_the_worst_and_corrupts_no_quantile() {
    let updates = vec![
        update(0, 3.0, 1.0),
        update(1, -f64::NAN, 1.0),
        update(2, 1.0, 1.0),
    ];
    let scrape = scrape_large(3, updates);
    let labels = [("by", "train_loss"), ("rank", "1")];
    assert_eq!(value(&scrape, "regatta_worst_client_number", &labels), 1.0);
    let quantiles =
        |scrape| ["0", "0.5", "1"].map(|q| value(scrape, "regatta_fleet_train_loss", &[("q", q)]));
    assert_eq!(quantiles(&scrape), [1.0, 3.0, 3.0]);

    let updates = [f64::NAN, f64::INFINITY, -f64::NAN];
    let updates = (0..)
        .zip(updates)
        .map(|(client, loss)| update(client, loss, 1.0));
    let scrape = scrape_large(3, updates.collect());
    assert!(quantiles(&scrape).iter().all(|quantile| quantile.is_nan()));
}

#[test]
fn of_clients_that_do_not_train_none_is_missed() {
    let scrape = scrape_large(3, vec![state(2, ClientState::Training, Some(0))]);
    let number = |rank| {
        let labels = [("by", "last_seen"), ("rank", rank)];
        value(&scrape, "regatta_worst_client_number", &labels)
    };
    assert_eq!(number("1"), 2.0);
    assert!(number("2").is_nan());
}

#[test]
fn a_clients_waiting_time_runs_from_when_it_was_asked() {
    let scrape = scrape(&[started(), selected(&[0], 4.0), update(0, 0.5, 3.0)]);
    let client = [("client", "c0")];
    assert_eq!(
        value(&scrape, "regatta_client_virtual_seconds", &client),
        3.0
    );
    assert_eq!(value(&scrape, "regatta_client_step_seconds", &client), 1.5);
}

#[test]
fn a_failure_is_a_restart_unless_the_client_retires() {
    let failed = |back_at| Event::ClientFailed {
        round: 1,
        client: ClientId(1),
        reason: "it panicked".into(),
        back_at,
        virtual_seconds: 3.0,
    };
    let scrape = scrape(&[started(), failed(Some(9.0)), failed(None)]);
    assert_eq!(value(&scrape, "regatta_restarts_total", &[]), 1.0);
    let client = [("client", "c1")];
    assert_eq!(
        value(&scrape, "regatta_client_restarts_total", &client),
        1.0
    );
}

#[test]
fn a_fault_is_counted_by_kind() {
    let straggle = Event::FaultInjected {
        round: 1,
        client: ClientId(1),
        fault: FaultName::Straggle,
        virtual_seconds: 3.0,
    };
    let scrape = scrape(&[started(), straggle]);
    let count = |fault| value(&scrape, "regatta_faults_total", &[("fault", fault)]);
    assert_eq!((count("straggle"), count("crash")), (1.0, 0.0));
}

#[test]
fn a_lanes_examples_grow_by_what_each_batch_adds() {
    let progress = |client, examples| Event::Progress {
        round: 1,
        client: ClientId(client),
        lane: LaneId(0),
        progress: Progress {
            steps_done: 1,
            steps_total: 3,
            examples,
            loss: None,
        },
    };
    let scrape = scrape(&[
        started(),
        state(0, ClientState::Training, Some(0)),
        progress(0, 4),
        progress(0, 8),
        state(0, ClientState::Sent, None),
        state(1, ClientState::Training, Some(0)),
        progress(1, 5),
    ]);
    let lane = [("lane", "0"), ("device", "cpu")];
    assert_eq!(value(&scrape, "regatta_lane_examples_total", &lane), 13.0);
}
