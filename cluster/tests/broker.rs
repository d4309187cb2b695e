//! What a broker promises, with a real server.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod shared;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use regatta_actors::ids::{Digest, JobId};
use regatta_actors::lanes::broker::{Audience, Broker, BrokerError, Claim, Kept, Lease};

use shared::{SHORT_LEASE, Server, connect, job, next, options, retried, text};

#[tokio::test]
async fn a_job_is_given_to_one_lane_and_leaves_the_queue_when_it_is_done() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (coordinator, worker) = (server.coordinator().await, server.worker().await);
    coordinator.submit(job(1), "one".into()).await.unwrap();
    let delivery = worker.next_order().await.unwrap().unwrap();
    assert_eq!((text(&delivery.order), delivery.times), ("one", 1));
    assert_eq!(coordinator.queued().await.unwrap(), [job(1)].into());
    delivery.lease.renew().await.unwrap();
    delivery.lease.done().await.unwrap();
    assert_eq!(coordinator.queued().await.unwrap(), BTreeSet::new());
    // It may be asked for again.
    coordinator.submit(job(1), "again".into()).await.unwrap();
    let again = worker.next_order().await.unwrap().unwrap();
    assert_eq!((text(&again.order), again.times), ("again", 1));
}

#[tokio::test]
async fn a_job_that_is_queued_already_is_not_queued_twice() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (coordinator, worker) = (server.coordinator().await, server.worker().await);
    coordinator.submit(job(1), "first".into()).await.unwrap();
    coordinator.submit(job(1), "second".into()).await.unwrap();
    let delivery = worker.next_order().await.unwrap().unwrap();
    // While it is being done, too.
    coordinator.submit(job(1), "third".into()).await.unwrap();
    assert_eq!(text(&delivery.order), "first");
    delivery.lease.done().await.unwrap();
    assert_eq!(coordinator.queued().await.unwrap(), BTreeSet::new());
}

#[tokio::test]
async fn without_a_job_a_lane_waits_no_longer_than_it_is_told() {
    let Some(server) = Server::start().await else {
        return;
    };
    let _coordinator = server.coordinator().await;
    let mut options = options();
    options.wait = Duration::from_millis(300);
    let worker = connect(&server.worker_file(), options).await;
    assert!(worker.next_order().await.unwrap().is_none());
}

#[tokio::test]
async fn a_lane_that_stops_waiting_takes_no_job_with_it() {
    let Some(server) = Server::start().await else {
        return;
    };
    let mut options = options();
    options.lease = SHORT_LEASE;
    let coordinator = connect(&server.coordinator_file(), options).await;
    coordinator.prepare().await.unwrap();
    let worker = server.worker().await;
    // The server learns a moment later that it stopped; on a slow machine too late for some jobs.
    for client in 0..20 {
        let moment = Duration::from_millis(100);
        let waiting = tokio::time::timeout(moment, worker.next_order()).await;
        assert!(waiting.is_err());
        tokio::time::sleep(moment).await;
        coordinator.submit(job(client), "x".into()).await.unwrap();
        let delivery = worker.next_order().await.unwrap().unwrap();
        delivery.lease.done().await.unwrap();
        if delivery.times == 1 {
            return;
        }
    }
    panic!("every job went to a lane that did not wait");
}

#[tokio::test]
async fn a_job_whose_lease_ends_is_given_out_again_and_one_that_is_given_back_at_once() {
    let Some(server) = Server::start().await else {
        return;
    };
    let mut options = options();
    options.lease = SHORT_LEASE;
    let coordinator = connect(&server.coordinator_file(), options).await;
    coordinator.prepare().await.unwrap();
    let (dead, alive) = (server.worker().await, server.worker().await);
    coordinator.submit(job(1), "one".into()).await.unwrap();
    let first = dead.next_order().await.unwrap().unwrap();
    let second = alive.next_order().await.unwrap().unwrap();
    assert_eq!(second.times, 2);
    second.lease.give_back(Duration::ZERO).await.unwrap();
    let third = alive.next_order().await.unwrap().unwrap();
    assert_eq!((text(&third.order), third.times), ("one", 3));
    third.lease.done().await.unwrap();
    // What comes late does no harm.
    let _ = first.lease.done().await;
    assert_eq!(coordinator.queued().await.unwrap(), BTreeSet::new());
}

