//! Federated linear regression, y = a + b·x: four clients, of which one is slow and one drops out.
use std::sync::Arc;

use regatta_actors::Run;
use regatta_actors::plan::fault::Fault;
use regatta_actors::plan::{ClientPlan, FederationPlan};
use regatta_actors::prelude::*;
use regatta_actors::protocol::event::Event;

/// What travels: the line down, and up by how much it should change.
#[derive(Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
struct Line(f64, f64);

impl Payload for Line {}

/// The workload, its clients and its server in one.
struct Regression(Line);

impl Workload for Regression {
    type State = Line;
    type Update = Line;
    type Trainer = Regression;
    fn trainer(&self, _: LaneId) -> Result<Regression, BoxError> {
        Ok(Regression(Line::default()))
    }
}

impl ClientTrainer<Regression> for Regression {
    /// Client i has points around x = i, on the line y = 2 + 3x.
    fn train(&mut self, job: &TrainTask<Line>, context: &mut dyn JobContext) -> TrainResult<Line> {
        let (mut by, mut loss) = (Line::default(), 0.0);
        for step in 1..=20 {
            let x = f64::from(job.client.0) + (step % 4) as f64 / 4.0;
            let error = job.state.0 + by.0 + (job.state.1 + by.1) * x - (2.0 + 3.0 * x);
            by = Line(by.0 - 0.1 * error, by.1 - 0.1 * error * x);
            loss = error * error;
            context.report(Progress::new(step, 20, step, loss))?;
        }
        Ok(Trained::new(by, loss, 20, 20))
    }
}

impl ServerWorkload for Regression {
    type Aggregator = Regression;

    fn aggregator(&self) -> Result<Regression, BoxError> {
        Ok(Regression(Line::default()))
    }
}

impl ServerAggregator<Regression> for Regression {
    fn state(&self) -> Arc<Line> {
        Arc::new(self.0)
    }
    fn aggregate(&mut self, _: u32, updates: Vec<Contribution<Line>>) -> AggregateResult {
        for by in updates.iter().map(|update| update.update) {
            self.0.0 += by.0 / updates.len() as f64;
            self.0.1 += by.1 / updates.len() as f64;
        }
        Ok(Aggregation::of(&self.0))
    }
}

fn main() -> Result<(), BoxError> {
    let clients = (0..4).map(|i| ClientPlan::new(format!("client-{i}"), 20));
    let mut plan = FederationPlan::new("regression", 42, clients.collect());
    plan.rounds = 12;
    plan.faults.push(Fault::straggle(3.0).on([2]));
    plan.faults.push(Fault::drop(0.5).on([3]).in_rounds(4, 7));
    let tell = |event: &Event| match event {
        Event::ClientDropped { client, .. } => println!("client {client} drops out"),
        Event::RoundFinished(r) => println!("{:.1} s: {:?}", r.virtual_seconds, r.train_loss),
        _ => {}
    };
    Run::new(plan, Arc::new(Regression(Line::default())))
        .observed_by(vec![Box::new(tell)])
        .start()?;
    Ok(())
}
