//! Every setting, declared once: the flag of the command line and the key of a scenario file.

use std::path::PathBuf;

use clap::{Arg, Args, ValueEnum};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::adapter::settings::AdapterKind::{Lora, SorfVera, Vera};
use crate::adapter::settings::{AdapterKind, Bias};
use crate::adapter::target_modules::TargetModules;
use crate::aggregate::settings::{MethodName, Weighting};
use crate::base::machine::device::DeviceName;
use crate::config::declare::{declare_settings, default_of, default_type};
use crate::config::setting::{AnySetting, Facts, Setting};
use crate::config::tables::task::TaskKind;
use crate::model::quantised::precision::BasePrecision;
use crate::train::settings::Precision;

/// The largest whole number that TOML has, in which settings are recorded.
pub(crate) const MOST_WHOLE: u64 = i64::MAX as u64;

/// Which instructions libraries compute with on a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Numerics {
    /// The best that this processor has.
    Native,
    /// Those that most processors have, so that different ones compute the same bits.
    Portable,
}

/// The clock of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Clock {
    /// Derived from the scenario: replays to the bit.
    Virtual,
    /// The wall's, scaled.
    Wall,
}

// The upper ends of the ranges are what no memory could hold, and far above all that is simulated
// here. A larger number is a slip of the hand or an attack.

