//! What is measured of other hosts.

use regatta_actors::ids::LaneId;

use super::*;

fn joined(host: &str, lanes: u32) -> Event {
    Event::HostJoined {
        host: host.into(),
        lanes: (0..lanes).map(LaneId).collect(),
        description: "a CPU".into(),
    }
}

fn left(host: &str, lost: bool) -> Event {
    Event::HostLeft {
        host: host.into(),
        lost,
        reason: "it is gone".into(),
    }
}

fn over() -> Event {
    Event::RunFinished {
        rounds: 1,
        virtual_seconds: 1.0,
        ending: None,
        error: None,
    }
}

#[test]
fn hosts_and_their_lanes_are_counted_while_they_are_there() {
    let reached = Event::BrokerReached;
    let nobody = scrape(std::slice::from_ref(&reached));
    for name in [
        "regatta_hosts",
        "regatta_host_lanes",
        "regatta_hosts_lost_total",
    ] {
        assert_eq!(value(&nobody, name, &[]), 0.0, "{name}");
    }
    let events = [
        reached,
        joined("a", 2),
        joined("b", 1),
        joined("c", 3),
        left("a", true),
        left("b", false),
    ];
    let some = scrape(&events);
    let counted = [
        "regatta_hosts",
        "regatta_host_lanes",
        "regatta_hosts_lost_total",
    ];
    assert_eq!(counted.map(|name| value(&some, name, &[])), [1.0, 3.0, 1.0]);
    let ended = scrape(&[&events[..], &[started(), over()]].concat());
    assert_eq!(value(&ended, "regatta_hosts", &[]), 0.0);
}

#[test]
fn a_broker_is_connected_or_not_and_in_a_local_run_there_is_none() {
    let away = Event::BrokerAway {
        reason: "no answer".into(),
    };
    let connected = |events: &[Event]| value(&scrape(events), "regatta_broker_connected", &[]);
    assert_eq!(connected(&[Event::BrokerReached]), 1.0);
    assert_eq!(connected(&[Event::BrokerReached, away.clone()]), 0.0);
    assert_eq!(
        connected(&[Event::BrokerReached, away, Event::BrokerReached]),
        1.0
    );
    let local = scrape(&[started(), over()]);
    for name in [
        "regatta_broker_connected",
        "regatta_hosts",
        "regatta_host_lanes",
    ] {
        assert!(samples(&local, name, &[]).is_empty(), "{name}");
    }
}
