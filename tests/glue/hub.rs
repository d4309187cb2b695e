use regatta::tasks::glue::hub::dataset;
use std::fs;
use std::path::PathBuf;

use regatta::base::hub::Hub;
use regatta::tasks::glue::source::load;
use regatta::tasks::glue::task::GlueTask;

use crate::hub_repository::{Fault, Repository};
use crate::hub_server::HubServer;
use crate::support::{examples, fixture, tiny};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

pub fn model() -> Repository {
    let read = |file: &str| fs::read(fixture("models/bert").join(file)).unwrap();
    Repository::new("models/crew/tiny-bert", COMMIT)
        .with("README.md", b"not wanted".to_vec())
        .with("config.json", read("config.json"))
        .with("tokenizer.json", read("tokenizer.json"))
        .with_large("model.safetensors", vec![7; 100_000])
}

fn glue() -> Repository {
    let mut repository = Repository::new("datasets/nyu-mll/glue", COMMIT);
    for task in ["rte", "qnli"] {
        for entry in fs::read_dir(fixture("parquet").join(task)).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{task}/{}", path.file_name().unwrap().to_str().unwrap());
            repository = repository.with_large(&name, fs::read(&path).unwrap());
        }
    }
    repository
}

/// A hub at the server's address with an empty cache.
pub fn hub(server: &HubServer, cache: &tempfile::TempDir) -> Hub {
    Hub {
        cache: cache.path().join("hub"),
        endpoint: Some(server.address()),
        token: Some("secret".to_owned()),
        offline: false,
    }
}

fn offline(hub: &Hub) -> Hub {
    Hub {
        offline: true,
        endpoint: Some("http://127.0.0.1:9".to_owned()),
        ..hub.clone()
    }
}

#[test]
fn a_model_is_fetched_once_and_then_found_offline() {
    let (server, cache) = (HubServer::start(model()), tempfile::tempdir().unwrap());
    let hub = hub(&server, &cache);
    let folder = hub.model("crew/tiny-bert").unwrap();
    assert_eq!(
        fs::read(folder.join("model.safetensors")).unwrap(),
        vec![7; 100_000]
    );
    assert!(folder.join("tokenizer.json").exists() && !folder.join("README.md").exists());
    assert!(
        server
            .requests()
            .iter()
            .any(|it| it.authorization.as_deref() == Some("Bearer secret"))
    );

    let asked = server.requests().len();
    assert_eq!(hub.model("crew/tiny-bert").unwrap(), folder);
    assert_eq!(server.requests().len(), asked);
    assert_eq!(offline(&hub).model("crew/tiny-bert").unwrap(), folder);
}

/// A model whose weights are in two parts.
fn model_in_parts(parts: &[&str]) -> Repository {
    let list = r#"{"metadata": {"total_size": 8}, "weight_map": {
        "a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
    let read = |file: &str| fs::read(fixture("models/bert").join(file)).unwrap();
    let repository = Repository::new("models/crew/parts", COMMIT)
        .with("config.json", read("config.json"))
        .with("tokenizer.json", read("tokenizer.json"))
        .with("model.safetensors.index.json", list.as_bytes().to_vec())
        .with_large("model-00003-of-00003.safetensors", vec![3; 10]);
    let part = |repository: Repository, part: &&str| repository.with_large(part, vec![7; 10_000]);
    parts.iter().fold(repository, part)
}

const PARTS: [&str; 2] = [
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
];

#[test]
fn weights_in_parts_are_fetched_with_their_list_and_found_offline_when_all_are_there() {
    let (server, cache) = (
        HubServer::start(model_in_parts(&PARTS)),
        tempfile::tempdir().unwrap(),
    );
    let hub = hub(&server, &cache);
    let folder = hub.model("crew/parts").unwrap();
    for part in PARTS {
        assert_eq!(fs::read(folder.join(part)).unwrap(), vec![7; 10_000]);
    }
    assert!(!folder.join("model-00003-of-00003.safetensors").exists());
    let asked = server.requests().len();
    assert_eq!(hub.model("crew/parts").unwrap(), folder);
    assert_eq!(server.requests().len(), asked);
    assert_eq!(offline(&hub).model("crew/parts").unwrap(), folder);
    fs::remove_file(folder.join(PARTS[1])).unwrap();
    let refusal = offline(&hub).model("crew/parts").unwrap_err().to_string();
    assert!(refusal.contains("is incomplete"), "{refusal}");
    assert_eq!(hub.model("crew/parts").unwrap(), folder);
    assert!(folder.join(PARTS[1]).exists());
}

#[test]
fn a_part_that_the_hub_lacks_is_named_and_nothing_counts_as_fetched() {
    let (server, cache) = (
        HubServer::start(model_in_parts(&PARTS[..1])),
        tempfile::tempdir().unwrap(),
    );
    let hub = hub(&server, &cache);
    let refusal = hub.model("crew/parts").unwrap_err().to_string();
    let said = "it has no model-00002-of-00002.safetensors, which its model.safetensors.index.json";
    assert!(refusal.contains(said), "{refusal}");
    assert!(!hub.cache.join("models--crew--parts/refs/main").exists());
}