declare_settings! {
    /// The settings as given by the user: each is `None` until a scenario file or a flag sets it.
    ///
    /// The flags are spelled as the fields are; `--agg_type` and `--agg-type` mean the same.
    #[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize, JsonSchema)]
    #[command(rename_all = "snake_case")]
    #[serde(deny_unknown_fields)]
    pub struct Settings;

    Data {
        /// Task: instruct (instructions or conversations of your own), e2e, gsm8k, or GLUE's cola,
        /// sst2, mrpc, stsb, qqp, mnli, qnli, rte or wnli; or a file of your own, in CSV, TSV, JSON
        /// lines, JSON or Parquet, or in TOML with the keys of `[task]`
        #[arg(value_name = "NAME|FILE")]
        task: String = default("cola".into());
        /// Folder with the tasks' folders, or `hub`; for instruct, a file of JSON or JSON lines or a
        /// folder with train, validation and test; for files of your own the folder in which their
        /// paths begin, which is the current one unless it is given
        #[arg(value_name = "DIR|FILE")]
        data: String = default_in_words("$REGATTA_DATA, else data/glue if it exists, else hub")
            .names_file();
        /// Longest sequence in tokens; longer ones are truncated
        #[arg(value_name = "N")]
        max_seq_length: u32 = default_in_words(
            "128; 512 for instruct and gsm8k; never more than the model takes"
        ).from(1).to(1_000_000);
        /// What conversations look like to the model: alpaca, vicuna, chatml, llama3, mistral, gemma
        /// or question, or model, its own in Jinja
        #[arg(value_name = "NAME|model")]
        template: String = default_in_words(
            "for instruct the model's own, else alpaca, or chatml for conversations; question for \
             gsm8k"
        );
        /// Partition of examples among clients: iid, contiguous, natural:COLUMN, dirichlet(ALPHA),
        /// quantity(ALPHA) or classes(K)
        partition: String = default("iid".into());
        /// Number of clients
        #[arg(value_name = "N")]
        num_clients: u32 = default(3).from(1).to(1_000_000);
        /// Take the first N training examples only
        #[arg(value_name = "N")]
        limit_train: u64 = default_in_words("all");
        /// Take the first N validation examples only
        #[arg(value_name = "N")]
        limit_eval: u64 = default_in_words("all").from(1);
        /// Predict the first N test examples only
        #[arg(value_name = "N")]
        limit_test: u64 = default_in_words("all").same_results();
    }

    Columns {
        /// Column of the text
        #[arg(value_name = "COLUMN")]
        text: String = default_in_words("as [task] says");
        /// Column of the second text of a pair
        #[arg(value_name = "COLUMN")]
        text2: String = default_in_words("as [task] says, else none");
        /// Column of the label
        #[arg(value_name = "COLUMN")]
        label: String = default_in_words("as [task] says");
        /// What is learnt
        #[arg(value_enum)]
        kind: TaskKind = default_in_words(
            "as [task] says, else next_token with --prompt or --answer, else classes"
        );
        /// What a language model reads, with columns in braces, such as "{question} ->"
        #[arg(value_name = "TEMPLATE")]
        prompt: String = default_in_words("as [task] says");
        /// Column of what it is to write
        #[arg(value_name = "COLUMN")]
        answer: String = default_in_words("as [task] says");
        /// Share of the training examples that is held out for validation
        #[arg(value_name = "SHARE")]
        holdout: f64 = default_in_words("as [task] says, else 0.1 without files for validation")
            .above(0.0).below(1.0);
    }

    Model {
        /// Folder of a Hugging Face snapshot, a GGUF file, or a name on the hub; random:NAME or
        /// random:CONFIG.json draws the weights from the seed, where NAME is minilm-l6, bert-base,
        /// bert-large, distilroberta-base, roberta-base, roberta-large, gpt2, gpt2-medium or
        /// smollm2-135m
        #[arg(value_name = "DIR|FILE|NAME|random:NAME")]
        model: String = default_in_words("roberta-base, or gpt2 if the task is to write text")
            .names_file();
        /// tokenizer.json for a random model, or in the place of the model's own
        #[arg(value_name = "FILE")]
        tokenizer: PathBuf = default_in_words("the model's own, if any").names_file();
        /// What the frozen weights of the transformer layers are held in, and multiplied from: nf4
        /// has 4 bits a weight and a scale for each 64, int8 a scale for each output, both as
        /// bitsandbytes has them. What is trained, the residual of aggregation, embeddings, norms,
        /// biases and heads stay in float32
        #[arg(value_enum)]
        base_precision: BasePrecision = default(BasePrecision::Float32);
        /// Dropout inside the frozen model (hidden and attention)
        #[arg(value_name = "P")]
        model_dropout: f64 = default_in_words("as the model's config.json says")
            .from(0.0).below(1.0);
        /// Start from this PEFT adapter folder
        #[arg(value_name = "DIR")]
        init_adapter: PathBuf = default_in_words("a fresh adapter").names_file();
    }

    Adapter {
        /// Kind of adapter
        #[arg(value_enum)]
        adapter: AdapterKind = default_in_words(
            "vera with --vera or fedex_vera, sorf_vera with its methods, else lora"
        );
        /// Same as --adapter vera
        vera: bool = default(false);
        /// Rank of the adapter
        #[arg(value_name = "RANK", visible_alias = "lora_r")]
        r: u32 = default(4).from(1).to(65_536).also_called("lora_r");
        /// Ranks of the clients' adapters, repeated in turn over the clients; flora only
        #[arg(value_name = "RANK,…", value_delimiter = ',')]
        ranks: Vec<u32> = default_in_words("r for each").only_with(&[Lora]);
        /// Alpha of the scaling alpha/r
        #[arg(value_name = "ALPHA")]
        lora_alpha: f64 = default(8.0).above(0.0);
        /// Dropout on the input of a LoRA adapter
        #[arg(value_name = "P")]
        lora_dropout: f64 = default(0.1).from(0.0).below(1.0).only_with(&[Lora]);
        /// Scale LoRA by alpha/√r, not alpha/r
        rslora: bool = default(false).only_with(&[Lora]);
        /// First value of VeRA's d and of SORF-VeRA's m
        #[arg(value_name = "D", allow_negative_numbers = true)]
        d_initial: f64 = default(0.1).only_with(&[Vera, SorfVera]);
        /// Dropout on the input of a VeRA or SORF-VeRA adapter
        #[arg(value_name = "P")]
        vera_dropout: f64 = default(0.0).from(0.0).below(1.0).only_with(&[Vera, SorfVera]);
        /// Seed of the frozen projections that VeRA and SORF-VeRA share over layers
        #[arg(value_name = "SEED")]
        projection_prng_key: u64 = default(0).only_with(&[Vera, SorfVera]);
        /// Save these projections with the adapter
        save_projection: bool = default(true).only_with(&[Vera, SorfVera]).same_results();
        /// Scale VeRA by alpha/√r, not 1
        rsvera: bool = default(false).only_with(&[Vera]);
        /// Seed of SORF-VeRA's orthogonal matrices
        #[arg(value_name = "SEED")]
        sorf_seed: u64 = default(0).only_with(&[SorfVera]);
        /// Initialise so that the adapter starts at zero; false: at random, for tests
        init_weights: bool = default(true);
        /// Linear layers to adapt: their names, or what their names end in; all-linear, which is
        /// all but the head; or regex:PATTERN, Python's regular expression for the whole of a
        /// name, such as regex:.*\.(c_attn|mlp\.c_proj). A scenario file may have names in a list
        #[arg(value_name = "NAME,…|all-linear|regex:PATTERN")]
        target_modules: TargetModules = default_in_words(
            "query,value of BERT and its kin, query_proj,value_proj of DeBERTa-v2, c_attn of GPT-2, \
             q_proj,v_proj of other decoders"
        );
        /// Transformer layers to adapt, numbered from 0
        #[arg(value_name = "N,…", value_delimiter = ',')]
        layers_to_transform: Vec<u32> = default_in_words("all");
        /// Name before the number in the layers' names, for --layers_to_transform
        #[arg(value_name = "NAME")]
        layers_pattern: String = default_in_words(
            "the model's: layer of an encoder, h of GPT-2, layers of other decoders"
        );
        /// Adapted layers store weights as (in, out). The model decides this; a value that is not
        /// the model's is refused
        fan_in_fan_out: bool = default_in_words("true for GPT-2, else false");
        /// Biases to train
        #[arg(value_enum)]
        bias: Bias = default(Bias::None);
        /// Further modules to train and save in full, besides the classification head, if there is
        /// one
        #[arg(value_name = "NAME,…", value_delimiter = ',')]
        modules_to_save: Vec<String> = default(Vec::new());
    }

    Aggregation {
        /// Aggregation method
        agg_type: MethodName = default_in_words(
            "fedex with LoRA, fedex_vera with VeRA, sorf_vera_exact with SORF-VeRA"
        );
        /// Scale the residual of fedex_vera and sorf_vera_exact by the learning rate, not by the
        /// adapter's scaling; no longer exact
        vera_scale: bool = default(false);
        /// Multiply by this what fedex, fedex_vera, flora and sorf_vera_exact merge into the base
        /// weights each round: the residual, of flora the whole update; any other than 1 is no
        /// longer exact
        #[arg(value_name = "FACTOR")]
        residual_scale: f64 = default_in_words("1").from(0.0);
        /// Weights of the updates
        #[arg(value_enum)]
        weighting: Weighting = default(Weighting::Uniform);
        /// Reject updates whose norm (of the scaled change of the adapted weights and of the change
        /// of everything else trained) exceeds N
        #[arg(value_name = "N")]
        max_update_norm: f64 = default_in_words("no limit").above(0.0);
    }

    Training {
        /// Federated rounds
        #[arg(value_name = "N")]
        rounds: u32 = default(50).from(1).to(10_000_000);
        /// Epochs that a client trains over its shard in each round
        #[arg(value_name = "N")]
        local_epochs: u32 = default(3).from(1).to(1_000_000);
        /// Examples in a batch
        #[arg(value_name = "N")]
        batch_size: u32 = default(32).from(1).to(1_000_000);
        /// Clients that a lane trains together: the base's products are computed once for a batch of
        /// each, which is faster where batches are small. Last bits differ by who is trained together
        #[arg(value_name = "N")]
        clients_per_step: u32 = default(1).from(1).to(1_000_000);
        /// Peak learning rate
        lr: f64 = default(0.001).above(0.0);
        /// Share of a round's steps in which the learning rate warms up
        #[arg(value_name = "SHARE")]
        warmup_ratio: f64 = default(0.06).from(0.0).to(1.0);
        /// AdamW's weight decay
        weight_decay: f64 = default(0.01).from(0.0);
        /// Share of each label that is divided evenly among all classes, or all tokens of the
        /// vocabulary
        #[arg(value_name = "P")]
        label_smoothing: f64 = default(0.0).from(0.0).below(1.0);
        /// Scale a step's gradients down to this norm, taken over all trained weights, where theirs
        /// is larger
        #[arg(value_name = "N")]
        max_grad_norm: f64 = default_in_words("no limit").above(0.0);
        /// Keep each transformer layer's input alone for the backward pass, and compute the layer
        /// again there: less memory, more time, the same result
        checkpoint_blocks: bool = default(false).same_results().on_resume();
        /// Put several examples of a batch into a row, of at most max_seq_length tokens, where none
        /// sees another: less padding, and the same result but for last bits
        pack: bool = default(false);
        /// Train on the examples in file order
        no_shuffle: bool = default(false);
        /// Number format
        #[arg(value_enum)]
        precision: Precision = default(Precision::Auto);
        /// Examples in a batch of evaluation; another number may round scores differently
        #[arg(value_name = "N")]
        eval_batch_size: u32 = default_in_words("16 on CPU, 128 on a GPU").from(1).to(1_000_000);
        /// Evaluate the global model every N rounds, and after the last
        #[arg(value_name = "N")]
        eval_every: u32 = default(1).from(1);
        /// After the last round, train each client alone for as many rounds, and show what it
        /// reaches beside what they reach together; doubles the time of a run
        local_baseline: bool = default(false).same_results().on_resume();
        /// Predict the test split with the last model, or write its texts; false: leave that out
        predict: bool = default(true).same_results().on_resume();
        /// Seed of all random draws
        seed: u64 = default(42);
    }

    Generation {
        /// Write texts for prompts of the validation split every N rounds, and score them; this is
        /// always done after the last round
        #[arg(value_name = "N")]
        generate_every: u32 = default_in_words("only after the last round").from(1);
        /// Same as --generate_every 1
        log: bool = default(false);
        /// Prompts that texts are written for, before the last round
        #[arg(value_name = "N")]
        limit_generate: u64 = default(100).from(1);
        /// Beams of the search for a text; 1 takes the likeliest token each time
        #[arg(value_name = "N")]
        num_beams: u32 = default_in_words("10 for e2e").from(1).to(1_000).of_texts();
        /// A text's log-probability is divided by its length to this power
        #[arg(value_name = "POWER", allow_negative_numbers = true)]
        length_penalty: f64 = default_in_words("0.8 for e2e").from(-10.0).to(10.0).of_texts();
        /// No N tokens occur twice in a row in a text; 0: all may
        #[arg(value_name = "N")]
        no_repeat_ngram: u32 = default_in_words("4 for e2e").to(1_000).of_texts();
        /// The most tokens of a text
        #[arg(value_name = "N")]
        max_new_tokens: u32 = default_in_words("64 for e2e").from(1).to(1_000_000).of_texts();
        /// Draw tokens, by probabilities whose logarithms are divided by this first
        #[arg(value_name = "T")]
        temperature: f64 = default_in_words("texts are not drawn").above(0.0).of_texts();
        /// Draw among the likeliest tokens that have this share of the probability together
        #[arg(value_name = "SHARE")]
        top_p: f64 = default_in_words("1").above(0.0).to(1.0).of_texts();
        /// Draw among the N likeliest tokens; 0: among all
        #[arg(value_name = "N")]
        top_k: u32 = default_in_words("0").of_texts();
        /// meteor-1.5.jar, for METEOR too; it needs Java
        #[arg(value_name = "FILE")]
        meteor_jar: PathBuf = default_in_words("no METEOR").names_file();
    }

    Devices {
        /// GPU of the server
        #[arg(value_name = "GPU")]
        server_gpu: u32 = default_in_words("the clients' first GPU, else the CPU").same_results();
        /// GPUs of the clients, one lane each; more clients than lanes take turns
        #[arg(value_name = "GPU,…", value_delimiter = ',')]
        client_gpus: Vec<u32> = default_in_words("all").same_results();
        /// Train clients side by side; false: one after the other on one lane, with the same result
        parallel_clients: bool = default(true).same_results();
        /// Clients that train at once, at most one lane per client; several lanes per GPU share it
        /// in turn
        #[arg(value_name = "N")]
        lanes: u32 = default_in_words(
            "one per client GPU; on CPU as many as have cores for their threads, and more where \
             clients would be left over"
        ).from(1).to(1_024).same_results().on_resume();
        /// CPU threads per lane; another number may round differently
        #[arg(value_name = "N")]
        threads_per_lane: u32 = default_in_words(
            "1; on a CPU without --lanes, the result of `regatta doctor --calibrate`, if it was run"
        ).from(1).to(1_024);
        /// Instructions of libraries on a CPU: native, the fastest here, or portable, with which most
        /// processors compute the same bits
        #[arg(value_enum)]
        numerics: Numerics = default_in_words("native");
        /// Use the CPU even if CUDA is available
        cpu: bool = default(false).same_results();
        /// cpu, as --cpu; cuda, as omitting it; or cuda:N, which is --server_gpu N --client_gpus N
        #[arg(value_name = "cpu|cuda|cuda:N")]
        device: DeviceName = default_in_words("cuda if it is available").same_results();
    }

    Simulation {
        /// Clock: virtual, derived from the scenario, or wall, for demonstrations; a run on the
        /// wall clock does not replay
        #[arg(value_enum)]
        clock: Clock = default(Clock::Virtual);
        /// Seconds of the run per second of the wall, with --clock wall
        #[arg(value_name = "FACTOR")]
        clock_scale: f64 = default(1.0).above(0.0).same_results();
        /// Save the run's state after every N rounds; 0: only on request
        #[arg(value_name = "N")]
        checkpoint_every: u32 = default(1).same_results();
        /// Keep the last N checkpoints
        #[arg(value_name = "N")]
        keep_checkpoints: u32 = default(3).from(1).same_results();
        /// Report a lane that has made no progress for this long on the wall's clock, or off
        #[arg(value_name = "DURATION|off")]
        watchdog: String = default("10 min".into()).same_results();
    }

    Output {
        /// Name of the run
        name: String = default_in_words("the scenario file's, else TASK-METHOD");
        /// A number that the name ends with, to tell runs apart
        #[arg(value_name = "N")]
        idx: u32 = default_in_words("none").same_results();
        /// Folder for the results, new or empty
        #[arg(value_name = "DIR", visible_alias = "run_dir")]
        out: PathBuf = default_in_words("runs/NAME-TIME").same_results().also_called("run_dir");
        /// Keep the ledger, events.jsonl: about 500 bytes per client and round. Replay and report
        /// need it; without it a run can still be resumed
        ledger: bool = default(true).same_results();
        /// Address that serves metrics to Prometheus, or off
        #[arg(value_name = "ADDR|off")]
        metrics: String = default("127.0.0.1:9464".into()).same_results().on_resume();
        /// Address that serves the live page, or off; if this one is taken, any free port
        #[arg(value_name = "ADDR|off")]
        web: String = default("127.0.0.1:9466".into()).same_results().on_resume();
        /// Serve metrics and page this long after the end, such as "30 s"
        #[arg(value_name = "DURATION")]
        metrics_linger: String = default("0 s".into()).same_results();
        /// Metrics per client for up to N clients; for more, the N worst and quantiles
        #[arg(value_name = "N")]
        client_series: u32 = default(100).same_results();
        /// Write event files for TensorBoard into the folder `tensorboard` of the results
        tensorboard: bool = default(false).same_results().on_resume();
        /// Address to steer the run from with `regatta ctl`, such as 127.0.0.1:9465; beyond
        /// loopback it requires a token in REGATTA_CONTROL_TOKEN
        #[arg(value_name = "ADDR|off")]
        control: String = default("off".into()).same_results().on_resume();
        /// Plain lines only: no progress bars
        quiet: bool = default(false).same_results().on_resume();
    }
}

