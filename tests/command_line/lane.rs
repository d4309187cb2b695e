//! A lane's worker by itself.

use std::ops::ControlFlow;
use std::sync::Arc;

use regatta::base::machine::Host;
use regatta::config::load;
use regatta::config::settings::Settings;
use regatta::experiment::base_weights::BaseWeightCache;
use regatta::experiment::client::LaneTrainer;
use regatta::experiment::inputs::RunInputs;
use regatta::experiment::payload::{ClientUpdate, Snapshot};
use regatta::experiment::prepared::Experiment;
use regatta_actors::ids::ClientId;
use regatta_actors::workload::ClientTrainer;
use regatta_actors::workload::job::{JobContext, JobError, Progress, TrainTask, Trained};
use regatta_actors::workload::update::Payload;

use crate::workplace::Workplace;

struct Patient;

impl JobContext for Patient {
    fn step(&mut self, _: Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

fn experiment(place: &Workplace, scenario: &str) -> Arc<Experiment> {
    place.write("lane.toml", scenario);
    let path = |name: &str| Some(place.path().join(name).display().to_string());
    let settings = Settings {
        task: Some("rte".into()),
        data: path("data/glue"),
        model: path("models/tiny"),
        num_clients: Some(2),
        batch_size: Some(4),
        model_dropout: Some(0.0),
        lora_dropout: Some(0.0),
        // Whose numbers the tolerances are for.
        cpu: Some(true),
        ..Settings::default()
    };
    let scenario = place.path().join("lane.toml");
    let plan = load(Some(&scenario), &settings, &Host::detect()).unwrap();
    let inputs = RunInputs::load(&plan).unwrap();
    Arc::new(Experiment::prepare(plan, inputs).unwrap())
}

fn trainer(experiment: &Arc<Experiment>) -> LaneTrainer {
    let bases = Arc::new(BaseWeightCache::new(Arc::clone(experiment)));
    let lane = experiment.plan.devices.lanes[0];
    LaneTrainer::new(Arc::clone(experiment), bases, lane).unwrap()
}

fn task(experiment: &Experiment) -> TrainTask<Snapshot> {
    TrainTask {
        client: ClientId(0),
        client_name: "client-0".into(),
        round: 1,
        attempt: 0,
        state: Arc::new(Snapshot::of(&experiment.initial, 0)),
    }
}

#[test]
fn the_canary_of_clients_that_are_trained_together_also_has_a_pass_over_their_batches() {
    let place = Workplace::new();
    let canary = |scenario: &str| {
        let experiment = experiment(&place, scenario);
        let [first, again] = [(); 2].map(|()| trainer(&experiment).canary().unwrap());
        assert_eq!(first, again);
        first
    };
    assert_ne!(canary(""), canary("clients_per_step = 2"));
}

#[test]
fn after_a_want_of_memory_all_jobs_have_smaller_batches_and_learn_the_same() {
    let place = Workplace::new();
    let experiment = experiment(&place, "");
    let (mut trainer, task) = (trainer(&experiment), task(&experiment));
    let mut train = |relieved: bool| -> Trained<ClientUpdate> {
        if relieved {
            trainer.relieve_memory();
        }
        trainer.train(&task, &mut Patient).unwrap()
    };
    let (whole, halved, again) = (train(false), train(true), train(false));
    assert_eq!(halved.update.digest(), again.update.digest());
    assert_ne!(whole.update.digest(), halved.update.digest());
    assert_eq!(
        (whole.steps, whole.examples),
        (halved.steps, halved.examples)
    );
    assert!((whole.loss - halved.loss).abs() < 1e-5);
    for (name, tensor) in whole.update.0.iter() {
        let other = halved.update.0.get(name).unwrap();
        let pairs = tensor.values().iter().zip(other.values());
        // AdamW's first steps are as long as the learning rate wherever the gradient points, so
        // rounding shows where it is almost 0.
        let far = pairs.filter(|(a, b)| (*a - *b).abs() > 1e-4).count();
        assert!(far * 20 <= tensor.values().len(), "{name}: {far} differ");
    }
}

/// A lane that is out of memory computes all later batches in more parts, which may change last bits: it
/// must not take the memory that a scenario gives a client for its own.
#[test]
fn a_client_without_room_for_an_example_fails_and_its_lane_is_not_out_of_memory() {
    let place = Workplace::new();
    let experiment = experiment(&place, "[clients.small]\nmemory = \"1 KiB\"\n");
    let trained = trainer(&experiment).train(&task(&experiment), &mut Patient);
    let error = trained.err().unwrap();
    assert!(matches!(error, JobError::Failed(_)), "{error:?}");
    assert!(error.to_string().contains("one example takes"), "{error}");
}
