//! The server's files: its configuration, and the cluster files of those that may use it.

use std::io;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};

use super::certificate::{self, Certificate};
use super::error::SupervisorError;
use super::settings::Settings;
use crate::config::{ClusterFile, ConfigError, Secret, write_private};
use crate::names::LANES;

/// What the coordinator logs in as. It may do everything.
const COORDINATOR: &str = "coordinator";
/// What hosts log in as.
const WORKER: &str = "worker";

/// The server's files, written.
pub(super) struct Configuration {
    /// The server's own.
    pub(super) path: PathBuf,
    pub(super) cluster_file: PathBuf,
    pub(super) worker_file: PathBuf,
}

impl Configuration {
    /// Writes them. Secrets that are there stay.
    pub(super) fn write(settings: &Settings, folder: &Path) -> Result<Self, SupervisorError> {
        let cluster_file = folder.join("cluster.toml");
        let worker_file = folder.join("worker.toml");
        let ca = if settings.tls {
            Some(certificate(settings, folder)?)
        } else {
            None
        };
        let coordinator = file(settings, &cluster_file, COORDINATOR, ca.clone())?;
        let worker = file(settings, &worker_file, WORKER, ca)?;
        let path = folder.join("nats-server.conf");
        let text = server_configuration(settings, folder, &coordinator, &worker);
        write(&path, &text)?;
        Ok(Self {
            path,
            cluster_file,
            worker_file,
        })
    }
}

/// Makes the server's folder, and gives its whole path: the server runs with its own working
/// directory.
pub(super) fn make_folder(folder: &Path) -> Result<PathBuf, SupervisorError> {
    let made = std::fs::create_dir_all(folder).and_then(|()| folder.canonicalize());
    made.map_err(|error| file_error(folder, error))
}

/// Writes a cluster file for a user, with the password that it had if it was there.
fn file(
    settings: &Settings,
    path: &Path,
    user: &str,
    ca: Option<String>,
) -> Result<ClusterFile, SupervisorError> {
    let old = if path.exists() {
        Some(ClusterFile::load(path)?)
    } else {
        None
    };
    let password = match old.and_then(|old| old.password) {
        Some(password) => password,
        None => new_password().map_err(|error| file_error(path, error))?,
    };
    let file = ClusterFile {
        urls: vec![url(settings)],
        user: Some(user.into()),
        password: Some(password),
        token: None,
        blobs: settings.blobs.clone(),
        ca,
    };
    file.save(path)?;
    Ok(file)
}

fn url(settings: &Settings) -> String {
    let scheme = if settings.tls { "tls" } else { "nats" };
    let port = settings.listen.port();
    match settings.names.first() {
        Some(name) => format!("{scheme}://{name}:{port}"),
        None => format!("{scheme}://{}", settings.listen),
    }
}

fn new_password() -> io::Result<Secret> {
    let mut bytes = [0; 24];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| io::Error::other("the system gives no random numbers for a password"))?;
    Ok(Secret::new(
        bytes.map(|byte| format!("{byte:02x}")).concat(),
    ))
}

/// Writes the server's certificate; gives the one that signed it.
fn certificate(settings: &Settings, folder: &Path) -> Result<String, SupervisorError> {
    let mut names = settings.names.clone();
    names.extend(["localhost".into(), "127.0.0.1".into()]);
    if !settings.listen.ip().is_unspecified() {
        names.push(settings.listen.ip().to_string());
    }
    let failed = |error: rcgen::Error| SupervisorError::Certificate {
        names: names.join(", "),
        reason: error.to_string(),
    };
    let key_path = folder.join("authority.key");
    let authority_path = folder.join("authority.pem");
    let key = match read(&key_path)? {
        Some(key) => key,
        None => {
            let key = certificate::new_key().map_err(failed)?;
            write(&key_path, &key)?;
            key
        }
    };
    let authority = read(&authority_path)?;
    let signed = certificate::sign(&key, authority, &names).map_err(failed)?;
    let Certificate {
        certificate,
        key,
        authority,
    } = signed;
    write(&authority_path, &authority)?;
    write(&folder.join("server.pem"), &certificate)?;
    write(&folder.join("server.key"), &key)?;
    Ok(authority)
}

/// Texts are written as JSON has them, which the server's format reads.
fn server_configuration(
    settings: &Settings,
    folder: &Path,
    coordinator: &ClusterFile,
    worker: &ClusterFile,
) -> String {
    let text = |path: PathBuf| serde_json::Value::from(path.display().to_string()).to_string();
    let listen = settings.listen;
    // It makes a folder `jetstream` there.
    let store = text(folder.to_owned());
    let tls = if settings.tls {
        let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
        format!(
            "tls {{ cert_file: {}, key_file: {} }}\n",
            text(certificate),
            text(key)
        )
    } else {
        String::new()
    };
    let memory = settings.memory / 4;
    let Settings {
        disk, max_payload, ..
    } = settings;
    format!(
        "listen: \"{listen}\"\n\
         max_payload: {max_payload}\n\
         jetstream {{ store_dir: {store}, max_memory_store: {memory}, max_file_store: {disk} }}\n\
         {tls}\
         authorization {{\n  users: [\n    {}\n    {}\n  ]\n}}\n",
        user(coordinator, ""),
        user(worker, &worker_permissions()),
    )
}

fn user(file: &ClusterFile, permissions: &str) -> String {
    let user = file.user.as_deref().unwrap_or_default();
    let password = file.password.as_ref().map_or("", Secret::reveal);
    format!("{{ user: \"{user}\", password: \"{password}\"{permissions} }}")
}

/// What hosts need: to take jobs and say what becomes of them, to reply, to read and store blobs, to
/// speak with the coordinator. Names of streams and consumers are single words of a subject, so
/// that these hold for every run.
fn worker_permissions() -> String {
    let publish = [
        format!("$JS.API.CONSUMER.MSG.NEXT.*.{LANES}"),
        format!("$JS.ACK.*.{LANES}.>"),
        // With a domain and the account before the stream.
        format!("$JS.ACK.*.*.*.{LANES}.>"),
        "$JS.API.DIRECT.GET.*.rg.*.blob.>".into(),
        "rg.*.done.*.*.*.*".into(),
        "rg.*.blob.>".into(),
        "rg.*.note.coordinator".into(),
        "rg.*.ask".into(),
    ];
    let subscribe = [format!("_INBOX_{WORKER}.>"), "rg.*.note.hosts".into()];
    format!(
        ", permissions: {{ publish: {{ allow: [{}] }}, subscribe: {{ allow: [{}] }} }}",
        quoted(&publish),
        quoted(&subscribe)
    )
}

fn quoted(subjects: &[String]) -> String {
    let quoted: Vec<String> = subjects.iter().map(|s| format!("\"{s}\"")).collect();
    quoted.join(", ")
}

fn read(path: &Path) -> Result<Option<String>, SupervisorError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_error(path, error)),
    }
}

fn write(path: &Path, text: &str) -> Result<(), SupervisorError> {
    write_private(path, text).map_err(|error| file_error(path, error))
}

/// An error of a file in the server's folder.
pub(super) fn file_error(path: &Path, error: io::Error) -> SupervisorError {
    ConfigError::File {
        path: path.to_owned(),
        error,
    }
    .into()
}
