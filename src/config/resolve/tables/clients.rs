//! The resources of the clients.

use std::collections::BTreeMap;
use std::path::Path;

use rand::seq::SliceRandom;
use regatta_actors::plan::availability::{Availability, Interval};
use regatta_actors::plan::profile::Profile;
use regatta_actors::random::StreamKey;
use serde::Deserialize;

use crate::config::resolve::Resolver;
use crate::config::tables::quantity::Seconds;
use crate::config::tables::{AvailabilityKind, AvailabilityTable, ClientsTable};

const AVAILABILITY_KEYS: [&str; 7] = ["from", "to", "day", "spread", "on", "off", "file"];

/// Each client's intervals in a trace.
type Traces = BTreeMap<u32, Vec<Interval>>;

impl Resolver<'_> {
    /// Each client's means: its group's, or the default.
    pub(crate) fn profiles(
        &mut self,
        groups: &BTreeMap<String, ClientsTable>,
        num_clients: u32,
        seed: u64,
    ) -> Vec<Profile> {
        let mut profiles = vec![Profile::default(); num_clients as usize];
        let members = self.members(groups, num_clients, seed);
        for ((name, group), members) in groups.iter().zip(members) {
            let path = format!("clients.{name}");
            let (profile, traces) = self.profile(&path, group);
            for member in members {
                let mut profile = profile.clone();
                if let Some(traces) = &traces {
                    // A client that the trace does not have is never there.
                    let intervals = traces.get(&member).cloned().unwrap_or_default();
                    profile.availability = Availability::Trace { intervals };
                }
                if let Some(slot) = profiles.get_mut(member as usize) {
                    *slot = profile;
                }
            }
        }
        profiles
    }

    /// Each group's clients. Groups that name theirs come first; shares are drawn from the rest.
    fn members(
        &mut self,
        groups: &BTreeMap<String, ClientsTable>,
        num_clients: u32,
        seed: u64,
    ) -> Vec<Vec<u32>> {
        let mut group_of: Vec<Option<usize>> = vec![None; num_clients as usize];
        for (i, (name, group)) in groups.iter().enumerate() {
            self.name_members(i, name, group, &mut group_of);
        }
        let mut free: Vec<u32> = (0..num_clients)
            .filter(|client| group_of[*client as usize].is_none())
            .collect();
        let key = StreamKey {
            seed,
            purpose: "client groups",
            name: "",
            round: 0,
            attempt: 0,
        };
        free.shuffle(&mut key.stream());
        let mut total = 0.0;
        let mut taken = 0;
        for (i, (name, group)) in groups.iter().enumerate() {
            let Some(share) = group.share else { continue };
            self.number(
                &format!("clients.{name}.share"),
                share,
                0.0..=1.0,
                "from 0 to 1",
            );
            total += share;
            // A share below 0, or NaN, was reported; it selects no client.
            let upto = ((total * f64::from(num_clients)).round() as usize).max(taken);
            if upto > free.len() {
                let key = format!("clients.{name}.share");
                let wrong =
                    format_args!("only {} clients are in no other group", free.len() - taken);
                self.problems
                    .report(&key, wrong, "give less, or name fewer clients elsewhere");
            }
            for client in &free[taken.min(free.len())..upto.min(free.len())] {
                group_of[*client as usize] = Some(i);
            }
            taken = upto.min(free.len());
        }
        self.rest(groups, &mut group_of);
        let of = |i| (0..num_clients).filter(move |c| group_of[*c as usize] == Some(i));
        (0..groups.len()).map(|i| of.clone()(i).collect()).collect()
    }

    fn name_members(
        &mut self,
        i: usize,
        name: &str,
        group: &ClientsTable,
        group_of: &mut [Option<usize>],
    ) {
        let Some(clients) = &group.clients else {
            return;
        };
        if group.share.is_some() {
            let wrong = "`clients` is given as well";
            let key = format!("clients.{name}.share");
            self.problems.report(&key, wrong, "keep one of them");
        }
        let key = format!("clients.{name}.clients");
        let fleet = group_of.len() as u32;
        self.check_clients(&key, clients, fleet);
        for client in clients.below(fleet) {
            let slot = &mut group_of[client as usize];
            if slot.is_some() {
                let wrong = format_args!("client {client} is in another group already");
                self.problems.report(&key, wrong, "name each client once");
                return;
            }
            *slot = Some(i);
        }
    }

    /// The group of all that are in no other.
    fn rest(&mut self, groups: &BTreeMap<String, ClientsTable>, group_of: &mut [Option<usize>]) {
        let whole = |(_, (_, group)): &(usize, (&String, &ClientsTable))| {
            group.clients.is_none() && group.share.is_none()
        };
        let mut rest = groups.iter().enumerate().filter(whole);
        let Some((i, (first, _))) = rest.next() else {
            return;
        };
        for slot in group_of.iter_mut().filter(|slot| slot.is_none()) {
            *slot = Some(i);
        }
        for (_, (name, _)) in rest {
            let path = format!("clients.{name}");
            let keys = [format!("{path}.clients"), format!("{path}.share")];
            if self.problems.readable(&[&keys[0], &keys[1]]) {
                let wrong = format_args!("clients.{first} already takes the remaining clients");
                self.problems
                    .report(&path, wrong, "give one of them `clients` or `share`");
            }
        }
    }

    fn profile(&mut self, path: &str, group: &ClientsTable) -> (Profile, Option<Traces>) {
        let default = Profile::default();
        let (availability, traces) = match &group.availability {
            Some(table) => self.availability(&format!("{path}.availability"), table),
            None => (Availability::Always, None),
        };
        let profile = Profile {
            speed: group.speed.unwrap_or(default.speed),
            bandwidth_up: group.bandwidth_up.map(|b| b.bytes_per_second()),
            bandwidth_down: group.bandwidth_down.map(|b| b.bytes_per_second()),
            latency: group
                .latency
                .map_or(default.latency, |latency| latency.get()),
            memory: group.memory.map(|memory| memory.get()),
            availability,
        };
        self.check(|errors| profile.check(path, errors));
        (profile, traces)
    }

    fn availability(
        &mut self,
        path: &str,
        table: &AvailabilityTable,
    ) -> (Availability, Option<Traces>) {
        let always = (Availability::Always, None);
        let Some(kind) = self.needed(path, "kind", "availability", table.kind) else {
            return always;
        };
        let (with, meant): (_, &[&str]) = match kind {
            AvailabilityKind::Always => ("kind = \"always\"", &[]),
            AvailabilityKind::Daily => ("kind = \"daily\"", &["from", "to", "day", "spread"]),
            AvailabilityKind::Markov => ("kind = \"markov\"", &["on", "off"]),
            AvailabilityKind::Trace => ("kind = \"trace\"", &["file"]),
        };
        self.only(path, with, &AVAILABILITY_KEYS, meant);
        match kind {
            AvailabilityKind::Always => always,
            AvailabilityKind::Daily => (self.daily(path, with, table), None),
            AvailabilityKind::Markov => {
                let mut mean = |key, value: Option<Seconds>| {
                    self.needed(path, key, with, value).map_or(1.0, |t| t.get())
                };
                let (mean_on, mean_off) = (mean("on", table.on), mean("off", table.off));
                (Availability::Markov { mean_on, mean_off }, None)
            }
            AvailabilityKind::Trace => {
                let file = self.needed(path, "file", with, table.file.as_deref());
                let key = format!("{path}.file");
                let traces = file.map(read_trace);
                match traces {
                    Some(Err(error)) => self.problems.report_error(&key, error),
                    Some(Ok(traces)) => return (Availability::Always, Some(traces)),
                    None => {}
                }
                always
            }
        }
    }

    fn daily(&mut self, path: &str, with: &str, table: &AvailabilityTable) -> Availability {
        let day = table.day.map_or(86_400.0, |day| day.get());
        let from = self.needed(path, "from", with, table.from);
        let to = self.needed(path, "to", with, table.to);
        Availability::Daily {
            from: from.map_or(0.0, |from| from.get()),
            to: to.map_or(day, |to| to.get()),
            day,
            spread: table.spread.map_or(0.0, |spread| spread.get()),
        }
    }
}

/// A line of a trace.
#[derive(Debug, Deserialize)]
struct TraceLine {
    client: u32,
    from: f64,
    to: f64,
}

/// Reads a CSV file of `client,from,to`, a client's intervals in order.
fn read_trace(path: &Path) -> Result<Traces, String> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(path)
        .map_err(|error| error.to_string())?;
    let mut traces = Traces::new();
    for (i, line) in reader.deserialize::<TraceLine>().enumerate() {
        // The first line is the header.
        let place = || format!("{}:{}", path.display(), i + 2);
        let TraceLine { client, from, to } = line.map_err(|e| format!("{}: {e}", place()))?;
        let intervals = traces.entry(client).or_default();
        let end = intervals.last().map_or(0.0, |last: &Interval| last.to);
        let interval = Interval { from, to };
        let wrong = |must| format!("{}: client {client}, from {from} to {to}: {must}", place());
        interval.check(end).map_err(wrong)?;
        intervals.push(interval);
    }
    Ok(traces)
}