#[test]
fn a_list_of_parts_that_leads_elsewhere_fetches_none() {
    let list = br#"{"weight_map": {"a": "../../planted.safetensors"}}"#;
    let planted = "../../planted.safetensors";
    let repository = model_in_parts(&PARTS)
        .with("model.safetensors.index.json", list.to_vec())
        .with_large(planted, vec![1]);
    let (server, cache) = (HubServer::start(repository), tempfile::tempdir().unwrap());
    let refusal = hub(&server, &cache).model("crew/parts").unwrap_err();
    let refusal = refusal.to_string();
    assert!(
        refusal.contains("the name of a file beside it"),
        "{refusal}"
    );
    let mut paths = server.requests().into_iter().map(|it| it.path);
    assert!(!paths.any(|path| path.contains("planted") || path.contains("0000")));
}

#[test]
fn what_changes_a_models_tokens_comes_with_it_and_a_cache_without_it_is_completed() {
    let beside = ["tokenizer_config.json", "added_tokens.json"];
    let mut repository = model();
    for file in beside {
        repository = repository.with(file, b"{}".to_vec());
    }
    let (server, cache) = (HubServer::start(repository), tempfile::tempdir().unwrap());
    let hub = hub(&server, &cache);
    let folder = hub.model("crew/tiny-bert").unwrap();
    assert!(beside.iter().all(|file| folder.join(file).exists()));
    // As a version left it that fetched three files.
    beside
        .iter()
        .for_each(|file| fs::remove_file(folder.join(file)).unwrap());
    assert_eq!(offline(&hub).model("crew/tiny-bert").unwrap(), folder);
    let away = Hub {
        offline: false,
        ..offline(&hub)
    };
    assert_eq!(away.model("crew/tiny-bert").unwrap(), folder);
    assert_eq!(hub.model("crew/tiny-bert").unwrap(), folder);
    assert!(beside.iter().all(|file| folder.join(file).exists()));
}

#[test]
fn a_tasks_data_is_fetched_and_loaded() {
    let (server, cache) = (HubServer::start(glue()), tempfile::tempdir().unwrap());
    let hub = hub(&server, &cache);
    for task in [GlueTask::Rte, GlueTask::Qnli] {
        let folder = dataset(&hub, task).unwrap();
        let data = load(task, &folder).unwrap();
        assert_eq!(examples(&data.train), examples(&tiny(task).train));
        assert_eq!(dataset(&offline(&hub), task).unwrap(), folder);
    }
    let fetched: Vec<String> = server.requests().into_iter().map(|it| it.path).collect();
    assert!(
        fetched
            .iter()
            .any(|path| path.ends_with("qnli/train-00001-of-00002.parquet"))
    );
    let refusal = dataset(&hub, GlueTask::Wnli).unwrap_err().to_string();
    assert!(refusal.contains("it has no wnli/*.parquet"), "{refusal}");
}

#[test]
fn a_split_that_lacks_a_shard_in_the_cache_is_fetched() {
    let (server, cache) = (HubServer::start(glue()), tempfile::tempdir().unwrap());
    let hub = hub(&server, &cache);
    let folder = dataset(&hub, GlueTask::Qnli).unwrap();
    fs::remove_file(folder.join("train-00001-of-00002.parquet")).unwrap();
    assert_eq!(dataset(&hub, GlueTask::Qnli).unwrap(), folder);
    load(GlueTask::Qnli, &folder).unwrap();
}

#[test]
fn a_download_that_breaks_off_is_taken_up_again() {
    let (server, cache) = (
        HubServer::start(model().that_once(Fault::BreaksOff)),
        tempfile::tempdir().unwrap(),
    );
    let folder = hub(&server, &cache).model("crew/tiny-bert").unwrap();
    assert_eq!(
        fs::read(folder.join("model.safetensors")).unwrap(),
        vec![7; 100_000]
    );
    assert!(server.was_asked_from(50_000));
}

#[test]
fn offline_with_an_empty_cache_says_so() {
    let (server, cache) = (HubServer::start(model()), tempfile::tempdir().unwrap());
    let refusal = offline(&hub(&server, &cache))
        .model("crew/tiny-bert")
        .unwrap_err()
        .to_string();
    assert!(
        refusal.contains("crew/tiny-bert") && refusal.contains("HF_HUB_OFFLINE"),
        "{refusal}"
    );
    assert!(server.requests().is_empty());
}

#[test]
fn an_unknown_name_and_a_model_without_weights_are_told_apart() {
    let bare = Repository::new("models/crew/bare", COMMIT).with("config.json", b"{}".to_vec());
    let (server, cache) = (HubServer::start(bare), tempfile::tempdir().unwrap());
    let refusal = |name: &str| hub(&server, &cache).model(name).unwrap_err().to_string();
    assert!(
        refusal("crew/unknown").contains("is the name right?"),
        "{}",
        refusal("crew/unknown")
    );
    let bare = refusal("crew/bare");
    assert!(
        bare.contains("it has no tokenizer.json; it has config.json"),
        "{bare}"
    );
}

#[test]
fn a_fetch_that_fails_leaves_no_model_in_the_cache() {
    let incomplete = model().without_content("model.safetensors");
    let (server, cache) = (HubServer::start(incomplete), tempfile::tempdir().unwrap());
    let hub = hub(&server, &cache);
    let refusal = hub.model("crew/tiny-bert").unwrap_err().to_string();
    assert!(refusal.contains("model.safetensors"), "{refusal}");
    let main: PathBuf = hub.cache.join("models--crew--tiny-bert/refs/main");
    assert!(!main.exists());
}
