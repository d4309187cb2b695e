//! Runs of the program on the small model, and models made of what they leave behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use regatta::adapter::Adapter;
use regatta::adapter::peft::import::PeftFolder;
use regatta::base::machine::Host;
use regatta::config::load;
use regatta::config::plan::Plan;
use regatta::config::settings::Settings;
use regatta::data::encoded::EncodedSplit;
use regatta::data::tokenize::TextEncoder;
use regatta::model::architecture::{Architecture, Model};
use regatta::model::linear_layer::LinearLayer;
use regatta::model::objective::Objective;
use regatta::model::source::checkpoint::Checkpoint;
use regatta::model::weights::{View, Weights};
use regatta::tasks::glue::source::load as load_data;
use regatta::train::evaluate::{Predictions, predict};
use regatta::train::precision::Compute;
use regatta::train::replica::{Replica, RoundModel};
use regatta::train::settings::Precision;
use tch::Device;
use tempfile::TempDir;

use crate::tiny::{write_model, write_rte};

/// Outputs of the head: RTE has two classes.
pub const LABELS: i64 = 2;

/// Runs that between them have every kind of adapter, every place that training leaves traces in,
/// and both architectures: name, architecture, flags.
pub const RUNS: [(&str, &str, &str); 6] = [
    ("ours", "roberta", "--agg_type fedex --bias all"),
    (
        "rslora",
        "bert",
        "--agg_type fedit --rslora --target_modules dense,query --bias lora_only",
    ),
    (
        "rsvera",
        "roberta",
        "--agg_type fedex_vera --rsvera --lora_alpha 5 --r 6 --save_projection=false",
    ),
    (
        "vera",
        "bert",
        "--vera --agg_type fedit --r 6 --layers_to_transform 1 --modules_to_save pooler --bias lora_only",
    ),
    (
        "sorf",
        "bert",
        "--agg_type sorf_vera_exact --r 6 --target_modules query,intermediate.dense,output.dense",
    ),
    ("flora", "roberta", "--agg_type flora --ranks 2,4 --rslora"),
];

/// A folder with a model, a task, and runs of the program in it.
pub struct Place(TempDir);

impl Place {
    /// The model is `model`, RTE lies in `data`.
    pub fn new(family: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_model(&folder.path().join("model"), family);
        write_rte(&folder.path().join("data/RTE"));
        Self(folder)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What the program does with a command line.
    pub fn regatta(&self, line: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_regatta"))
            .current_dir(self.0.path())
            .env_remove("REGATTA_DATA")
            .env_remove("RUST_LOG")
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("XDG_STATE_HOME", self.path("state"))
            .args(line.split_whitespace())
            .output()
            .unwrap()
    }

    /// Runs a command line that is accepted.
    pub fn accepts(&self, line: &str) -> String {
        let output = self.regatta(line);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "regatta {line}\n{errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command line that is refused as bad input, and gives what it says.
    pub fn refuses(&self, line: &str) -> String {
        let output = self.regatta(line);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "regatta {line}\n{errors}");
        errors
    }

    /// Trains two clients for two rounds, at a rate that moves everything visibly, into `run`.
    pub fn train(&self, flags: &str) {
        self.accepts(&format!(
            "{} --rounds 2 --lr 0.05 --out run {flags}",
            self.run()
        ));
    }

    /// The beginning of a run's command line.
    pub fn run(&self) -> &'static str {
        "run --model model --data data --task rte --num_clients 2 --local_epochs 2 --batch_size 3 \
         --max_seq_length 30 --cpu --quiet --metrics off"
    }

    /// The loss on validation that the run reports for its last round.
    pub fn reported_loss(&self, run: &str) -> f64 {
        let text = std::fs::read_to_string(self.path(run).join("summary.json")).unwrap();
        let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
        summary["eval"]["loss"].as_f64().unwrap()
    }

    /// What a model says of the validation split.
    pub fn predict(&self, model: impl Fn() -> Box<dyn Model> + Sync) -> Predictions {
        let compute = Compute::of(Precision::Float32, Device::Cpu);
        predict(|| Ok(model()), &self.validation(), 64, 1, compute).unwrap()
    }

    /// The validation split.
    pub fn validation(&self) -> EncodedSplit {
        let data = load_data("rte".parse().unwrap(), &self.path("data")).unwrap();
        let encoder = TextEncoder::from_model_dir(&self.path("model"), 30).unwrap();
        encoder.encode(&data.validation[0]).unwrap()
    }

