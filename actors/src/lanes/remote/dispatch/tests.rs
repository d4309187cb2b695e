//! Which orders jobs are queued by, whatever comes of them.

use super::*;
use crate::ids::{ClientId, LaneId};
use crate::lanes::remote::wanted::Together;
use crate::lanes::wire::{Content, JobOutcome};
use crate::plan::fault::injection::{Interruption, InterruptionKind};
use crate::protocol::job::{JobFaults, Work};

fn job(client: u32) -> JobId {
    JobId {
        run: RunId(1),
        round: 1,
        client: ClientId(client),
        attempt: 0,
    }
}

fn host(name: &str) -> HostId {
    HostId(name.into())
}

/// A dispatch in which these clients' jobs are asked for, of those that are trained together.
fn asked(together: &[u32], clients: &[u32], verified: VerifiedShare) -> Dispatch<()> {
    let mut dispatch = Dispatch::new(verified);
    let together = together
        .iter()
        .map(|client| (ClientId(*client), "c".into()));
    let together: Together = together.collect();
    for client in clients {
        let asked = AskedJob {
            id: job(*client),
            faults: faults(*client),
            state: Digest::of(b"state"),
            together: together.clone(),
        };
        assert!(dispatch.ask(asked, oneshot::channel().0).is_none());
    }
    dispatch
}

/// Others for each client.
fn faults(client: u32) -> JobFaults {
    JobFaults {
        interruption: Some(Interruption {
            at: f64::from(client),
            kind: InterruptionKind::Crash,
        }),
        corruption: None,
    }
}

/// Queues what is to be queued. Gives for each order the clients that it is for, and whom it names.
fn submit(dispatch: &mut Dispatch<()>) -> Vec<(Vec<u32>, Vec<u32>)> {
    let orders = dispatch.to_submit(100);
    orders.iter().for_each(|order| dispatch.submitted(order));
    let named = |order: &JobOrder| {
        let jobs = order.jobs().map(|job| job.client.0).collect();
        (
            jobs,
            order.clients.iter().map(|client| client.0.0).collect(),
        )
    };
    orders.iter().map(named).collect()
}

/// A host's reply to a client's job, as it is judged where these hosts take jobs.
fn judge(
    dispatch: &mut Dispatch<()>,
    (on, client): (&str, u32),
    outcome: JobOutcome,
    hosts: &[&str],
) -> Verdict {
    let hosts: Vec<HostId> = hosts.iter().map(|name| host(name)).collect();
    let reply = JobReply {
        id: job(client),
        state: Digest::of(b"state"),
        host: host(on),
        lane: LaneId(0),
        canary: Digest::of(&[]),
        // Each reply is another.
        seconds: dispatch
            .jobs
            .get(&job(client))
            .map_or(0.0, |job| job.replies.len() as f64),
        work: Work::default(),
        outcome,
    };
    dispatch.judge(&reply, true, &hosts.iter().collect::<Vec<_>>())
}

fn trained() -> JobOutcome {
    JobOutcome::Trained {
        loss: 0.0,
        examples: 1,
        steps: 1,
        digest: Digest::of(b"update"),
        update: Content::Inline(Default::default()),
    }
}

fn failed() -> JobOutcome {
    JobOutcome::Failed("bad shard".into())
}

#[test]
fn a_job_that_another_host_has_is_told_to_be_redone_once() {
    let mut dispatch = asked(&[1], &[1], VerifiedShare::NONE);
    let (job, [a, b]) = (job(1), ["a", "b"].map(host));
    assert_eq!(dispatch.begun(job, &a), (true, None));
    // Its lease ended, which nobody says.
    assert_eq!(dispatch.begun(job, &b), (true, Some(a.clone())));
    assert!(!dispatch.gave_up(job, Some(&a)), "it was told");
    assert!(dispatch.gave_up(job, Some(&b)));
    assert_eq!(dispatch.begun(job, &a), (true, None));
    dispatch.deliver(job, None);
    assert_eq!(dispatch.begun(job, &b), (false, None));
    assert!(!dispatch.gave_up(job, Some(&a)), "it is done");
}

#[test]
fn an_order_names_the_whole_group_and_the_faults_of_those_that_somebody_waits_for() {
    let dispatch = asked(&[1, 2, 3], &[2, 3], VerifiedShare::NONE);
    let orders = dispatch.to_submit(100);
    let named = |order: &JobOrder| {
        let clients = order.clients.iter();
        clients
            .map(|client| (client.0.0, client.2))
            .collect::<Vec<_>>()
    };
    let expected = [(1, None), (2, Some(faults(2))), (3, Some(faults(3)))];
    assert_eq!(orders.len(), 1);
    assert_eq!((orders[0].id, named(&orders[0])), (job(2), expected.into()));
}

#[test]
fn what_is_missing_of_a_group_is_queued_once_all_others_have_come() {
    let mut dispatch = asked(&[1, 2, 3], &[1, 2, 3], VerifiedShare::NONE);
    assert_eq!(submit(&mut dispatch), [(vec![1, 2, 3], vec![1, 2, 3])]);
    assert_eq!(
        judge(&mut dispatch, ("a", 3), failed(), &["a", "b"]),
        Verdict::Again
    );
    assert_eq!(submit(&mut dispatch), []);
    dispatch.deliver(job(2), None);
    assert_eq!(submit(&mut dispatch), []);
    assert_eq!(dispatch.deliver(job(1), None).unwrap().1, None);
    assert_eq!(submit(&mut dispatch), [(vec![3], vec![1, 2, 3])]);
    // The last of an order that was not the first may be in the queue again.
    assert_eq!(dispatch.deliver(job(3), None).unwrap().1, Some(job(3)));
}

