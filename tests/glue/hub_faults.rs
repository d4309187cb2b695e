//! A hub, or whoever answers in its place, that sends what it should not.

use regatta::tasks::glue::hub::dataset;
use std::fs;
use std::path::{Path, PathBuf};

use regatta::base::hub::Hub;
use regatta::tasks::glue::task::GlueTask;

use crate::hub::{COMMIT, hub, model};
use crate::hub_repository::{Fault, Repository};
use crate::hub_server::HubServer;

const NAME: &str = "crew/tiny-bert";
static WEIGHTS: [u8; 100_000] = [7; 100_000];

/// The server of a model with weights that are distinguished by their place, and a cache.
struct Setting {
    server: HubServer,
    dir: tempfile::TempDir,
    etag: String,
}

impl Setting {
    fn new(repository: Repository) -> Self {
        let etag = repository.etag("model.safetensors");
        Self {
            server: HubServer::start(repository),
            dir: tempfile::tempdir().unwrap(),
            etag,
        }
    }

    fn hub(&self) -> Hub {
        hub(&self.server, &self.dir)
    }

    fn blobs(&self) -> PathBuf {
        self.dir.path().join("hub/models--crew--tiny-bert/blobs")
    }

    fn partial(&self) -> PathBuf {
        self.blobs().join(format!("{}.incomplete", self.etag))
    }

    fn with_partial(self, content: &[u8]) -> Self {
        fs::create_dir_all(self.blobs()).unwrap();
        fs::write(self.partial(), content).unwrap();
        self
    }

    #[track_caller]
    fn assert_fetched(&self) {
        let folder = self.hub().model(NAME).unwrap();
        let found = fs::read(folder.join("model.safetensors")).unwrap();
        assert!(found == WEIGHTS);
        assert!(!self.partial().exists());
    }

    /// The refusal, after which the cache has no model and no part of its weights.
    #[track_caller]
    fn refusal(&self) -> String {
        let refusal = self.hub().model(NAME).unwrap_err().to_string();
        let main = self.blobs().with_file_name("refs/main");
        assert!(!main.exists());
        assert!(!self.blobs().join(&self.etag).exists());
        refusal
    }
}

#[test]
fn a_partial_file_is_taken_up_where_it_ends() {
    let setting = Setting::new(model()).with_partial(&WEIGHTS[..30_000]);
    setting.assert_fetched();
    assert!(setting.server.was_asked_from(30_000));
}

#[test]
fn a_partial_file_that_does_not_fit_is_fetched_again() {
    let wrong = [8; 30_000];
    let long = [7; 100_001];
    for content in [&wrong[..], &long, &[8; 100_000]] {
        Setting::new(model()).with_partial(content).assert_fetched();
    }
    for fault in [Fault::IgnoresRange, Fault::DeniesRange, Fault::ShiftsRange] {
        let server = model().that(fault);
        Setting::new(server)
            .with_partial(&WEIGHTS[..30_000])
            .assert_fetched();
    }
}

#[test]
fn content_with_another_digest_is_fetched_again_and_never_taken() {
    Setting::new(model().that_once(Fault::Corrupts)).assert_fetched();
    let setting = Setting::new(model().that(Fault::Corrupts));
    let refusal = setting.refusal();
    assert!(
        refusal.contains("model.safetensors") && refusal.contains(&setting.etag),
        "{refusal}"
    );
    assert!(!setting.partial().exists());
}

#[test]
fn more_than_was_announced_is_not_written() {
    let setting = Setting::new(model().that(Fault::SendsMore));
    let refusal = setting.refusal();
    assert!(refusal.contains("100000 bytes"), "{refusal}");
}

#[test]
fn a_length_that_is_another_or_not_said_is_refused() {
    for (fault, part) in [
        (Fault::SaysLength(99_999), "99999"),
        (Fault::SaysLength(1 << 60), "1152921504606846976"),
        (Fault::SaysNoLength, "has no length"),
    ] {
        let refusal = Setting::new(model().that(fault)).refusal();
        assert!(refusal.contains(part), "{refusal}");
    }
}

#[test]
fn a_blob_in_the_cache_with_other_content_is_fetched_again() {
    let setting = Setting::new(model());
    fs::create_dir_all(setting.blobs()).unwrap();
    fs::write(setting.blobs().join(&setting.etag), [8; 100_000]).unwrap();
    setting.assert_fetched();
}