/// A setting whose default is a value.
pub(crate) type Defaulted<T> = Setting<Settings, T, fn() -> T>;

impl Settings {
    /// The keys of all settings.
    pub(crate) fn keys() -> impl Iterator<Item = &'static str> {
        ALL.iter().map(|setting| setting.facts().key)
    }

    /// The setting that has this for its key or its other name.
    pub(crate) fn find(name: &str) -> Option<&'static dyn AnySetting<Self>> {
        let is_called = |facts: &Facts| facts.key == name || facts.other_name == Some(name);
        let found = ALL.iter().find(|setting| is_called(setting.facts()));
        found.copied()
    }

    /// The default of the setting with this key, as it would be written after the flag, or in words.
    pub(crate) fn default_text_of(key: &str) -> Option<String> {
        Self::find(key).map(|setting| setting.default_text())
    }

    /// States a setting's default in the help of its flag; other arguments stay as they are.
    pub(crate) fn state_default(argument: Arg) -> Arg {
        match Self::find(argument.get_id().as_str()) {
            Some(setting) => with_default(argument, &setting.default_text()),
            None => argument,
        }
    }
}

/// The argument with a default in its help.
pub(crate) fn with_default(argument: Arg, default: &str) -> Arg {
    let help = argument.get_help().map(ToString::to_string);
    argument.help(format!("{} [default: {default}]", help.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::setting::Effect;

    #[test]
    fn each_setting_is_a_flag_and_a_key_of_its_name() {
        let command = Settings::augment_args(clap::Command::new("settings"));
        let flags = command.get_arguments().map(|flag| flag.get_id().as_str());
        let keys: Vec<_> = Settings::keys().collect();
        assert_eq!(flags.collect::<Vec<_>>(), keys);
        let schema = schemars::schema_for!(Settings);
        let fields = schema.get("properties").unwrap().as_object().unwrap();
        let fields: BTreeSet<_> = fields.keys().map(String::as_str).collect();
        assert_eq!(fields, keys.into_iter().collect());
    }

    #[test]
    fn other_names_are_flags_too_and_no_key() {
        let command = Settings::augment_args(clap::Command::new("settings"));
        for flag in command.get_arguments() {
            let facts = Settings::find(flag.get_id().as_str()).unwrap().facts();
            let names = flag.get_visible_aliases().unwrap_or_default();
            assert_eq!(names, facts.other_name.as_slice(), "{}", facts.key);
            assert!(
                names
                    .iter()
                    .all(|name| !Settings::keys().any(|key| key == *name))
            );
        }
    }

    #[test]
    fn resume_changes_no_setting_that_changes_results() {
        for facts in ALL.iter().map(|setting| setting.facts()) {
            let same = facts.effect == Effect::Nothing;
            assert!(same || !facts.on_resume, "{}", facts.key);
        }
    }
}
