//! Connecting: to the right server, and to all kinds of wrong ones.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod shared;

use regatta_actors::lanes::broker::Broker;
use regatta_cluster::{ClusterFile, ConnectError, NatsBroker, Options, Secret, Settings};
use regatta_cluster::{Supervisor, SupervisorError};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use shared::{Server, connect, free_address, job, options};

/// A file for a server without secrets.
fn file(address: impl std::fmt::Display) -> ClusterFile {
    ClusterFile {
        urls: vec![format!("nats://{address}")],
        user: None,
        password: None,
        token: None,
        blobs: None,
        ca: None,
    }
}

async fn error(file: &ClusterFile) -> ConnectError {
    NatsBroker::connect(file, options(), |_| {})
        .await
        .unwrap_err()
}

/// A server that says this to whoever connects, and then nothing.
async fn impostor(words: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((mut connection, _)) = listener.accept().await {
            connection.write_all(words.as_bytes()).await.unwrap();
            connections.push(connection);
        }
    });
    address
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_named_and_may_be_tried_again() {
    let address = free_address();
    let error = error(&file(address)).await;
    assert!(
        matches!(error, ConnectError::Unreachable { .. }),
        "{error:?}"
    );
    assert!(error.may_pass());
    let text = error.to_string();
    assert!(text.contains(&address.to_string()), "{text}");
    assert!(text.contains("`regatta broker`"), "{text}");
}

