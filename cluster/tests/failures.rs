//! What happens when the server dies, forgets, or does not allow something.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod shared;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use regatta_actors::ids::Digest;
use regatta_actors::lanes::broker::{Audience, Broker, BrokerError, Claim, Kept, Lease};
use regatta_cluster::{ConnectionEvent, JobLease, NatsBroker, Supervisor, SupervisorError};
use tokio::net::TcpStream;

use shared::{PATIENCE, Server, connect, job, next, options, retried, text};

#[tokio::test]
async fn a_killed_server_is_started_again_with_all_that_it_kept() {
    let Some(server) = Server::start().await else {
        return;
    };
    let events = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&events);
    let observer = move |event| told.lock().unwrap().push(event);
    let file = server.coordinator_file();
    let coordinator = NatsBroker::connect(&file, options(), observer)
        .await
        .unwrap();
    coordinator.prepare().await.unwrap();
    let worker = server.worker().await;
    let mut replies = coordinator.replies();
    let mut notes = worker.notes(Audience::Hosts);
    let blob = Bytes::from_static(b"weights");
    let digest = Digest::of(&blob);
    coordinator.claim("ada").await.unwrap();
    coordinator.put(&digest, blob.clone()).await.unwrap();
    coordinator.submit(job(1), "one".into()).await.unwrap();
    worker.reply(job(2), "two".into()).await.unwrap();
    assert_eq!(text(&next(&mut replies).await.1), "two");
    let delivery = worker.next_order().await.unwrap().unwrap();

    server.kill();
    retried(|| finish(&worker, &delivery.lease)).await;
    assert_eq!(retried(|| coordinator.queued()).await, BTreeSet::new());
    assert_eq!(retried(|| worker.get(&digest, u64::MAX)).await, Some(blob));
    let duplicate = retried(|| worker.reply(job(2), "too late".into())).await;
    assert_eq!(duplicate, Kept::Duplicate);
    retried(|| worker.reply(job(3), "three".into())).await;
    while text(&next(&mut replies).await.1) != "three" {}
    tokio::select! {
        _ = next(&mut notes) => {}
        () = tell_for_ever(&coordinator) => unreachable!(),
    }
    let events = events.lock().unwrap().clone();
    for event in [ConnectionEvent::Connected, ConnectionEvent::Disconnected] {
        assert!(events.contains(&event), "{events:?}");
    }
}

/// Ends a job. The server may have been killed before it had written that it gave the job out; then
/// it gives it out again.
async fn finish(worker: &NatsBroker, lease: &JobLease) -> Result<(), BrokerError> {
    match lease.done().await {
        Err(BrokerError::Missing(_)) => match worker.next_order().await? {
            Some(again) => again.lease.done().await,
            None => Err(BrokerError::Away("nothing is given out again".into())),
        },
        done => done,
    }
}

#[tokio::test]
async fn a_request_that_the_servers_death_interrupts_fails_without_waiting() {
    let Some(server) = Server::start().await else {
        return;
    };
    let _coordinator = server.coordinator().await;
    let mut patient = options();
    patient.wait = PATIENCE * 10;
    let worker = connect(&server.worker_file(), patient).await;
    let waiting = async { tokio::time::timeout(PATIENCE, worker.next_order()).await };
    let killing = async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        server.kill();
    };
    let (waited, ()) = tokio::join!(waiting, killing);
    let error = waited.unwrap().unwrap_err();
    assert!(matches!(error, BrokerError::Away(_)), "{error}");
}

#[tokio::test]
async fn a_server_that_lost_all_is_filled_again() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (coordinator, worker) = (server.coordinator().await, server.worker().await);
    let mut replies = coordinator.replies();
    coordinator.submit(job(1), "one".into()).await.unwrap();
    worker.reply(job(1), "before".into()).await.unwrap();
    assert_eq!(text(&next(&mut replies).await.1), "before");
    let delivery = worker.next_order().await.unwrap().unwrap();

    std::fs::remove_dir_all(server.settings.folder.join("jetstream")).unwrap();
    server.kill();
    let end = tokio::time::Instant::now() + PATIENCE;
    let error = loop {
        match coordinator.submit(job(1), "one".into()).await {
            Err(BrokerError::Away(_)) => {
                assert!(tokio::time::Instant::now() < end, "it does not come back");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            other => break other,
        }
    };
    assert!(matches!(error, Err(BrokerError::Missing(_))), "{error:?}");
    let lost = delivery.lease.done().await;
    assert!(matches!(lost, Err(BrokerError::Missing(_))), "{lost:?}");
    retried(|| coordinator.prepare()).await;
    retried(|| coordinator.submit(job(1), "one".into())).await;
    assert_eq!(coordinator.claim("ada").await.unwrap(), Claim::Granted);
    let delivery = retried(|| worker.next_order()).await.unwrap();
    assert_eq!(text(&delivery.order), "one");
    assert_eq!(
        worker.reply(job(1), "after".into()).await.unwrap(),
        Kept::First
    );
    while text(&next(&mut replies).await.1) != "after" {}
}

#[tokio::test]
async fn a_deleted_run_is_missing_to_a_lane_that_waits_for_a_job() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (coordinator, worker) = (server.coordinator().await, server.worker().await);
    let removing = async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        coordinator.clear().await.unwrap();
    };
    let (waited, ()) = tokio::join!(worker.next_order(), removing);
    let error = waited.unwrap_err();
    assert!(matches!(error, BrokerError::Missing(_)), "{error}");
}

