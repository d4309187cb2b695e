//! Devices, lanes and their threads.

use crate::base::machine::Host;
use crate::base::machine::device::DeviceSpec;
use crate::base::machine::gpus::{Gpus, NoGpu};
use crate::config::load;
use crate::config::resolve::tests::{cpu, gpus};
use crate::config::settings::Settings;
use crate::config::tests::{plan, plan_on, problems};

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