#[test]
fn jobs_that_avoid_different_hosts_have_orders_of_their_own() {
    let mut dispatch = asked(&[1, 2, 3], &[1, 2, 3], VerifiedShare::NONE);
    submit(&mut dispatch);
    for (host, client) in [("a", 1), ("b", 2)] {
        let verdict = judge(&mut dispatch, (host, client), failed(), &["a", "b"]);
        assert_eq!(verdict, Verdict::Again);
    }
    dispatch.refuse(job(3));
    assert_eq!(submit(&mut dispatch), [(vec![1, 3], vec![1, 2, 3])]);
    dispatch.deliver(job(1), None);
    dispatch.deliver(job(3), None);
    assert_eq!(submit(&mut dispatch), [(vec![2], vec![1, 2, 3])]);
}

#[test]
fn a_job_that_is_cancelled_takes_no_other_with_it_and_the_last_its_order() {
    let mut dispatch = asked(&[1, 2], &[1, 2], VerifiedShare::NONE);
    submit(&mut dispatch);
    // The order is known by it.
    assert_eq!(dispatch.cancel(job(1)), (true, None));
    let waiting = || [job(1)].into_iter();
    assert_eq!(
        (dispatch.unwanted(waiting()), dispatch.unwanted(waiting())),
        (vec![], vec![])
    );
    assert_eq!(dispatch.jobs_of(job(1)), [job(2)]);
    assert_eq!(dispatch.cancel(job(2)), (true, Some(job(1))));
    assert_eq!(
        (dispatch.unwanted(waiting()), dispatch.unwanted(waiting())),
        (vec![], vec![job(1)])
    );
    assert_eq!(dispatch.cancel(job(2)), (false, None));
}

#[test]
fn the_jobs_of_an_order_that_two_looks_miss_are_queued_again() {
    let mut dispatch = asked(&[1, 2, 3], &[1, 2, 3], VerifiedShare::NONE);
    submit(&mut dispatch);
    assert_eq!(dispatch.orders().compare(|_| false), 0);
    // Its replies are coming.
    dispatch.deliver(job(3), None);
    assert_eq!(dispatch.orders().compare(|_| false), 0);
    assert_eq!(submit(&mut dispatch), []);
    assert_eq!(dispatch.orders().compare(|_| false), 2);
    assert_eq!(submit(&mut dispatch), [(vec![1, 2], vec![1, 2, 3])]);
}

#[test]
fn clients_that_two_hosts_failed_together_are_trained_alone_and_fail_as_such() {
    let mut dispatch = asked(&[1, 2], &[1, 2], VerifiedShare::NONE);
    let both = ["a", "b"];
    for on in both {
        assert_eq!(submit(&mut dispatch), [(vec![1, 2], vec![1, 2])]);
        for client in [1, 2] {
            let verdict = judge(&mut dispatch, (on, client), failed(), &both);
            assert_eq!(verdict, Verdict::Again);
        }
    }
    let alone = [(vec![1], vec![1]), (vec![2], vec![2])];
    assert_eq!(submit(&mut dispatch), alone);
    let verdict = judge(&mut dispatch, ("a", 1), failed(), &both);
    assert_eq!(verdict, Verdict::Again);
    let verdict = judge(&mut dispatch, ("a", 2), trained(), &both);
    assert_eq!(verdict, Verdict::Deliver);
    let verdict = judge(&mut dispatch, ("b", 1), failed(), &both);
    assert_eq!(verdict, Verdict::Deliver);
}

#[test]
fn what_a_client_gave_with_others_is_not_compared_with_what_it_gives_alone() {
    let mut dispatch = asked(&[1, 2], &[1], VerifiedShare::new(100.0).unwrap());
    let verdict = judge(&mut dispatch, ("c", 1), trained(), &["a", "b", "c"]);
    assert_eq!(verdict, Verdict::Verify);
    // It leaves.
    for on in ["a", "b"] {
        let verdict = judge(&mut dispatch, (on, 1), failed(), &["a", "b"]);
        assert_eq!(verdict, Verdict::Again);
    }
    assert_eq!(submit(&mut dispatch), [(vec![1], vec![1])]);
    let verdict = judge(&mut dispatch, ("a", 1), trained(), &["a", "b"]);
    assert_eq!(verdict, Verdict::Verify);
    let verdict = judge(&mut dispatch, ("b", 1), trained(), &["a", "b"]);
    assert!(matches!(verdict, Verdict::Verified(_)), "{verdict:?}");
}

#[test]
fn an_order_that_all_hosts_avoid_leaves_the_queue_though_its_first_job_is_cancelled() {
    let mut dispatch = asked(&[1, 2], &[1, 2], VerifiedShare::NONE);
    submit(&mut dispatch);
    judge(&mut dispatch, ("a", 1), failed(), &["a", "b"]);
    dispatch.refuse(job(2));
    assert_eq!(submit(&mut dispatch), [(vec![1, 2], vec![1, 2])]);
    dispatch.cancel(job(1));
    let (again, too_large) = dispatch.unblock(&[host("a")].into());
    assert_eq!((again, too_large), (vec![job(1)], None));
    assert_eq!(submit(&mut dispatch), [(vec![2], vec![1, 2])]);
}
