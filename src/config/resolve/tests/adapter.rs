//! Adapters, the methods that take them, and the layers that they adapt.

use crate::adapter::settings::AdapterKind;
use crate::aggregate::methods::METHODS;
use crate::config::plan::{Plan, PlanDraft};
use crate::config::problems::Problems;
use crate::config::resolve::Resolver;
use crate::config::resolve::tests::{cpu, method};
use crate::config::tests::{assert_starts, plan, plan_on, problems};
use crate::model::objective::Objective;
use crate::model::source::known::ArchitectureName;
use crate::model::source::location::ModelSource;

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