#[tokio::test]
async fn a_job_that_is_given_back_for_a_while_keeps_no_other_waiting() {
    let Some(server) = Server::start().await else {
        return;
    };
    let coordinator = connect(&server.coordinator_file(), options()).await;
    coordinator.prepare().await.unwrap();
    let worker = server.worker().await;
    coordinator.submit(job(1), "one".into()).await.unwrap();
    let first = worker.next_order().await.unwrap().unwrap();
    let pause = Duration::from_secs(1);
    let given_back = Instant::now();
    first.lease.give_back(pause).await.unwrap();
    coordinator.submit(job(2), "two".into()).await.unwrap();
    let other = worker.next_order().await.unwrap().unwrap();
    assert_eq!(text(&other.order), "two");
    let again = worker.next_order().await.unwrap().unwrap();
    assert_eq!((text(&again.order), again.times), ("one", 2));
    assert!(given_back.elapsed() >= pause);
}

#[tokio::test]
async fn a_queue_that_is_restarted_gives_out_all_its_jobs() {
    let Some(server) = Server::start().await else {
        return;
    };
    let coordinator = connect(&server.coordinator_file(), options()).await;
    coordinator.prepare().await.unwrap();
    let worker = server.worker().await;
    for client in 1..=2 {
        coordinator.submit(job(client), "x".into()).await.unwrap();
    }
    let held = worker.next_order().await.unwrap().unwrap();
    coordinator.restart_queue().await.unwrap();
    // Whoever held a job finds out that it is held no more.
    let _ = held.lease.done().await;
    for _ in 0..2 {
        let delivery = worker.next_order().await.unwrap().unwrap();
        delivery.lease.done().await.unwrap();
    }
    assert_eq!(coordinator.queued().await.unwrap(), BTreeSet::new());
}

#[tokio::test]
async fn a_lease_that_is_renewed_does_not_end() {
    let Some(server) = Server::start().await else {
        return;
    };
    let mut short = options();
    short.lease = Duration::from_secs(2);
    let coordinator = connect(&server.coordinator_file(), short.clone()).await;
    coordinator.prepare().await.unwrap();
    short.wait = Duration::from_secs(3);
    let (slow, other) = (
        server.worker().await,
        connect(&server.worker_file(), short).await,
    );
    coordinator.submit(job(1), "one".into()).await.unwrap();
    let delivery = slow.next_order().await.unwrap().unwrap();
    let renew = async {
        loop {
            delivery.lease.renew().await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = renew => {}
        another = other.next_order() => assert!(another.unwrap().is_none()),
    }
}

#[tokio::test]
async fn a_withdrawn_job_leaves_the_queue_whether_it_waits_or_is_being_done() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (coordinator, worker) = (server.coordinator().await, server.worker().await);
    for client in 1..=3 {
        coordinator.submit(job(client), "x".into()).await.unwrap();
    }
    let delivery = worker.next_order().await.unwrap().unwrap();
    coordinator.withdraw(job(1)).await.unwrap();
    coordinator.withdraw(job(3)).await.unwrap();
    coordinator.withdraw(job(4)).await.unwrap();
    assert_eq!(coordinator.queued().await.unwrap(), [job(2)].into());
    let _ = delivery.lease.done().await;
    worker
        .next_order()
        .await
        .unwrap()
        .unwrap()
        .lease
        .done()
        .await
        .unwrap();
    assert_eq!(coordinator.queued().await.unwrap(), BTreeSet::new());
}

