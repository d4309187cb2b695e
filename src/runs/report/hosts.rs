//! The hosts that trained for a run, and those that were not allowed to, as tables.

use std::time::{Duration, SystemTime};

use crate::base::table::{Cell, Table};
use crate::base::time;
use crate::runs::history::hosts::{HostHistory, HostRecord};

/// Who trained, from when to when, why no longer, and what became of the jobs.
#[must_use]
pub fn table(history: &HostHistory) -> Table {
    let columns = [
        ("host", "host"),
        ("description", "machine"),
        ("lanes", "lanes"),
        ("joined", "joined"),
        ("left", "left"),
        ("done", "jobs done"),
        ("redone", "jobs redone"),
        ("verified", "jobs verified"),
        ("wrong", "jobs wrong"),
        ("lost", ""),
        ("reason", "why it left"),
    ];
    let mut table = Table::new("hosts", &columns);
    history
        .hosts
        .values()
        .for_each(|host| table.add_row(row(host)));
    table
}

fn row(host: &HostRecord) -> [Cell; 11] {
    let left = host.left.as_ref();
    let reason = left.map_or_else(Cell::none, |left| match left.lost {
        true => Cell::new(left.reason.as_str(), format!("lost: {}", left.reason)),
        false => left.reason.as_str().into(),
    });
    [
        host.host.as_str().into(),
        host.description.as_str().into(),
        host.lanes.len().into(),
        moment(host.joined),
        left.map_or_else(Cell::none, |left| moment(left.at)),
        Cell::count(host.done),
        Cell::count(host.redone),
        Cell::count(host.verified),
        Cell::count(host.wrong),
        left.is_some_and(|left| left.lost).into(),
        reason,
    ]
}

/// Hosts that were not allowed to train, and why.
#[must_use]
pub fn refusals(history: &HostHistory) -> Table {
    let columns = [
        ("host", "host"),
        ("times", "times"),
        ("last", "last"),
        ("reason", "reason"),
    ];
    let mut table = Table::new("refused_hosts", &columns);
    for refusal in &history.refusals {
        table.add_row([
            refusal.host.as_str().into(),
            Cell::count(refusal.times),
            moment(refusal.last),
            refusal.reason.as_str().into(),
        ]);
    }
    table
}

/// Seconds since 1970 as a date and an hour.
fn moment(seconds: f64) -> Cell {
    let since = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let at = SystemTime::UNIX_EPOCH
        .checked_add(since)
        .and_then(time::local);
    at.map_or_else(Cell::none, |at| {
        let value = at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
        Cell::new(value, at.strftime("%Y-%m-%d %H:%M:%S").to_string())
    })
}

#[cfg(test)]
mod tests {
    use regatta_actors::ids::{ClientId, LaneId};
    use regatta_actors::protocol::event::Event;

    use super::*;

    #[test]
    fn a_table_tells_lost_hosts_from_those_that_left_and_those_that_are_there() {
        let mut history = HostHistory::default();
        for host in ["a", "b", "c"] {
            let joined = Event::HostJoined {
                host: host.into(),
                lanes: vec![LaneId(0), LaneId(1)],
                description: "a CPU".into(),
            };
            history.take(&joined, 1e9);
        }
        for (host, lost) in [("a", true), ("b", false)] {
            let left = Event::HostLeft {
                host: host.into(),
                lost,
                reason: "because".into(),
            };
            history.take(&left, 2e9);
        }
        for (right, wrong) in [("c", "a"), ("b", "c")] {
            let verified = Event::JobVerified {
                round: 1,
                client: ClientId(0),
                hosts: vec![right.into()],
                wrong: vec![wrong.into()],
            };
            history.take(&verified, 3e9);
        }
        let table = table(&history);
        let why = table.rows().iter().map(|row| row[10].shown.as_str());
        assert_eq!(why.collect::<Vec<_>>(), ["lost: because", "because", "–"]);
        let first = &table.rows()[0];
        assert!(first[3].shown.starts_with("2001-09-"), "{}", first[3].shown);
        assert_eq!((&first[2].shown[..], &first[5].shown[..]), ("2", "·"));
        assert!(first[9].value == true && table.rows()[1][9].value == false);
        let compared = &table.rows()[2];
        assert_eq!((&compared[7].shown[..], &compared[8].shown[..]), ("1", "1"));
    }

    #[test]
    fn a_time_beyond_all_dates_is_none() {
        for seconds in [f64::NAN, f64::INFINITY, 1e30] {
            assert!(!moment(seconds).shown.is_empty());
        }
        assert_eq!(moment(1e18).shown, "–");
    }
}
