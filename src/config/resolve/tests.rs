use super::*;
use crate::aggregate::methods::METHODS;
use crate::base::machine::device::DeviceSpec;
use crate::base::machine::gpus::{Gpus, NoGpu};
use crate::config::load;
use crate::config::plan::PlanDraft;
use crate::config::resolve::inputs::is_hub_name;
use crate::config::tests::{assert_starts, plan, plan_on, problems};
use crate::model::objective::Objective;
use crate::model::source::known::ArchitectureName;
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
fn the_adapter_is_implied_by_vera_or_by_the_method() {
    let kinds = |scenario: &str| {
        let plan = plan(scenario);
        (plan.adapter.kind, plan.aggregation.method)
    };
    assert_eq!(
        kinds("vera = true"),
        (AdapterKind::Vera, method("fedex_vera"))
    );
    assert_eq!(
        kinds("agg_type = \"ours_vera\""),
        (AdapterKind::Vera, method("fedex_vera"))
    );
    assert_eq!(
        kinds("agg_type = \"sorf_vera\""),
        (AdapterKind::SorfVera, method("sorf_vera"))
    );
    let kind = "adapter = \"sorf_vera\"";
    assert_eq!(
        kinds(kind),
        (AdapterKind::SorfVera, method("sorf_vera_exact"))
    );
    assert_eq!(
        kinds("vera = true\nagg_type = \"ffa\""),
        (AdapterKind::Vera, method("ffa"))
    );
}

#[test]
fn each_method_takes_the_adapters_it_is_made_for() {
    let allowed: [(&str, &[&str]); 3] = [
        (
            "lora",
            &["fedit", "ffa", "fedex", "fedsvd", "flora", "rolora"],
        ),
        ("vera", &["fedit", "ffa", "fedex_vera"]),
        (
            "sorf_vera",
            &["fedit", "ffa", "sorf_vera", "sorf_vera_exact"],
        ),
    ];
    for (adapter, methods) in allowed {
        for method in METHODS.iter().map(|info| info.name) {
            let scenario = format!("adapter = \"{adapter}\"\nagg_type = \"{method}\"");
            let result = plan_on(&cpu(), &scenario);
            assert_eq!(
                result.is_ok(),
                methods.contains(&method),
                "{adapter} with {method}"
            );
            if let Err(problems) = result {
                assert!(
                    problems.to_string().contains(":2:12: agg_type"),
                    "{problems}"
                );
            }
        }
    }
}