#[tokio::test]
async fn only_the_first_reply_to_a_job_is_kept_until_it_is_forgotten() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (coordinator, worker) = (server.coordinator().await, server.worker().await);
    assert_eq!(worker.reply(job(1), "a".into()).await.unwrap(), Kept::First);
    assert_eq!(
        worker.reply(job(1), "b".into()).await.unwrap(),
        Kept::Duplicate
    );
    assert_eq!(worker.reply(job(2), "c".into()).await.unwrap(), Kept::First);
    let mut replies = coordinator.replies();
    assert_eq!(next(&mut replies).await, (job(1), "a".into()));
    assert_eq!(next(&mut replies).await, (job(2), "c".into()));
    coordinator.forget_reply(job(1)).await.unwrap();
    assert_eq!(worker.reply(job(1), "d".into()).await.unwrap(), Kept::First);
    assert_eq!(text(&next(&mut replies).await.1), "d");
    // Another coordinator finds all that are kept.
    let mut replies = server.coordinator().await.replies();
    assert_eq!(text(&next(&mut replies).await.1), "c");
    assert_eq!(text(&next(&mut replies).await.1), "d");
    let later = JobId {
        round: job(1).round + 1,
        ..job(1)
    };
    worker.reply(later, "e".into()).await.unwrap();
    let (run, round) = (later.run, job(1).round);
    coordinator.forget_round(run, round).await.unwrap();
    let mut replies = server.coordinator().await.replies();
    assert_eq!(next(&mut replies).await, (later, "e".into()));
}

#[tokio::test]
async fn more_replies_than_a_coordinator_takes_at_once_all_arrive_in_order() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (coordinator, worker) = (server.coordinator().await, server.worker().await);
    let mut replies = coordinator.replies();
    for client in 0..200 {
        let reply = Bytes::from(client.to_string());
        worker.reply(job(client), reply).await.unwrap();
    }
    // One that comes while those that are kept are read may come twice.
    let mut arrived = Vec::new();
    while arrived.len() < 200 {
        let (job, reply) = next(&mut replies).await;
        assert_eq!(text(&reply), job.client.0.to_string());
        if !arrived.contains(&job) {
            arrived.push(job);
        }
    }
    assert!(arrived.is_sorted());
}

#[tokio::test]
async fn replies_arrive_after_a_long_time_without_any() {
    let Some(server) = Server::start().await else {
        return;
    };
    let _coordinator = server.coordinator().await;
    let worker = server.worker().await;
    let mut short = options();
    short.wait = Duration::from_millis(100);
    let mut replies = connect(&server.coordinator_file(), short).await.replies();
    worker.reply(job(1), "a".into()).await.unwrap();
    assert_eq!(text(&next(&mut replies).await.1), "a");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    worker.reply(job(2), "b".into()).await.unwrap();
    // On a slow machine the first may come twice.
    while text(&next(&mut replies).await.1) != "b" {}
}

#[tokio::test]
async fn of_two_coordinators_one_is_told_who_the_other_is() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (ada, bob) = (server.coordinator().await, server.coordinator().await);
    assert_eq!(ada.claim("ada").await.unwrap(), Claim::Granted);
    assert_eq!(bob.claim("bob").await.unwrap(), Claim::HeldBy("ada".into()));
    assert_eq!(ada.claim("ada").await.unwrap(), Claim::Granted);
    // One that does not have it cannot give it up.
    bob.release("bob").await.unwrap();
    assert_eq!(bob.claim("bob").await.unwrap(), Claim::HeldBy("ada".into()));
    ada.release("ada").await.unwrap();
    ada.release("ada").await.unwrap();
    assert_eq!(bob.claim("bob").await.unwrap(), Claim::Granted);
    assert_eq!(ada.claim("ada").await.unwrap(), Claim::HeldBy("bob".into()));
}

#[tokio::test]
async fn of_many_coordinators_at_once_one_gets_the_run() {
    let Some(server) = Server::start().await else {
        return;
    };
    let broker = server.coordinator().await;
    let names: Vec<String> = (0..8).map(|n| n.to_string()).collect();
    let claims = names.iter().map(|name| broker.claim(name));
    let claims = futures_util::future::join_all(claims).await;
    let granted = claims.iter().filter(|claim| **claim == Ok(Claim::Granted));
    assert_eq!(granted.count(), 1, "{claims:?}");
}

