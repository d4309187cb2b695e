//! How much the machinery costs, and whether it grows: many rounds of a workload that learns
//! nothing.
//!
//! `cargo run --release -p regatta-actors --example endurance -- [CLIENTS [ROUNDS [LANES [BYTES [CLIENT]]]]]`
//! prints the wall time per client and round, and the resident memory, ten times on its way.
//! Without arguments: 100 clients, 1,000 rounds, 2 lanes, and 0 bytes that travel. CLIENT is
//! `same`, which returns what it received, or `own` (the default), which writes its own update,
//! digested like any other. The server aggregates all updates.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Instant;

use regatta_actors::Run;
use regatta_actors::observe::Observer;
use regatta_actors::plan::{ClientPlan, FederationPlan};
use regatta_actors::prelude::*;
use regatta_actors::protocol::event::Event;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What travels, both ways; by reference, and digested once.
#[derive(Debug, Clone, Default)]
struct Values(Arc<(Vec<f32>, OnceLock<Digest>)>);

impl Values {
    fn new(values: Vec<f32>) -> Self {
        Self(Arc::new((values, OnceLock::new())))
    }

    fn get(&self) -> &[f32] {
        &self.0.0
    }

    /// The memory, where nobody else has it.
    fn into_memory(self) -> Option<Vec<f32>> {
        Arc::into_inner(self.0).map(|(values, _)| values)
    }
}

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.get().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::new)
    }
}

impl Payload for Values {
    fn digest(&self) -> Digest {
        let (values, digest) = &*self.0;
        digest
            .get_or_init(|| Digest::of(bytemuck::cast_slice(values)))
            .clone()
    }
}

/// Clients send back what they got, and the server takes the mean.
#[derive(Clone)]
struct Echo {
    state: Arc<Values>,
    /// Whether a client writes its own update.
    writes: bool,
    /// The server's.
    threads: usize,
    /// Memory of aggregated updates, for the next ones.
    spare: Arc<Mutex<Vec<Vec<f32>>>>,
}

impl Echo {
    fn spare(&self) -> MutexGuard<'_, Vec<Vec<f32>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Workload for Echo {
    type State = Values;
    type Update = Values;
    type Trainer = Echo;

    fn trainer(&self, _: LaneId) -> Result<Echo, BoxError> {
        Ok(self.clone())
    }
}

impl ServerWorkload for Echo {
    type Aggregator = Echo;

    fn aggregator(&self) -> Result<Echo, BoxError> {
        Ok(self.clone())
    }
}

impl ClientTrainer<Echo> for Echo {
    fn train(&mut self, task: &TrainTask<Values>, _: &mut dyn JobContext) -> TrainResult<Values> {
        let update = if self.writes {
            let mut own = self.spare().pop().unwrap_or_default();
            own.clear();
            own.extend_from_slice(task.state.get());
            Values::new(own)
        } else {
            Values::clone(&task.state)
        };
        Ok(Trained::new(update, 0.0, 1, 1))
    }
}

/// Values that are summed at a time: few enough to stay in the fastest cache.
const BLOCK: usize = 4096;

/// The mean of the updates, from the value `from` on as far as `mean` goes.
fn average(mean: &mut [f32], from: usize, updates: &[Contribution<Values>]) {
    let share = 1.0 / updates.len() as f32;
    for (i, block) in mean.chunks_mut(BLOCK).enumerate() {
        for Contribution { update, .. } in updates {
            let values = &update.get()[from + i * BLOCK..];
            let pairs = block.iter_mut().zip(values);
            pairs.for_each(|(sum, value)| *sum += share * value);
        }
    }
}

impl ServerAggregator<Echo> for Echo {
    fn state(&self) -> Arc<Values> {
        self.state.clone()
    }

    fn aggregate(&mut self, _: u32, updates: Vec<Contribution<Values>>) -> AggregateResult {
        let mut mean = vec![0.0; self.state.get().len()];
        let each = mean.len().div_ceil(self.threads).max(1);
        thread::scope(|scope| {
            for (i, part) in mean.chunks_mut(each).enumerate() {
                let updates = &updates;
                scope.spawn(move || average(part, i * each, updates));
            }
        });
        let memory = updates.into_iter().map(|taken| taken.update.into_memory());
        self.spare().extend(memory.flatten());
        self.state = Arc::new(Values::new(mean));
        Ok(Aggregation::of(&*self.state))
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
    let mut arguments = std::env::args().skip(1);
    let mut next = |default| {
        arguments
            .next()
            .map_or(Ok(default), |text| text.parse::<u32>())
    };
    let (clients, rounds, lanes, bytes) = (next(100)?, next(1000)?, next(2)?, next(0)?);
    let writes = match arguments.next().as_deref() {
        None | Some("own") => true,
        Some("same") => false,
        Some(other) => return Err(format!("a client is `own` or `same`, not `{other}`").into()),
    };
    let workload = Echo {
        state: Arc::new(Values::new(vec![0.5; bytes as usize / size_of::<f32>()])),
        writes,
        threads: lanes.max(1) as usize,
        spare: Arc::default(),
    };
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
    Run::new(plan, Arc::new(workload))
        .observed_by(vec![Box::new(meter)])
        .start()?;
    Ok(())
}
