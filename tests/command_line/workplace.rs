//! A folder with a small model and a small task, in which the program runs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use regatta_actors::protocol::round_record::RoundRecord;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

/// Such a folder. The model is `models/tiny`, the task RTE in `data/glue`.
pub struct Workplace(TempDir);

impl Workplace {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_model(&folder.path().join("models/tiny"));
        write_rte(&folder.path().join("data/glue/RTE"));
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    /// Waits until there is such a file.
    pub fn wait_for(&self, name: &str) {
        let path = self.path().join(name);
        for _ in 0..6000 {
            if path.exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("there is no {name}, and none comes");
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// The records of a run's rounds.
    pub fn rounds(&self, folder: &str) -> Vec<RoundRecord> {
        let text = self.read(&format!("{folder}/rounds.jsonl"));
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The program with these arguments, run from the folder with nothing of the user's own.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regatta"));
        command
            .current_dir(self.path())
            .env_remove("REGATTA_DATA")
            .env_remove("RUST_LOG")
            .env_remove("REGATTA_CONTROL_TOKEN")
            .env("XDG_CACHE_HOME", self.path().join("cache"))
            .env("XDG_STATE_HOME", self.path().join("state"))
            .args(line.split_whitespace());
        command
    }

    pub fn regatta(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// The errors of a command that is refused.
    pub fn errors(&self, line: &str) -> Vec<String> {
        let output = self.regatta(line);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        text.lines()
            .filter(|line| line.starts_with("error: "))
            .map(str::to_owned)
            .collect()
    }

    /// What a command prints that is not refused.
    pub fn accepts(&self, line: &str) -> String {
        let output = self.regatta(line);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// A run in the background that listens for commands.
pub struct Steered {
    pub running: Running,
    pub lines: Box<dyn Iterator<Item = String>>,
    /// The address that it listens on.
    pub address: String,
}

impl Steered {
    /// Starts a run and waits until it is at work.
    pub fn start(place: &Workplace, line: &str) -> Self {
        Self::of(place.command(line))
    }

    /// The same with a separate command.
    pub fn of(mut command: Command) -> Self {
        command.args(["--control", "127.0.0.1:0"]);
        let (running, mut lines) = Running::of(command);
        let said = lines.find(|line| line.starts_with("control at ")).unwrap();
        let address = said.split_whitespace().nth(2).unwrap();
        let address = address.trim_end_matches(':').to_owned();
        lines.find(|line| line.starts_with("round ")).unwrap();
        let lines = Box::new(lines);
        Self {
            running,
            lines,
            address,
        }
    }

    /// The command line that sends a command.
    pub fn line(&self, what: &str) -> String {
        format!("ctl --control {} {what}", self.address)
    }

    /// Waits until the run stands still; the last round that it did.
    pub fn pause(&mut self, place: &Workplace) -> u32 {
        place.accepts(&self.line("pause"));
        let paused = |line: String| line.strip_prefix("paused after round ")?.parse().ok();
        self.lines.find_map(paused).unwrap()
    }
}

/// A run in the background, ended with the test.
pub struct Running(Option<Child>);

impl Running {
    pub fn start(place: &Workplace, line: &str) -> (Self, impl Iterator<Item = String> + use<>) {
        Self::of(place.command(line))
    }

    /// The same with a separate command.
    pub fn of(mut command: Command) -> (Self, impl Iterator<Item = String> + use<>) {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        (Self(Some(child)), lines)
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    /// Sends a signal, as `-INT`.
    pub fn signal(&self, signal: &str) {
        let id = self.id().to_string();
        // A run that is over takes no signal.
        Command::new("kill").args([signal, &id]).status().unwrap();
    }

    pub fn wait(mut self) -> ExitStatus {
        self.0.take().unwrap().wait().unwrap()
    }

    /// Kills it at once.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // It has ended already where the test came to its end.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The reference model of two layers, with positions for 128 tokens and a tokenizer.
pub fn write_model(folder: &Path) {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/model/roberta-2");
    fs::create_dir_all(folder).unwrap();
    let config = fs::read_to_string(reference.join("config.json")).unwrap();
    let longer = config.replace(
        r#""max_position_embeddings": 66"#,
        r#""max_position_embeddings": 130"#,
    );
    assert_ne!(config, longer);
    fs::write(folder.join("config.json"), longer).unwrap();
    let weights = fs::read(reference.join("model.safetensors")).unwrap();
    fs::write(
        folder.join("model.safetensors"),
        with_positions(&weights, 130),
    )
    .unwrap();
    let tokenizer = r#"{
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null,
        "decoder": null,
        "model": {
            "type": "WordLevel", "unk_token": "<unk>",
            "vocab": {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "boat": 5}
        }
    }"#;
    fs::write(folder.join("tokenizer.json"), tokenizer).unwrap();
}

/// The same weights with N positions, the first ones repeated.
fn with_positions(weights: &[u8], positions: usize) -> Vec<u8> {
    let weights = SafeTensors::deserialize(weights).unwrap();
    let name = "roberta.embeddings.position_embeddings.weight";
    let table = weights.tensor(name).unwrap();
    let width = table.shape()[1];
    let bytes = positions * width * 4;
    let longer: Vec<u8> = table.data().iter().copied().cycle().take(bytes).collect();
    let longer = TensorView::new(table.dtype(), vec![positions, width], &longer).unwrap();
    let tensors = weights.tensors().into_iter().map(|(key, tensor)| {
        let tensor = if key == name { longer.clone() } else { tensor };
        (key, tensor)
    });
    safetensors::serialize(tensors, None).unwrap()
}

fn write_rte(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for split in ["train", "dev"] {
        let mut text = "index\tsentence1\tsentence2\tlabel\n".to_owned();
        for index in 0..12 {
            let label = if index % 2 == 0 {
                "entailment"
            } else {
                "not_entailment"
            };
            text += &format!("{index}\ta boat\ta boat {index}\t{label}\n");
        }
        fs::write(folder.join(split).with_extension("tsv"), text).unwrap();
    }
}