#[tokio::test]
async fn a_claim_that_is_not_renewed_ends_by_itself() {
    let Some(server) = Server::start().await else {
        return;
    };
    let mut options = options();
    options.lease = SHORT_LEASE;
    let broker = connect(&server.coordinator_file(), options).await;
    broker.prepare().await.unwrap();
    assert_eq!(broker.claim("ada").await.unwrap(), Claim::Granted);
    let end = tokio::time::Instant::now() + shared::PATIENCE;
    while broker.claim("bob").await.unwrap() != Claim::Granted {
        assert!(tokio::time::Instant::now() < end, "the claim does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn is_refused(got: Result<Option<Bytes>, BrokerError>) {
    let refusal = got.unwrap_err().to_string();
    assert!(refusal.contains("bytes, and may have"), "{refusal}");
}

#[tokio::test]
async fn a_blob_larger_than_a_message_is_stored_once_and_forgotten() {
    let Some(server) = Server::start_with(|s| s.max_payload = 1 << 20).await else {
        return;
    };
    let (coordinator, worker) = (server.coordinator().await, server.worker().await);
    assert!(worker.largest_message() < 1 << 20);
    let blob: Bytes = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    let digest = Digest::of(&blob);
    assert_eq!(worker.get(&digest, u64::MAX).await.unwrap(), None);
    coordinator.put(&digest, blob.clone()).await.unwrap();
    coordinator.put(&digest, blob.clone()).await.unwrap();
    assert_eq!(
        worker.get(&digest, u64::MAX).await.unwrap(),
        Some(blob.clone())
    );
    is_refused(worker.get(&digest, 4_999_999).await);
    coordinator.forget(&digest).await.unwrap();
    assert_eq!(worker.get(&digest, u64::MAX).await.unwrap(), None);
    // A host stores blobs, too; and one without content is one.
    worker.put(&digest, blob.clone()).await.unwrap();
    assert_eq!(
        coordinator.get(&digest, u64::MAX).await.unwrap(),
        Some(blob)
    );
    let nothing = Digest::of(b"");
    worker.put(&nothing, Bytes::new()).await.unwrap();
    assert_eq!(
        coordinator.get(&nothing, 0).await.unwrap(),
        Some(Bytes::new())
    );
}

#[tokio::test]
async fn blobs_in_a_shared_folder_do_not_reach_the_server() {
    let shared = tempfile::tempdir().unwrap();
    let place = shared.path().to_owned();
    let Some(server) = Server::start_with(|s| s.blobs = Some(place)).await else {
        return;
    };
    let (coordinator, worker) = (server.coordinator().await, server.worker().await);
    let blob = Bytes::from_static(b"weights");
    let digest = Digest::of(&blob);
    assert_eq!(worker.get(&digest, u64::MAX).await.unwrap(), None);
    worker.put(&digest, blob.clone()).await.unwrap();
    coordinator.put(&digest, blob.clone()).await.unwrap();
    assert_eq!(
        std::fs::read(shared.path().join("r").join(&digest.0)).unwrap(),
        blob
    );
    assert_eq!(
        coordinator.get(&digest, u64::MAX).await.unwrap(),
        Some(blob.clone())
    );
    is_refused(coordinator.get(&digest, 6).await);
    coordinator.forget(&digest).await.unwrap();
    coordinator.forget(&digest).await.unwrap();
    assert_eq!(worker.get(&digest, u64::MAX).await.unwrap(), None);
    std::fs::remove_dir_all(shared.path().join("r")).unwrap();
    let gone = worker.put(&digest, blob.clone()).await;
    assert!(matches!(gone, Err(BrokerError::Missing(_))), "{gone:?}");
    coordinator.prepare().await.unwrap();
    worker.put(&digest, blob).await.unwrap();
}

#[tokio::test]
async fn a_digest_that_is_a_path_or_a_pattern_is_refused() {
    let Some(server) = Server::start().await else {
        return;
    };
    let broker = server.coordinator().await;
    for text in ["../../etc/passwd", ">", "", &"*".repeat(64)] {
        let got = broker.get(&Digest(text.to_owned()), u64::MAX).await;
        assert!(
            matches!(got, Err(BrokerError::Refused(_))),
            "{text}: {got:?}"
        );
    }
}

#[tokio::test]
async fn notes_and_questions_reach_whom_they_are_for() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (coordinator, worker) = (server.coordinator().await, server.worker().await);
    let mut hosts = worker.notes(Audience::Hosts);
    let mut own = coordinator.notes(Audience::Coordinator);
    // Who listens later hears nothing of what was told before: told until it is heard.
    let heard = tokio::select! {
        note = next(&mut hosts) => note,
        () = tell_for_ever(&coordinator, Audience::Hosts, "to hosts") => unreachable!(),
    };
    assert_eq!(text(&heard), "to hosts");
    let heard = tokio::select! {
        note = next(&mut own) => note,
        () = tell_for_ever(&worker, Audience::Coordinator, "to the coordinator") => unreachable!(),
    };
    assert_eq!(text(&heard), "to the coordinator");

    let mut questions = coordinator.questions();
    let answer = async {
        let question = next(&mut questions).await;
        assert_eq!(text(&question.content), "who?");
        question.answer.send("you".into()).unwrap();
    };
    let (answered, ()) = tokio::join!(worker.ask("who?".into()), answer);
    assert_eq!(answered.unwrap().as_ref().map(text), Some("you"));
}

async fn tell_for_ever(broker: &impl Broker, audience: Audience, note: &'static str) {
    loop {
        broker.tell(audience, note.into()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_question_that_nobody_answers_has_no_answer() {
    let Some(server) = Server::start().await else {
        return;
    };
    let coordinator = server.coordinator().await;
    let mut short = options();
    short.wait = Duration::from_millis(300);
    let worker = connect(&server.worker_file(), short).await;
    // Nobody listens; somebody does, and says nothing.
    assert_eq!(worker.ask("who?".into()).await.unwrap(), None);
    let _questions = coordinator.questions();
    assert_eq!(worker.ask("who?".into()).await.unwrap(), None);
}

#[tokio::test]
async fn runs_do_not_see_each_other_and_one_can_be_removed() {
    let Some(server) = Server::start().await else {
        return;
    };
    let first = server.coordinator().await;
    let mut other = options();
    other.run = "s".into();
    let second = connect(&server.coordinator_file(), other).await;
    second.prepare().await.unwrap();
    first.submit(job(1), "x".into()).await.unwrap();
    second.submit(job(2), "y".into()).await.unwrap();
    assert_eq!(second.queued().await.unwrap(), [job(2)].into());
    first.clear().await.unwrap();
    first.clear().await.unwrap();
    assert!(matches!(first.queued().await, Err(BrokerError::Missing(_))));
    assert_eq!(second.queued().await.unwrap(), [job(2)].into());
}

#[tokio::test]
async fn what_is_missing_is_said_to_be_and_made_again() {
    let Some(server) = Server::start().await else {
        return;
    };
    let coordinator = connect(&server.coordinator_file(), options()).await;
    let worker = server.worker().await;
    let digest = Digest::of(b"blob");
    let missing = |what: &str, error: Option<BrokerError>| {
        assert!(
            matches!(error, Some(BrokerError::Missing(_))),
            "{what}: {error:?}"
        );
    };
    missing("claim", coordinator.claim("ada").await.err());
    missing("release", coordinator.release("ada").await.err());
    missing("submit", coordinator.submit(job(1), "x".into()).await.err());
    missing("withdraw", coordinator.withdraw(job(1)).await.err());
    missing("queued", coordinator.queued().await.err());
    missing("next_order", worker.next_order().await.err());
    missing("reply", worker.reply(job(1), "x".into()).await.err());
    missing("forget_reply", coordinator.forget_reply(job(1)).await.err());
    missing("put", worker.put(&digest, "blob".into()).await.err());
    missing("get", worker.get(&digest, u64::MAX).await.err());
    missing("forget", coordinator.forget(&digest).await.err());
    let mut replies = coordinator.replies();
    assert!(coordinator.prepare().await.unwrap());
    assert!(!coordinator.prepare().await.unwrap());
    retried(|| worker.reply(job(1), "x".into())).await;
    assert_eq!(text(&next(&mut replies).await.1), "x");
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused() {
    let Some(server) = Server::start_with(|s| s.max_payload = 1 << 16).await else {
        return;
    };
    let (coordinator, worker) = (server.coordinator().await, server.worker().await);
    let largest = Bytes::from(vec![0; coordinator.largest_message()]);
    coordinator.submit(job(1), largest.clone()).await.unwrap();
    worker.reply(job(1), largest).await.unwrap();
    let larger = Bytes::from(vec![0; 1 << 17]);
    for error in [
        coordinator.submit(job(2), larger.clone()).await.err(),
        worker.reply(job(2), larger.clone()).await.err(),
        worker
            .tell(Audience::Coordinator, larger.clone())
            .await
            .err(),
        worker.ask(larger).await.err(),
    ] {
        assert!(matches!(error, Some(BrokerError::Refused(_))), "{error:?}");
    }
}