#[tokio::test]
async fn a_name_that_nobody_has_is_unreachable() {
    let error = error(&file("no-such-host.invalid:4222")).await;
    assert!(
        matches!(error, ConnectError::Unreachable { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_server_of_another_kind_is_refused() {
    for words in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
    ] {
        let address = impostor(words).await;
        let error = error(&file(address)).await;
        assert!(
            matches!(error, ConnectError::NotNats { .. }),
            "{words:?}: {error:?}"
        );
        assert!(!error.may_pass());
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for_long() {
    let error = error(&file(impostor("").await)).await;
    assert!(
        matches!(error, ConnectError::Unreachable { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_server_that_is_too_old_or_keeps_nothing_is_refused() {
    // As a server introduces itself; the answer to the first ping is with it.
    let old =
        "INFO {\"version\":\"2.9.10\",\"max_payload\":1048576,\"jetstream\":true}\r\nPONG\r\n";
    let error_of_old = error(&file(impostor(old).await)).await;
    assert!(
        matches!(error_of_old, ConnectError::TooOld { .. }),
        "{error_of_old:?}"
    );
    let text = error_of_old.to_string();
    assert!(
        text.contains("2.9.10, but 2.11 or newer is needed"),
        "{text}"
    );
    let plain = "INFO {\"version\":\"2.15.1\",\"max_payload\":1048576}\r\nPONG\r\n";
    let error = error(&file(impostor(plain).await)).await;
    assert!(
        matches!(error, ConnectError::NoJetStream { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_wrong_secret_is_refused() {
    let Some(server) = Server::start().await else {
        return;
    };
    let right = server.worker_file();
    let password = ClusterFile {
        password: Some(Secret::new("guessed")),
        ..right.clone()
    };
    let token = ClusterFile {
        user: None,
        password: None,
        token: Some(Secret::new("guessed")),
        ..right.clone()
    };
    let none = ClusterFile {
        user: None,
        password: None,
        ..right
    };
    for (file, who) in [
        (password, "user worker"),
        (token, "the token"),
        (none, "a login without"),
    ] {
        let error = error(&file).await;
        assert!(
            matches!(error, ConnectError::WrongSecret { .. }),
            "{error:?}"
        );
        assert!(
            error.to_string().contains(&format!("refuses {who}")),
            "{error}"
        );
        assert!(!error.to_string().contains("guessed"), "{error}");
    }
}

#[tokio::test]
async fn over_tls_the_brokers_own_certificate_is_trusted_and_no_other() {
    let Some(server) = Server::start_with(|s| s.tls = true).await else {
        return;
    };
    let Some(other) = Server::start_with(|s| s.tls = true).await else {
        return;
    };
    let right = server.coordinator_file();
    let broker = connect(&right, options()).await;
    broker.prepare().await.unwrap();
    broker.submit(job(1), "one".into()).await.unwrap();
    assert_eq!(broker.queued().await.unwrap(), [job(1)].into());
    for ca in [other.coordinator_file().ca, None] {
        let wrong = ClusterFile {
            ca,
            ..right.clone()
        };
        let error = error(&wrong).await;
        assert!(
            matches!(error, ConnectError::Certificate { .. }),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_server_for_other_machines_is_reached_by_its_name_over_tls() {
    let open = |settings: &mut Settings| {
        let listen = ([0, 0, 0, 0], settings.listen.port()).into();
        let defaults = Settings::new(&settings.folder, listen);
        settings.listen = defaults.listen;
        settings.tls = defaults.tls;
        settings.names = vec!["localhost".into()];
    };
    let Some(server) = Server::start_with(open).await else {
        return;
    };
    let file = server.worker_file();
    assert!(file.urls[0].starts_with("tls://localhost:"), "{file:?}");
    assert!(file.ca.is_some());
    server
        .coordinator()
        .await
        .submit(job(1), "one".into())
        .await
        .unwrap();
    assert!(
        connect(&file, options())
            .await
            .next_order()
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_server_without_tls_is_not_spoken_to_when_tls_is_demanded() {
    let Some(plain) = Server::start().await else {
        return;
    };
    let Some(encrypted) = Server::start_with(|s| s.tls = true).await else {
        return;
    };
    let file = ClusterFile {
        ca: encrypted.coordinator_file().ca,
        ..plain.coordinator_file()
    };
    let error = error(&file).await;
    assert!(!error.may_pass(), "{error:?}");
}

#[tokio::test]
async fn a_ca_that_is_no_certificate_and_a_run_that_is_no_name_are_refused() {
    let broken = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    for ca in ["", "certificate", broken] {
        let file = ClusterFile {
            ca: Some(ca.into()),
            ..file(free_address())
        };
        let error = error(&file).await;
        assert!(
            matches!(error, ConnectError::Settings(_)),
            "{ca:?}: {error:?}"
        );
    }
    let options = Options::new("a.b", "test");
    let error = NatsBroker::connect(&file(free_address()), options, |_| {}).await;
    assert!(matches!(error, Err(ConnectError::Settings(_))));
}

#[tokio::test]
async fn listening_beyond_this_machine_needs_tls_and_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::new(folder.path(), ([0, 0, 0, 0], 4222).into());
    assert!(settings.tls);
    let no_name = Supervisor::start(&settings).await.unwrap_err();
    assert!(matches!(no_name, SupervisorError::NoName(_)), "{no_name}");
    settings.names = vec!["node7".into()];
    settings.tls = false;
    let open = Supervisor::start(&settings).await.unwrap_err();
    assert!(matches!(open, SupervisorError::Open(_)), "{open}");
}

#[tokio::test]
async fn a_program_that_is_missing_old_or_no_server_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::new(folder.path().join("broker"), free_address());
    let program = folder.path().join("nats-server");
    settings.program = Some(program.clone());
    let missing = Supervisor::start(&settings).await.unwrap_err();
    assert!(
        matches!(missing, SupervisorError::NotFound { .. }),
        "{missing}"
    );
    for (script, part) in [
        (
            "#!/bin/sh\necho nats-server: v2.9.10\n",
            "it is of version v2.9.10",
        ),
        ("#!/bin/sh\n", "it does not tell its version"),
    ] {
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let unfit = Supervisor::start(&settings).await.unwrap_err().to_string();
        assert!(unfit.contains(part), "{unfit}");
        assert!(unfit.contains("2.11 or newer is needed"), "{unfit}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why_in_its_last_words() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut settings) = shared::settings(folder.path()) else {
        return;
    };
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    settings.listen = taken.local_addr().unwrap();
    let error = Supervisor::start(&settings).await.unwrap_err().to_string();
    assert!(error.contains("address already in use"), "{error}");
}

#[tokio::test]
async fn a_server_that_dies_again_and_again_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let Some(settings) = shared::settings(folder.path()) else {
        return;
    };
    let supervisor = Supervisor::start(&settings).await.unwrap();
    let first = supervisor.process_id().unwrap();
    // What it is started with from now on is not a configuration.
    std::fs::write(settings.folder.join("nats-server.conf"), "nonsense: {").unwrap();
    let first = rustix::process::Pid::from_raw(first.cast_signed()).unwrap();
    rustix::process::kill_process(first, rustix::process::Signal::KILL).unwrap();
    let given_up = tokio::time::timeout(
        shared::PATIENCE,
        supervisor.run_until(std::future::pending()),
    );
    let error = given_up.await.unwrap().unwrap_err();
    assert!(matches!(error, SupervisorError::Dead { .. }), "{error}");
    assert!(error.to_string().contains("Parse error"), "{error}");
}
