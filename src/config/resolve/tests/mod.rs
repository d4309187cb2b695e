//! What settings become, and what is wrong with them.

mod adapter;
mod devices;
mod task;

use crate::adapter::settings::AdapterKind;
use crate::aggregate::settings::MethodName;
use crate::base::machine::Host;
use crate::base::machine::gpus::Gpus;
use crate::config::load;
use crate::config::plan::Plan;
use crate::config::resolve::inputs::is_hub_name;
use crate::config::settings::Settings;
use crate::config::tests::{assert_starts, plan, problems};
use crate::model::source::location::ModelSource;

fn cpu() -> Host {
    Host::cpu(2)
}

fn gpus(count: u32) -> Host {
    Host {
        gpus: Gpus::alike(count, "NVIDIA H100", (9, 0)),
        ..cpu()
    }
}

fn method(name: &str) -> MethodName {
    name.parse().unwrap()
}

#[test]
fn an_empty_scenario_is_upstreams_defaults() {
    let plan = plan("");
    assert_eq!(plan.name, "demo");
    assert_eq!(plan.data.task.name(), "cola");
    assert_eq!(
        (plan.adapter.kind, plan.aggregation.method),
        (AdapterKind::Lora, method("fedex"))
    );
    assert_eq!(
        (plan.adapter.r, plan.adapter.ranks.as_slice()),
        (4, [4, 4, 4].as_slice())
    );
    assert_eq!(plan.adapter.scaling(4), 2.0);
    assert_eq!(plan.model.source, ModelSource::Hub("roberta-base".into()));
}

#[test]
fn all_errors_come_at_once_each_with_its_line() {
    let found = problems(
        "task = \"rte\"\nr = 0\nlr = \"fast\"\nagg_typ = \"ours\"\nwarmup_ratio = 1.5\n\
         partition = \"classes(3)\"\nfan_in_fan_out = true\n",
    );
    let starts = [
        "demo.toml:2:5: r = 0: ",
        "demo.toml:3:6: lr: invalid type",
        "demo.toml:4:1: unknown key `agg_typ`; did you mean `agg_type`?",
        "demo.toml:5:16: warmup_ratio = 1.5: out of range; give a number from 0 to 1",
        "demo.toml:6:13: partition = \"classes(3)\": rte has 2 classes; give classes(K) with K from 1 to 2",
        "demo.toml:7:18: fan_in_fan_out = true: ",
    ];
    assert_starts(&found, &starts);
}

#[test]
fn flags_override_the_file_and_errors_name_the_flag() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.toml");
    std::fs::write(&path, "r = 16\nrounds = 7\n").unwrap();
    let flags = |r| Settings {
        r: Some(r),
        ..Settings::default()
    };
    let plan = load(Some(&path), &flags(32), &cpu()).unwrap();
    assert_eq!((plan.adapter.r, plan.rounds), (32, 7));
    let problems = load(Some(&path), &flags(0), &cpu()).unwrap_err();
    assert!(
        problems.to_string().starts_with("error: --r=0: "),
        "{problems}"
    );
}

#[test]
fn contradictions_are_errors() {
    for scenario in [
        "vera = true\nadapter = \"lora\"",
        "vera = false\nadapter = \"vera\"",
        "agg_type = \"ours_vera\"\nadapter = \"lora\"",
        "agg_type = \"flora\"\nr = 4\nranks = [4, 8]",
        "parallel_clients = false\nlanes = 2",
        "num_clients = 4\nlimit_train = 3",
    ] {
        assert_eq!(problems(scenario).len(), 1, "{scenario}");
    }
}

#[test]
fn the_resolved_scenario_gives_the_same_plan() {
    for scenario in [
        "",
        "vera = true\nr = 128\nrsvera = true\nlora_alpha = 3.5\nout = \"elsewhere\"",
        "adapter = \"sorf_vera\"\nsorf_seed = 7\nlayers_to_transform = [0, 2]",
        "agg_type = \"flora\"\nranks = [4, 16]\nmetrics = \"off\"\nmetrics_linger = \"30 s\"",
    ] {
        let first = plan(scenario);
        let second = plan(&first.to_toml());
        let same = Plan {
            out: None,
            settings: Settings {
                out: None,
                ..first.settings
            },
            origins: second.origins.clone(),
            ..first
        };
        assert_eq!(second, same);
    }
}

#[test]
fn a_models_name_is_a_folder_unless_only_the_hub_could_mean_it() {
    for name in ["roberta-base", "FacebookAI/roberta-base"] {
        assert!(is_hub_name(name), "{name}");
    }
    for name in [
        "models/minilm",
        "./roberta-base",
        "../m",
        "/opt/m",
        "a/b/c",
        "src",
        "tiny.gguf",
        "models/tiny.gguf",
    ] {
        assert!(!is_hub_name(name), "{name}");
    }
}

/// `[default: X]` in a flag's help is what an empty scenario resolves to.
#[test]
fn the_help_states_the_real_defaults() {
    use clap::Args;
    let vera = plan("vera = true").settings;
    let sorf = plan("adapter = \"sorf_vera\"").settings;
    let tables = [plan("").settings, vera, sorf].map(|s| toml::Table::try_from(s).unwrap());
    let mut stated = 0;
    for argument in Settings::augment_args(clap::Command::new("x")).get_arguments() {
        let argument = Settings::state_default(argument.clone());
        let help = argument.get_help().unwrap().to_string();
        let (_, rest) = help
            .split_once("[default: ")
            .expect("each help states its default");
        let default = rest.trim_end_matches(']');
        let key = argument.get_id().as_str();
        let Some(value) = tables.iter().find_map(|table| table.get(key)) else {
            continue;
        };
        let value =
            Some(crate::config::setting::flag_value(value)).filter(|value| !value.is_empty());
        let value = value.unwrap_or_else(|| "none".to_owned());
        if default.contains(' ') && default != value {
            continue; // A rule in words.
        }
        assert_eq!(default, value, "--{key}");
        stated += 1;
    }
    assert!(stated > 25, "only {stated} defaults were compared");
}
