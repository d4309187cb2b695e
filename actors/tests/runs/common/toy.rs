//! A workload of plain numbers: clients move a vector towards their own points, the server
//! averages. It can be set to be slow at random, to fail, or to panic.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rand::RngExt;
use regatta_actors::plan::fault::Corruption;
use regatta_actors::prelude::*;
use regatta_actors::random::{Stream, StreamKey};
use serde::{Deserialize, Serialize};

use crate::common::wait_until;

pub const STEPS: u64 = 5;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Numbers(pub Vec<f64>);

impl Payload for Numbers {
    fn digest(&self) -> Digest {
        let bytes: Vec<u8> = self.0.iter().flat_map(|x| x.to_le_bytes()).collect();
        Digest::of(&bytes)
    }
}

/// What goes wrong, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trouble {
    #[default]
    None,
    /// The client's job of the round returns an error.
    JobFails(u32, u32),
    /// The client's job of the round panics.
    JobPanics(u32, u32),
    /// The client's job of the round runs out of memory, until the trainer is relieved.
    OutOfMemory(u32, u32),
    /// The client's job of the round finds its device lost.
    DeviceLost(u32, u32),
    /// The server finds its device lost when it aggregates.
    ServerDeviceLost,
    /// The lane has no trainer.
    NoTrainer(u32),
    /// Building the lane's trainer panics.
    TrainerPanics(u32),
    NoAggregator,
    AggregatePanics(u32),
    /// Only the first time.
    AggregatePanicsOnce(u32),
    /// The client's job of the round panics, and no trainer can be built after that.
    LaneDies(u32, u32),
    EvaluateFails(u32),
    FinishFails,
    /// The client's update of the round is refused.
    Refuse(u32, u32),
    /// Jobs last until they are cancelled.
    Endless,
    /// Those of this client and of all after it do.
    EndlessFrom(u32),
    /// The client's job of the round does not move until `released`.
    Hangs(u32, u32),
    /// The client misstates what it did, in every round.
    Lies(u32, Lie),
}

/// What a client says that is not so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Number of examples seen.
    Examples(u64),
    /// Number of steps taken.
    Steps(u64),
    /// A loss with these bits.
    Loss(u64),
}

impl Lie {
    /// A loss that is not so.
    pub fn loss(loss: f64) -> Self {
        Self::Loss(loss.to_bits())
    }
}

/// Clients that were trained together in a round.
pub type Group = (u32, Vec<u32>);

#[derive(Debug, Default)]
pub struct Toy {
    pub seed: u64,
    pub trouble: Trouble,
    /// Sleep up to this many microseconds per step, differently in each run.
    pub jitter: u64,
    /// Trainers and aggregators alive.
    pub alive: Arc<AtomicU32>,
    /// Panics that were to come once.
    pub panics: Arc<AtomicU32>,
    /// Ends a hanging job.
    pub released: Arc<AtomicU32>,
    /// Trainers built.
    pub built: Arc<AtomicU32>,
    /// How often an aggregator finished.
    pub finished: Arc<AtomicU32>,
    /// Lanes that clients were trained on, as (client, lane).
    pub places: Arc<Mutex<Vec<(ClientId, LaneId)>>>,
    /// The clients that were trained together, by round.
    pub groups: Arc<Mutex<Vec<Group>>>,
}

/// Counts something alive until it is dropped.
struct Alive(Arc<AtomicU32>);