/// All files below a folder, without following links.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn a_tag_or_commit_that_is_a_path_is_refused_and_nothing_written() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("profile");
    fs::write(&target, "as it was").unwrap();
    let target = target.to_str().unwrap();
    let long = "a".repeat(300);
    for tag in [target, "../../x", "..", "a/b", "a\\b", "", &long] {
        let setting = Setting::new(model().that(Fault::Tag(tag.to_owned())));
        let refusal = setting.hub().model(NAME).unwrap_err().to_string();
        assert!(refusal.contains("ETag"), "{refusal}");
    }
    for commit in [target, "../..", "main", "0123", &long] {
        let setting = Setting::new(model().that(Fault::Commit(commit.to_owned())));
        let refusal = setting.hub().model(NAME).unwrap_err().to_string();
        assert!(refusal.contains("commit"), "{refusal}");

        let listed = Repository::new("models/crew/tiny-bert", commit);
        let refusal = Setting::with_listing(listed).unwrap_err();
        assert!(refusal.contains("commit"), "{refusal}");
    }
    assert_eq!(fs::read_to_string(target).unwrap(), "as it was");
    assert_eq!(files(outside.path()).len(), 1);
}

impl Setting {
    /// What comes of a model of which all files are listed.
    fn with_listing(repository: Repository) -> Result<PathBuf, String> {
        let listed = ["config.json", "tokenizer.json", "model.safetensors"];
        let repository = listed.into_iter().fold(repository, |repository, file| {
            repository.with_large(file, WEIGHTS.to_vec())
        });
        let setting = Self::new(repository);
        let done = setting.hub().model(NAME).map_err(|it| it.to_string());
        assert!(done.is_ok() || !setting.dir.path().join("hub").exists());
        done
    }
}

#[test]
fn a_listed_file_that_leads_elsewhere_ends_the_fetch_before_its_first_file() {
    let long = format!("rte/{}.parquet", "a".repeat(300));
    for name in [
        "rte/../../../../../../../../planted.parquet",
        "rte//etc/planted.parquet",
        "rte/a\\..\\planted.parquet",
        "rte/a\0.parquet",
        "rte/a\u{1b}[2J.parquet",
        &long,
    ] {
        let repository = Repository::new("datasets/nyu-mll/glue", COMMIT)
            .with_large("rte/train-00000-of-00001.parquet", vec![1])
            .with_large(name, vec![1]);
        let (server, dir) = (HubServer::start(repository), tempfile::tempdir().unwrap());
        let refusal = dataset(&hub(&server, &dir), GlueTask::Rte).unwrap_err();
        let refusal = refusal.to_string();
        assert!(refusal.contains("leads elsewhere"), "{refusal}");
        assert!(!refusal.contains(['\0', '\u{1b}']), "{refusal}");
        assert!(files(dir.path()).is_empty() && server.requests().len() == 1);
    }
}

#[test]
fn a_link_that_leads_out_of_the_cache_is_not_written_through() {
    let setting = Setting::new(model());
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("profile");
    fs::write(&target, "as it was").unwrap();
    let snapshot = setting.blobs().with_file_name("snapshots").join(COMMIT);
    for folder in [setting.blobs(), snapshot.clone()] {
        fs::create_dir_all(folder).unwrap();
    }
    // Where the partial file, the blob and the file of the snapshot would be.
    let nowhere = outside.path().join("nowhere");
    std::os::unix::fs::symlink(&target, setting.partial()).unwrap();
    std::os::unix::fs::symlink(&target, setting.blobs().join(&setting.etag)).unwrap();
    std::os::unix::fs::symlink(&nowhere, snapshot.join("model.safetensors")).unwrap();
    setting.assert_fetched();
    assert_eq!(fs::read_to_string(&target).unwrap(), "as it was");
    assert_eq!(files(outside.path()).len(), 1);
}

#[test]
fn the_token_goes_to_no_other_host_than_the_hubs() {
    let storage = HubServer::start(model());
    let setting = Setting::new(model().that(Fault::Location(storage.address())));
    setting.assert_fetched();
    let with_token = |server: &HubServer| {
        let requests = server.requests().into_iter();
        requests
            .map(|it| it.authorization.is_some())
            .collect::<Vec<_>>()
    };
    assert!(with_token(&setting.server).iter().all(|it| *it));
    assert_eq!(with_token(&storage), [false]);
}

#[test]
fn a_redirect_to_what_is_no_web_address_is_not_followed() {
    for location in ["file://", "ftp://127.0.0.1", "https://a:b@127.0.0.1"] {
        let setting = Setting::new(model().that(Fault::Location(location.to_owned())));
        let refusal = setting.refusal();
        assert!(refusal.contains("not followed"), "{refusal}");
    }
}

#[test]
fn a_redirect_without_end_ends() {
    let refusal = Setting::new(model().that(Fault::Circles)).refusal();
    assert!(refusal.contains("too many redirects"), "{refusal}");
}

#[test]
fn a_name_that_is_none_of_the_hubs_is_refused_without_asking() {
    let setting = Setting::new(model());
    for name in ["no/such/folder", "../x", "a b", "", "./model", "/abs/olute"] {
        let refusal = setting.hub().model(name).unwrap_err().to_string();
        assert!(refusal.contains("no such folder"), "{refusal}");
    }
    assert!(setting.server.requests().is_empty());
}