#[tokio::test]
async fn an_upload_that_was_interrupted_is_completed_by_the_next() {
    let Some(server) = Server::start_with(|s| s.max_payload = 1 << 16).await else {
        return;
    };
    let (coordinator, worker) = (server.coordinator().await, server.worker().await);
    let blob: Bytes = (0..8_000_000_u32).map(|n| (n % 253) as u8).collect();
    let digest = Digest::of(&blob);
    let put = worker.put(&digest, blob.clone());
    let cut = tokio::time::timeout(std::time::Duration::from_millis(20), put).await;
    if cut.is_err() {
        assert_eq!(coordinator.get(&digest, u64::MAX).await.unwrap(), None);
    }
    worker.put(&digest, blob.clone()).await.unwrap();
    assert_eq!(
        coordinator.get(&digest, u64::MAX).await.unwrap(),
        Some(blob)
    );
}

#[tokio::test]
async fn a_host_may_not_do_what_is_the_coordinators() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (coordinator, worker) = (server.coordinator().await, server.worker().await);
    let digest = Digest::of(b"blob");
    coordinator.put(&digest, "blob".into()).await.unwrap();
    coordinator.submit(job(1), "one".into()).await.unwrap();
    let refused = |what: &str, error: Option<BrokerError>| {
        assert!(
            matches!(error, Some(BrokerError::Refused(_))),
            "{what}: {error:?}"
        );
    };
    refused("prepare", worker.prepare().await.err());
    refused("claim", worker.claim("ada").await.err());
    refused("submit", worker.submit(job(2), "x".into()).await.err());
    refused("withdraw", worker.withdraw(job(1)).await.err());
    refused("queued", worker.queued().await.err());
    refused("forget_reply", worker.forget_reply(job(1)).await.err());
    refused("forget", worker.forget(&digest).await.err());
    refused("clear", worker.clear().await.err());
    assert_eq!(coordinator.queued().await.unwrap(), [job(1)].into());
    assert_eq!(coordinator.claim("ada").await.unwrap(), Claim::Granted);
    // Nor speak in its name to other hosts, or hear what hosts tell it.
    let mut hosts = server.worker().await.notes(Audience::Hosts);
    let mut overheard = worker.notes(Audience::Coordinator);
    worker.tell(Audience::Hosts, "false".into()).await.unwrap();
    worker
        .tell(Audience::Coordinator, "true".into())
        .await
        .unwrap();
    let heard = tokio::select! {
        note = next(&mut hosts) => note,
        () = tell_for_ever(&coordinator) => unreachable!(),
    };
    assert_eq!(text(&heard), "true");
    assert!(overheard.try_recv().is_err());
}

async fn tell_for_ever(broker: &impl Broker) {
    loop {
        broker.tell(Audience::Hosts, "true".into()).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_restart_of_the_supervisor_keeps_secrets_and_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut settings) = shared::settings(folder.path()) else {
        return;
    };
    settings.tls = true;
    let supervisor = Supervisor::start(&settings).await.unwrap();
    let file = regatta_cluster::ClusterFile::load(supervisor.cluster_file()).unwrap();
    let worker_file = regatta_cluster::ClusterFile::load(supervisor.worker_file()).unwrap();
    assert_ne!(file.password, worker_file.password);
    let coordinator = connect(&file, options()).await;
    coordinator.prepare().await.unwrap();
    coordinator.submit(job(1), "one".into()).await.unwrap();
    supervisor.stop().await;
    let away = coordinator.queued().await;
    assert!(matches!(away, Err(BrokerError::Away(_))), "{away:?}");

    settings.names = vec!["localhost".into()];
    let supervisor = Supervisor::start(&settings).await.unwrap();
    assert_eq!(retried(|| coordinator.queued()).await, [job(1)].into());
    let again = regatta_cluster::ClusterFile::load(supervisor.cluster_file()).unwrap();
    assert_eq!((&again.password, &again.ca), (&file.password, &file.ca));
    assert!(
        again.urls[0].starts_with("tls://localhost:"),
        "{:?}",
        again.urls
    );
    supervisor.stop().await;
}

#[tokio::test]
async fn a_folder_has_one_supervisor_which_ends_the_server_of_a_killed_one() {
    let folder = tempfile::tempdir().unwrap();
    let Some(settings) = shared::settings(folder.path()) else {
        return;
    };
    let supervisor = Supervisor::start(&settings).await.unwrap();
    let error = Supervisor::start(&settings).await.unwrap_err();
    assert!(matches!(error, SupervisorError::InUse { .. }), "{error}");
    supervisor.stop().await;

    // As a supervisor leaves it that was killed.
    let configuration = folder
        .path()
        .canonicalize()
        .unwrap()
        .join("nats-server.conf");
    for listens in [true, false] {
        let mut orphan = std::process::Command::new(settings.program.as_ref().unwrap())
            .arg("--config")
            .arg(&configuration)
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let reached = async || TcpStream::connect(settings.listen).await.is_ok();
        while listens && !reached().await {
            assert!(orphan.try_wait().unwrap().is_none());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let ending = tokio::task::spawn_blocking(move || orphan.wait().unwrap());
        let supervisor = Supervisor::start(&settings).await.unwrap();
        ending.await.unwrap();
        supervisor.stop().await;
    }
}