impl Alive {
    fn new(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub struct ToyTrainer {
    lane: LaneId,
    toy: Toy,
    relieved: bool,
    _alive: Alive,
    /// Makes it stay on its thread, as a tensor library's handles would.
    _not_send: std::rc::Rc<()>,
}

pub struct ToyAggregator {
    toy: Toy,
    state: Arc<Numbers>,
    _alive: Alive,
    _not_send: std::rc::Rc<()>,
}

impl Toy {
    pub fn share(&self) -> Self {
        Self {
            seed: self.seed,
            trouble: self.trouble,
            jitter: self.jitter,
            alive: self.alive.clone(),
            built: self.built.clone(),
            panics: self.panics.clone(),
            released: self.released.clone(),
            finished: self.finished.clone(),
            places: self.places.clone(),
            groups: self.groups.clone(),
        }
    }
}

impl Toy {
    fn refuses(&self, update: &Contribution<Numbers>, round: u32) -> bool {
        self.trouble == Trouble::Refuse(update.client.0, round)
            || update.update.0.len() != 3
            || update.update.0.iter().any(|x| !x.is_finite())
    }
}

impl Workload for Toy {
    type State = Numbers;
    type Update = Numbers;
    type Trainer = ToyTrainer;

    fn trainer(&self, lane: LaneId) -> Result<ToyTrainer, BoxError> {
        match self.trouble {
            Trouble::NoTrainer(bad) if bad == lane.0 => return Err("no such device".into()),
            Trouble::TrainerPanics(bad) if bad == lane.0 => panic!("driver bug"),
            Trouble::LaneDies(..) if self.panics.load(Ordering::SeqCst) > 0 => {
                return Err("no such device any more".into());
            }
            _ => {}
        }
        self.built.fetch_add(1, Ordering::SeqCst);
        Ok(ToyTrainer {
            lane,
            toy: self.share(),
            relieved: false,
            _alive: Alive::new(&self.alive),
            _not_send: std::rc::Rc::default(),
        })
    }

    fn corrupt(
        &self,
        update: &mut Numbers,
        start: &Numbers,
        corruption: Corruption,
        stream: &mut Stream,
    ) -> Result<(), BoxError> {
        match corruption {
            Corruption::Nan => update.0[0] = f64::NAN,
            Corruption::WrongShape => update.0.push(0.0),
            Corruption::Noise { scale } => update
                .0
                .iter_mut()
                .for_each(|x| *x += scale * stream.random::<f64>()),
            Corruption::SignFlip => {
                let pairs = update.0.iter_mut().zip(&start.0);
                pairs.for_each(|(x, start)| *x = 2.0 * start - *x);
            }
            _ => return Err("no such corruption".into()),
        }
        Ok(())
    }
}

impl ServerWorkload for Toy {
    type Aggregator = ToyAggregator;

    fn aggregator(&self) -> Result<ToyAggregator, BoxError> {
        if self.trouble == Trouble::NoAggregator {
            return Err("no model".into());
        }
        Ok(ToyAggregator {
            toy: self.share(),
            state: Arc::new(Numbers(vec![0.0; 3])),
            _alive: Alive::new(&self.alive),
            _not_send: std::rc::Rc::default(),
        })
    }
}

fn device_lost() -> DeviceLost {
    DeviceLost("illegal memory access".into())
}

impl ClientTrainer<Toy> for ToyTrainer {
    fn train(
        &mut self,
        task: &TrainTask<Numbers>,
        context: &mut dyn JobContext,
    ) -> Result<Trained<Numbers>, JobError> {
        self.toy
            .places
            .lock()
            .unwrap()
            .push((task.client, self.lane));
        let here = (task.client.0, task.round);
        match self.toy.trouble {
            Trouble::JobFails(c, r) if (c, r) == here => {
                return Err(JobError::Failed("bad shard".into()));
            }
            Trouble::JobPanics(c, r) if (c, r) == here => panic!("index out of range"),
            Trouble::Hangs(c, r) if (c, r) == here => {
                wait_until("it is released", || {
                    self.toy.released.load(Ordering::SeqCst) > 0
                });
            }
            Trouble::LaneDies(c, r) if (c, r) == here => {
                self.toy.panics.fetch_add(1, Ordering::SeqCst);
                panic!("device lost");
            }
            Trouble::DeviceLost(c, r) if (c, r) == here => {
                return Err(JobError::DeviceLost(device_lost()));
            }
            Trouble::OutOfMemory(c, r) if (c, r) == here && !self.relieved => {
                return Err(JobError::OutOfMemory("1 GiB wanted".into()));
            }
            _ => {}
        }
        let mut stream = StreamKey {
            seed: self.toy.seed,
            purpose: "shuffle",
            name: &task.client_name,
            round: task.round,
            attempt: task.attempt,
        }
        .stream();
        let mut state = task.state.0.clone();
        let mut loss = 0.0;
        let steps = match self.toy.trouble {
            Trouble::Endless => u64::MAX,
            Trouble::EndlessFrom(first) if task.client.0 >= first => u64::MAX,
            _ => STEPS,
        };
        for step in 1..=steps {
            self.dawdle();
            let aim = f64::from(task.client.0) + stream.random::<f64>() - 0.5;
            loss = state.iter().map(|x| (x - aim) * (x - aim)).sum::<f64>() / 3.0;
            state.iter_mut().for_each(|x| *x += 0.3 * (aim - *x));
            let progress = Progress {
                steps_done: step,
                steps_total: steps,
                examples: step,
                loss: Some(loss),
            };
            if let ControlFlow::Break(()) = context.step(progress) {
                return Err(JobError::Cancelled);
            }
        }
        let mut trained = Trained {
            update: Numbers(state),
            loss,
            examples: STEPS,
            steps: STEPS,
        };
        if let Trouble::Lies(c, lie) = self.toy.trouble
            && c == task.client.0
        {
            match lie {
                Lie::Examples(examples) => trained.examples = examples,
                Lie::Steps(steps) => trained.steps = steps,
                Lie::Loss(bits) => trained.loss = f64::from_bits(bits),
            }
        }
        Ok(trained)
    }

    /// What comes of it shows who was in the group, as last bits do where products are computed for
    /// all.
    fn train_together(
        &mut self,
        tasks: &[TrainTask<Numbers>],
        contexts: &mut [&mut dyn JobContext],
    ) -> Result<Vec<TrainResult<Numbers>>, JobError> {
        let clients: Vec<u32> = tasks.iter().map(|task| task.client.0).collect();
        let sign: f64 = clients.iter().map(|client| f64::from(*client).exp()).sum();
        let round = tasks[0].round;
        self.toy.groups.lock().unwrap().push((round, clients));
        let mut results = Vec::new();
        for (task, context) in tasks.iter().zip(contexts) {
            results.push(match self.train(task, *context) {
                Ok(mut trained) => {
                    trained.update.0[0] += 1e-3 * sign;
                    Ok(trained)
                }
                Err(JobError::Cancelled) => Err(JobError::Cancelled),
                Err(error) => return Err(error),
            });
        }
        Ok(results)
    }

    fn relieve_memory(&mut self) {
        self.relieved = true;
    }
}

impl ToyTrainer {
    fn dawdle(&self) {
        if self.toy.jitter > 0 {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let noise = u64::from(now.unwrap().subsec_nanos()) / 100;
            std::thread::sleep(Duration::from_micros(noise % self.toy.jitter));
        }
    }
}

impl ServerAggregator<Toy> for ToyAggregator {
    fn state(&self) -> Arc<Numbers> {
        self.state.clone()
    }

    fn download_bytes(&self, holds_round: Option<u32>) -> u64 {
        if holds_round.is_none() { 1000 } else { 24 }
    }

    fn upload_bytes(&self, update: &Numbers) -> u64 {
        update.0.len() as u64 * 8
    }

    fn aggregate(
        &mut self,
        round: u32,
        updates: Vec<Contribution<Numbers>>,
    ) -> Result<Aggregation, BoxError> {
        assert!(
            updates.windows(2).all(|u| u[0].client < u[1].client),
            "not in client order, or one client twice"
        );
        match self.toy.trouble {
            Trouble::ServerDeviceLost => return Err(device_lost().into()),
            Trouble::AggregatePanics(r) if r == round => panic!("shapes differ"),
            Trouble::AggregatePanicsOnce(r)
                if r == round && self.toy.panics.fetch_add(1, Ordering::SeqCst) == 0 =>
            {
                panic!("cosmic ray")
            }
            _ => {}
        }
        let (refused, taken): (Vec<_>, Vec<_>) = updates
            .into_iter()
            .partition(|u| self.toy.refuses(u, round));
        let total: f64 = taken.iter().map(|u| u.weight * u.examples as f64).sum();
        let shares = taken.iter().map(|u| u.weight * u.examples as f64 / total);
        let sum: f64 = shares.clone().sum();
        let mut mean = vec![0.0; 3];
        for (u, share) in taken.iter().zip(shares) {
            for (m, x) in mean.iter_mut().zip(&u.update.0) {
                *m += share * x;
            }
        }
        if !taken.is_empty() {
            assert!((sum - 1.0).abs() < 1e-12, "the weights sum to {sum}");
            self.state = Arc::new(Numbers(mean));
        }
        let refuse = |u: Contribution<Numbers>| Refusal {
            client: u.client,
            reason: "not finite".into(),
        };
        Ok(Aggregation {
            exactness_error: Some(0.0),
            measures: [("mean".to_owned(), self.state.0[0])].into(),
            state_digest: self.state.digest(),
            refused: refused.into_iter().map(refuse).collect(),
        })
    }

    fn evaluate(&mut self, round: u32) -> Result<Scores, BoxError> {
        if self.toy.trouble == Trouble::EvaluateFails(round) {
            return Err("no validation data".into());
        }
        Ok(Scores::from([("mean".into(), self.state.0[0])]))
    }

    fn finish(&mut self, predicted: &(dyn Fn(u64, u64) + Sync)) -> Result<(), BoxError> {
        predicted(1, 1);
        if self.toy.trouble == Trouble::FinishFails {
            return Err("disk full".into());
        }
        self.toy.finished.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn checkpoint(&self) -> Result<Vec<u8>, BoxError> {
        Ok(self.state.0.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), BoxError> {
        let numbers = state
            .chunks(8)
            .map(|b| Ok(f64::from_le_bytes(b.try_into()?)));
        let numbers: Result<_, BoxError> = numbers.collect();
        self.state = Arc::new(Numbers(numbers?));
        Ok(())
    }
}
