//! How much the machinery costs, and whether it grows: many rounds of a learner that does nothing.
//!
//! `cargo run --release -p regatta-actors --example endurance -- [CLIENTS [ROUNDS [LANES]]]`
//! prints the wall time per client and round, and the resident memory, ten times on its way.
//! Without arguments: 100 clients, 1,000 rounds, 2 lanes.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use regatta_actors::event::{Event, Observer};
use regatta_actors::learner::*;
use regatta_actors::plan::{ClientPlan, FederationPlan};
use regatta_actors::{control, run};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Nothing;

impl Payload for Nothing {
    fn digest(&self) -> Digest {
        Digest(String::new())
    }
}

impl Learner for Nothing {
    type Global = Nothing;
    type Update = Nothing;
    type Trainer = Nothing;
    type Folder = Nothing;

    fn trainer(&self, _: LaneId) -> Result<Nothing, BoxError> {
        Ok(Nothing)
    }

    fn folder(&self) -> Result<Nothing, BoxError> {
        Ok(Nothing)
    }
}

impl Trainer for Nothing {
    type Global = Nothing;
    type Update = Nothing;

    fn train(&mut self, _: &TrainTask<Nothing>, _: &mut dyn Watch) -> TrainResult<Nothing> {
        Ok(Trained::new(Nothing, 0.0, 1, 1))
    }
}

impl Folder for Nothing {
    type Global = Nothing;
    type Update = Nothing;

    fn global(&self) -> Arc<Nothing> {
        Arc::new(Nothing)
    }

    fn aggregate(&mut self, _: u32, _: Vec<Contribution<Nothing>>) -> FoldResult {
        Ok(Aggregation::of(self))
    }
}

/// Prints a line after every tenth of the rounds.
struct Meter {
    clients: u32,
    every: u32,
    since: Instant,
}

impl Observer for Meter {
    fn on_event(&mut self, event: &Event) {
        let Event::RoundFinished(record) = event else {
            return;
        };
        if !record.round.is_multiple_of(self.every) {
            return;
        }
        let jobs = f64::from(self.clients) * f64::from(self.every);
        let micros = self.since.elapsed().as_secs_f64() * 1e6 / jobs;
        let memory = resident_kib().map_or("unknown".into(), |kib| format!("{kib} KiB"));
        println!(
            "round {:>7}: {micros:>6.1} µs per client and round, resident {memory}",
            record.round
        );
        self.since = Instant::now();
    }
}

/// The process's resident memory, where the system tells it.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").trim().parse().ok()
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u32>());
    let mut next = |default| numbers.next().unwrap_or(Ok(default));
    let (clients, rounds, lanes) = (next(100)?, next(1000)?, next(2)?);
    let fleet = (0..clients).map(|i| ClientPlan::new(format!("client-{i}"), 1));
    let plan = FederationPlan {
        rounds,
        lanes,
        eval_every: 0,
        ..FederationPlan::new("endurance", 1, fleet.collect())
    };
    let meter = Meter {
        clients,
        every: (rounds / 10).max(1),
        since: Instant::now(),
    };
    run(plan, Arc::new(Nothing), vec![Box::new(meter)], control().1)?;
    Ok(())
}