    /// Trains with these flags; what is then exported, as an adapter and as a whole model, must have
    /// the loss that the run reports.
    pub fn check_exports(&self, name: &str, flags: &str) {
        self.train(flags);
        self.accepts("export run --out adapter-out");
        self.accepts("export run --merge --out whole");
        let reported = self.reported_loss("run");
        let adapted = self.predict(|| self.adapted(&self.path("adapter-out")));
        let merged = self.predict(|| whole(&self.path("whole")));
        let close = |loss: f64| (loss - reported).abs() < 1e-5 * reported;
        assert!(close(adapted.loss), "{name}: {} {reported}", adapted.loss);
        assert!(close(merged.loss), "{name}: {} {reported}", merged.loss);
        let error = relative_error(&merged.logits, &adapted.logits);
        assert!(error < 1e-5, "{name}: logits of the merged model {error:e}");
    }

    /// The base model with an exported adapter, as somebody would load it who knows nothing of the
    /// run: what the base lacks is drawn at random.
    pub fn adapted(&self, folder: &Path) -> Box<dyn Model> {
        let checkpoint = Checkpoint::read(&self.path("model"), &objective(), 999).unwrap();
        adapted(
            &checkpoint,
            &PeftFolder::read(folder).unwrap(),
            &objective(),
        )
    }
}

/// Two classes.
pub fn objective() -> Objective {
    Objective::classes(LABELS as usize)
}

/// The layers that a folder adapts, and its adapter on them.
pub fn adapter_of(
    peft: &PeftFolder,
    model: &dyn Architecture,
) -> (Vec<LinearLayer>, Arc<dyn Adapter>) {
    let mut plan = plan(&Settings::default()).adapter;
    let fit = peft.fit(model).unwrap();
    fit.apply_to(&mut plan, &peft.config, model);
    let adapter = plan.build(&fit.layers).unwrap();
    (fit.layers, adapter)
}

/// The command line that starts from an adapter at a rate too small to move anything.
pub fn go_on(place: &Place, folder: &str, flags: &str) -> String {
    let run = place.run();
    format!("{run} --rounds 1 --lr 1e-12 --init_adapter {folder} --out again {flags}")
}

pub fn plan(settings: &Settings) -> Plan {
    load(None, settings, &Host::detect()).unwrap().into_plan()
}

/// A model with what a folder holds: base delta, adapter, and what was trained in full.
pub fn adapted(
    checkpoint: &Checkpoint,
    peft: &PeftFolder,
    objective: &Objective,
) -> Box<dyn Model> {
    let (mut checkpoint, mut peft) = (checkpoint.clone(), peft.clone());
    peft.match_output(&mut checkpoint);
    let (layers, adapter) = adapter_of(&peft, &*checkpoint.architecture);
    let mut base = Weights::from_map(&checkpoint.base, Device::Cpu).unwrap();
    for (name, delta) in peft.base_delta.iter() {
        let weight = base.get(name).unwrap() + delta.to_tensor(Device::Cpu).unwrap();
        base.tensors.insert(name.to_owned(), weight);
    }
    let shared = RoundModel::new(base, &peft.tensors, &*adapter, &layers, Device::Cpu).unwrap();
    let own = shared.state.clone();
    let architecture = &*checkpoint.architecture;
    Replica::new(&shared, architecture, objective, &layers, own, |_| false)
        .unwrap()
        .model
}

/// A whole classifier from its folder, which must lack nothing.
pub fn whole(folder: &Path) -> Box<dyn Model> {
    whole_for(&objective(), folder)
}

/// A whole model from its folder, which must lack nothing.
pub fn whole_for(objective: &Objective, folder: &Path) -> Box<dyn Model> {
    let checkpoint = Checkpoint::read(folder, objective, 999).unwrap();
    assert_eq!(
        checkpoint.fresh,
        Vec::<String>::new(),
        "tensors drawn at random"
    );
    let mut all = checkpoint.base.clone();
    all.0.extend(checkpoint.head.clone().0);
    let weights = Weights::from_map(&all, Device::Cpu).unwrap();
    checkpoint
        .architecture
        .build(&View::new(&weights), objective)
        .unwrap()
}

/// ‖got − want‖ / ‖want‖.
pub fn relative_error(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let pairs = got.iter().zip(want);
    let gap = norm(&mut pairs.map(|(a, b)| f64::from(*a) - f64::from(*b)));
    gap / norm(&mut want.iter().map(|x| f64::from(*x)))
}