#[test]
fn a_setting_without_meaning_for_the_adapter_is_an_error() {
    for (setting, with) in [
        ("d_initial = 0.2", ""),
        ("vera_dropout = 0.2", ""),
        ("sorf_seed = 1", "vera = true"),
        ("rsvera = true", ""),
        ("rslora = true", "vera = true"),
        ("lora_dropout = 0.2", "vera = true"),
        ("lora_alpha = 16", "vera = true"),
        ("ranks = [4, 8]", ""),
        ("vera_scale = true", ""),
        ("residual_scale = 0.5", "agg_type = \"fedit\""),
        ("layers_pattern = \"layer\"", ""),
        ("init_adapter = \"x\"", "adapter = \"sorf_vera\""),
        ("server_gpu = 0", "cpu = true"),
    ] {
        let found = problems(&format!("{setting}\n{with}"));
        assert_eq!(found.len(), 1, "{setting}: {found:?}");
        assert!(found[0].contains("has no meaning with"), "{}", found[0]);
        assert!(found[0].starts_with("demo.toml:1:"), "{}", found[0]);
    }
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
fn every_alias_of_a_method_is_read_as_its_name() {
    for info in METHODS {
        for name in info.aliases.iter().chain([&info.name]) {
            let in_file = plan(&format!("agg_type = \"{name}\""));
            assert_eq!(in_file.aggregation.method, method(info.name));
            let written = format!("agg_type = \"{}\"\n", info.name);
            assert!(in_file.to_toml().contains(&written), "{name}");
        }
    }
}

#[test]
fn an_unreadable_method_is_reported_once_and_not_guessed_about() {
    assert_eq!(
        problems("agg_type = \"ours_verra\"\nd_initial = 0.2").len(),
        1
    );
}

#[test]
fn ranks_are_repeated_over_the_clients() {
    let plan = plan("agg_type = \"flora\"\nranks = [4, 16]\nnum_clients = 5");
    assert_eq!(plan.adapter.ranks, [4, 16, 4, 16, 4]);
    assert_eq!(plan.adapter.r, 16);
}

#[test]
fn gpus_of_a_machine_without_cuda_become_cpu_lanes_with_a_notice() {
    let plan = plan("server_gpu = 0\nclient_gpus = [1, 2, 3]\nparallel_clients = true");
    assert_eq!(plan.devices.server, DeviceSpec::Cpu);
    assert!(
        plan.devices
            .lanes
            .iter()
            .all(|lane| lane.device == DeviceSpec::Cpu)
    );
    let [notice] = &plan.devices.notices[..] else {
        panic!("{:?}", plan.devices.notices);
    };
    assert!(notice.starts_with("no CUDA device here"), "{notice}");
    assert!(notice.ends_with("in 3 lanes"), "{notice}");
}

#[test]
fn a_device_by_its_number_is_the_servers_and_the_clients() {
    let devices = plan_on(&gpus(4), "device = \"cuda:2\"")
        .unwrap()
        .devices
        .clone();
    assert_eq!(devices.server, DeviceSpec::Cuda(2));
    assert!(
        devices
            .lanes
            .iter()
            .all(|lane| lane.device == DeviceSpec::Cuda(2))
    );
    let devices = plan_on(&gpus(4), "device = \"cpu\"")
        .unwrap()
        .devices
        .clone();
    assert_eq!(devices.server, DeviceSpec::Cpu);
    for (scenario, wrong) in [
        ("device = \"cuda:4\"", "there is no GPU 4"),
        (
            "device = \"cuda:1\"\nclient_gpus = [0]",
            "--client_gpus is given too",
        ),
        ("device = \"cuda:1\"\ncpu = true", "--cpu is given too"),
        ("device = \"gpu\"", "give cpu, cuda, or a GPU by its number"),
    ] {
        let problems = plan_on(&gpus(4), scenario).unwrap_err().to_string();
        assert!(problems.contains(wrong), "{problems}");
    }
    for (device, notices) in [("cuda", 1), ("cuda:1", 1), ("cpu", 0)] {
        let plan = plan(&format!("device = \"{device}\""));
        assert_eq!(plan.devices.notices.len(), notices, "{device}");
    }
}

#[test]
fn gpus_that_cannot_be_used_are_refused_where_they_were_asked_for_and_noted_where_not() {
    let machine = |none| Host {
        gpus: Gpus {
            none: Some(none),
            ..Gpus::default()
        },
        ..cpu()
    };
    let old = machine(NoGpu::OldDriver {
        release: Some(535),
        cuda: 13,
    });
    for asked in ["device = \"cuda\"", "client_gpus = [0]", "server_gpu = 0"] {
        let devices = plan_on(&old, asked).unwrap().devices.clone();
        let refusal = devices.refusal.unwrap();
        assert!(refusal.contains("driver 535 is too old"), "{refusal}");
        assert!(refusal.ends_with("or give --cpu"), "{refusal}");
        assert_eq!(devices.notices, [""; 0]);
        let devices = plan_on(&machine(NoGpu::NoDriver), asked)
            .unwrap()
            .devices
            .clone();
        assert_eq!((devices.refusal, devices.notices.len()), (None, 1));
    }
    let devices = plan_on(&old, "").unwrap().devices.clone();
    assert_eq!(devices.refusal, None);
    assert!(
        devices.notices[0].starts_with("the run is on the CPU: "),
        "{:?}",
        devices.notices
    );
    for none in ["cpu = true", "device = \"cpu\""] {
        let devices = plan_on(&old, none).unwrap().devices.clone();
        assert_eq!((devices.refusal, devices.notices.len()), (None, 0));
    }
}

#[test]
fn gpus_that_are_too_old_are_left_out_and_named_where_they_were_asked_for() {
    let mut machine = gpus(2);
    let mut old = machine.gpus.usable.remove(0);
    (old.name, old.capability) = ("Tesla V100".into(), (7, 0));
    machine.gpus.too_old.push(old);
    let devices = plan_on(&machine, "").unwrap().devices.clone();
    assert_eq!(devices.server, DeviceSpec::Cuda(1));
    assert!(
        devices
            .notices
            .iter()
            .any(|notice| notice.contains("Tesla V100"))
    );
    let problems = plan_on(&machine, "client_gpus = [0]")
        .unwrap_err()
        .to_string();
    assert!(problems.contains("Tesla V100"), "{problems}");
}

#[test]
fn the_server_is_on_a_gpu_of_the_clients_unless_it_is_given_another() {
    let server = |scenario: &str| plan_on(&gpus(4), scenario).unwrap().devices.server;
    assert_eq!(server(""), DeviceSpec::Cuda(0));
    assert_eq!(server("client_gpus = [2, 3]"), DeviceSpec::Cuda(2));
    assert_eq!(
        server("client_gpus = [2, 3]\nserver_gpu = 1"),
        DeviceSpec::Cuda(1)
    );
}

#[test]
fn lanes_on_gpus_without_cores_for_them_are_noted() {
    let notices = |cores, scenario: &str| {
        let host = Host { cores, ..gpus(1) };
        plan_on(&host, scenario).unwrap().devices.notices.clone()
    };
    assert_eq!(notices(3, ""), [""; 0]);
    let found = notices(2, "");
    assert!(found[0].contains("--cpus-per-task=3"), "{found:?}");
    assert_eq!(notices(1, "cpu = true"), [""; 0]);
}

#[test]
fn numbers_that_a_processor_emulates_are_noted() {
    let notices = |features: &[&str], precision: &str| {
        let machine = Host {
            features: features.iter().map(|&it| it.to_owned()).collect(),
            ..cpu()
        };
        let plan = plan_on(&machine, &format!("precision = \"{precision}\"")).unwrap();
        plan.devices.notices.clone()
    };
    for (features, precision, noted) in [
        (&["avx2"][..], "bfloat16", true),
        (&["avx512f", "avx512_bf16"], "bfloat16", false),
        (&["amx_bf16"], "bfloat16", false),
        (&["amx_bf16"], "float16", true),
        (&["avx2"], "float32", false),
        (&["avx2"], "auto", false),
    ] {
        let found = notices(features, precision);
        assert_eq!(
            found.len() == 1,
            noted,
            "{features:?} {precision}: {found:?}"
        );
        assert!(
            found
                .iter()
                .all(|it| it.contains("emulated") && it.contains(precision))
        );
    }
}

#[test]
fn no_client_is_left_over_to_train_alone_on_a_cpu() {
    let lanes = |cores, num_clients| {
        let machine = Host {
            cores,
            ..Host::default()
        };
        let scenario = format!("num_clients = {num_clients}");
        let plan = plan_on(&machine, &scenario).unwrap();
        plan.devices.lanes.len()
    };
    assert_eq!(lanes(1, 5), 1);
    assert_eq!(lanes(2, 3), 3);
    assert_eq!(lanes(2, 10), 2);
    assert_eq!(lanes(4, 3), 3);
    assert_eq!(lanes(4, 7), 7);
    assert_eq!(lanes(16, 100), 20);
}

#[test]
fn clients_get_the_gpus_in_turn() {
    let lanes = |scenario: &str| {
        let plan = plan_on(&gpus(4), scenario).unwrap();
        plan.devices
            .lanes
            .iter()
            .map(|lane| lane.device.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        lanes("client_gpus = [1, 2, 3]"),
        ["cuda:1", "cuda:2", "cuda:3"]
    );
    assert_eq!(
        lanes("client_gpus = [1, 2]\nnum_clients = 5"),
        ["cuda:1", "cuda:2"]
    );
    assert_eq!(
        lanes("client_gpus = [1, 2]\nlanes = 3"),
        ["cuda:1", "cuda:2", "cuda:1"]
    );
    assert_eq!(lanes("parallel_clients = false"), ["cuda:0"]);
    assert_eq!(lanes("cpu = true\nlanes = 1"), ["cpu"]);
}

#[test]
fn a_gpu_that_is_not_there_is_an_error() {
    let problems = plan_on(&gpus(2), "client_gpus = [1, 2]\nserver_gpu = 5").unwrap_err();
    let text = problems.to_string();
    assert!(
        text.contains("there is no GPU 2 on this machine; its GPUs are 0, 1"),
        "{text}"
    );
    assert!(text.contains("server_gpu = 5: there is no GPU 5"), "{text}");
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

#[test]
fn threads_per_lane_are_as_calibrated_unless_lanes_or_threads_are_given() {
    let machine = |gpus| Host {
        gpus: Gpus::alike(gpus, "NVIDIA H100", (9, 0)),
        cores: 8,
        threads_per_lane: Some(4),
        ..Host::default()
    };
    let divided = |flags: Settings, gpus| {
        let plan = load(None, &flags, &machine(gpus)).unwrap();
        let lanes = &plan.devices.lanes;
        assert_eq!(plan.settings.threads_per_lane, Some(lanes[0].threads));
        (lanes.len(), lanes[0].threads)
    };
    let clients = |lanes, threads_per_lane| Settings {
        num_clients: Some(20),
        lanes,
        threads_per_lane,
        ..Settings::default()
    };
    assert_eq!(divided(clients(None, None), 0), (2, 4));
    assert_eq!(divided(clients(Some(3), None), 0), (3, 1));
    assert_eq!(divided(clients(None, Some(2)), 0), (4, 2));
    assert_eq!(divided(clients(None, Some(20)), 0), (1, 20));
    assert_eq!(divided(clients(None, None), 2), (2, 1));
}

#[test]
fn a_resolved_scenario_has_the_threads_of_its_machine_for_every_other() {
    let calibrated = Host {
        cores: 4,
        threads_per_lane: Some(4),
        ..Host::default()
    };
    let plan = load(None, &Settings::default(), &calibrated).unwrap();
    let elsewhere = plan_on(&cpu(), &plan.to_toml()).unwrap();
    assert_eq!(elsewhere.devices.lanes[0].threads, 4);
}

#[test]
fn batches_of_evaluation_suit_the_servers_device_and_go_with_the_scenario() {
    let on = |machine: &Host| load(None, &Settings::default(), machine).unwrap();
    assert_eq!(on(&cpu()).training.eval_batch_size, 16);
    let plan = on(&gpus(1));
    assert_eq!(plan.training.eval_batch_size, 128);
    assert!(plan.to_toml().contains("eval_batch_size = 128"));
    let found = problems("eval_batch_size = 0\n");
    assert!(
        found[0].contains("out of range; give a number from 1"),
        "{found:?}"
    );
}

/// What is decided of the adapter and the model of a task that is to write text.
fn for_text(settings: &str) -> (Plan, Problems) {
    let mut resolver = Resolver {
        settings: toml::from_str(settings).unwrap(),
        problems: Problems::default(),
        machine: &cpu(),
        notices: Vec::new(),
    };
    let objective = Objective::NextToken;
    let model = resolver.model(&objective);
    let (adapter, _) = resolver.adapter(3, &objective);
    let plan = Plan {
        model,
        adapter,
        settings: resolver.settings,
        ..plan("")
    };
    (plan, resolver.problems)
}

#[test]
fn what_a_decoder_adapts_where_nothing_is_said_is_decided_and_recorded_once_it_is_known() {
    for (name, targets, in_out) in [
        ("gpt2", "[\"c_attn\"]", true),
        ("smollm2-135m", "[\"q_proj\", \"v_proj\"]", false),
    ] {
        let (plan, problems) = for_text("");
        assert!(problems.is_empty(), "{problems}");
        assert_eq!(plan.model.source, ModelSource::Hub("gpt2".into()));
        assert_eq!(plan.adapter.target_modules, None);
        let model = name.parse::<ArchitectureName>().unwrap().read().unwrap();
        let plan = PlanDraft(plan).on(&*model);
        let recorded: toml::Table = toml::from_str(&plan.to_toml()).unwrap();
        assert_eq!(recorded["target_modules"].to_string(), targets);
        assert_eq!(recorded["fan_in_fan_out"].as_bool(), Some(in_out));
        assert_eq!(plan.adapter.fan_in_fan_out, in_out);
    }
}

#[test]
fn what_an_encoder_adapts_is_recorded_as_in_earlier_versions() {
    let recorded: toml::Table = toml::from_str(&plan("").to_toml()).unwrap();
    assert_eq!(
        recorded["target_modules"].to_string(),
        r#"["query", "value"]"#
    );
    assert_eq!(recorded["fan_in_fan_out"].as_bool(), Some(false));
    assert_eq!(recorded["model"].as_str(), Some("roberta-base"));
}

#[test]
fn targets_are_a_list_a_word_or_an_expression_and_are_recorded_as_such() {
    for (given, recorded) in [
        ("[\"query\", \"dense\"]", "[\"query\", \"dense\"]"),
        ("\"query, dense\"", "[\"query\", \"dense\"]"),
        ("\"all-linear\"", "\"all-linear\""),
        (
            "'regex:.*\\.(query|key){1,1}'",
            "'regex:.*\\.(query|key){1,1}'",
        ),
    ] {
        let plan = plan(&format!("target_modules = {given}"));
        let expected = format!("\ntarget_modules = {recorded}\n");
        assert!(plan.to_toml().contains(&expected), "{}", plan.to_toml());
    }
}

#[test]
fn targets_that_mean_nothing_are_refused_in_their_place() {
    for (given, start) in [
        (
            "[]",
            "demo.toml:1:18: target_modules = []: nothing to adapt",
        ),
        (
            "\"\"",
            "demo.toml:1:18: target_modules = \"\": nothing to adapt",
        ),
        (
            "\"regex:(\"",
            "demo.toml:1:18: target_modules = \"regex:(\": the regular expression \"(\" cannot",
        ),
        (
            "3",
            "demo.toml:1:18: target_modules: expected a list of names",
        ),
        (
            "\"regex:.*query\"\nlayers_to_transform = [1]",
            "demo.toml:2:23: layers_to_transform = [1]: has no meaning with a regular expression",
        ),
    ] {
        assert_starts(&problems(&format!("target_modules = {given}")), &[start]);
    }
}
