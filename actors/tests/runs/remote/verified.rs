//! Jobs that two hosts do on purpose.

use std::sync::mpsc::channel;

use regatta_actors::lanes::memory::MemoryBroker;
use regatta_actors::lanes::remote::settings::RemoteSettings;
use regatta_actors::lanes::remote::verify::VerifiedShare;
use regatta_actors::lanes::worker::WorkerEnd;
use regatta_actors::plan::FederationPlan;
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::outcome::{RunError, RunOutcome};

use crate::common::{Record, Toy, Trouble, plan};
use crate::remote::{Worker, eventful, local, patient, run_with};

/// How a run ended, and the hosts of each job that was verified, with those that were wrong.
pub(super) type Verified = (
    Result<RunOutcome, RunError>,
    Vec<(Vec<String>, Vec<String>)>,
);

/// Runs a plan, all of whose jobs are verified.
pub(super) fn verified(plan: FederationPlan, broker: &MemoryBroker, record: &Record) -> Verified {
    let settings = RemoteSettings {
        verified: VerifiedShare::new(100.0).unwrap(),
        ..patient().1
    };
    let (tell, told) = channel();
    let run = run_with(settings, plan, broker, record, move |event| {
        if let Event::JobVerified { hosts, wrong, .. } = event {
            tell.send((hosts.clone(), wrong.clone())).unwrap();
        }
    });
    let outcome = run.start();
    (outcome, told.into_iter().collect())
}

pub(super) fn worker(broker: &MemoryBroker, lanes: u32, toy: Toy) -> Worker {
    Worker::with(broker, lanes, toy, |worker| {
        worker.timing = patient().1.timing
    })
}

/// A host whose device computes wrongly.
pub(super) fn faulty() -> Toy {
    Toy {
        seed: 99,
        ..Toy::default()
    }
}

#[test]
fn every_job_can_be_done_on_two_hosts_and_the_ledger_is_that_of_a_local_run() {
    // Also where updates are too large for a message.
    for broker in [patient().0, patient().0.with_largest_message(1)] {
        let mut plan = eventful(4);
        // Both hosts are there from the first job on.
        plan.lanes = 3;
        let (expected, record) = (local(plan.clone()), Record::new());
        let workers = [1, 2].map(|lanes| worker(&broker, lanes, Toy::default()));
        let (outcome, compared) = verified(plan, &broker, &record);
        outcome.unwrap();
        assert_eq!(record.ledger(), expected.ledger());
        assert!(compared.len() >= 16, "{compared:?}");
        for (hosts, wrong) in compared {
            assert_eq!((hosts.len(), wrong.len()), (2, 0), "{hosts:?} {wrong:?}");
        }
        for worker in workers {
            assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
        }
        assert_eq!(broker.holds(), (0, 0, 0), "something is left in the broker");
    }
}

#[test]
fn a_host_that_computes_wrongly_is_outvoted_and_leaves() {
    let mut plan = plan(4, 4, 1);
    plan.lanes = 3;
    let expected = local(plan.clone());
    let (broker, record) = (patient().0, Record::new());
    let bad = worker(&broker, 1, faulty());
    let good = [1, 1].map(|lanes| worker(&broker, lanes, Toy::default()));
    let (outcome, compared) = verified(plan, &broker, &record);
    outcome.unwrap();
    assert_eq!(record.ledger(), expected.ledger());
    let wrong: std::collections::BTreeSet<_> = compared.iter().flat_map(|(_, it)| it).collect();
    assert_eq!(wrong.len(), 1, "{compared:?}");
    assert_eq!(bad.end().unwrap(), WorkerEnd::Drained);
    for worker in good {
        assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
    }
}

#[test]
fn two_hosts_that_disagree_end_the_run_before_either_is_believed() {
    let (broker, record) = (patient().0, Record::new());
    let _workers = [faulty(), Toy::default()].map(|toy| worker(&broker, 1, toy));
    let mut plan = plan(1, 2, 1);
    plan.lanes = 2;
    let (outcome, compared) = verified(plan, &broker, &record);
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("client 0 in round 1 gives"), "{error}");
    assert_eq!(error.matches(" on host.").count(), 2, "{error}");
    assert!(compared.is_empty());
}

#[test]
fn a_host_alone_is_believed() {
    let (expected, record, broker) = (local(plan(3, 3, 1)), Record::new(), patient().0);
    let alone = worker(&broker, 2, Toy::default());
    let (outcome, compared) = verified(plan(3, 3, 1), &broker, &record);
    outcome.unwrap();
    assert_eq!(record.ledger(), expected.ledger());
    assert!(compared.is_empty());
    assert_eq!(alone.end().unwrap(), WorkerEnd::RunOver);
}

#[test]
fn a_job_that_only_one_host_can_do_is_not_verified() {
    let troubles = [Trouble::OutOfMemory(1, 1), Trouble::JobFails(1, 1)];
    for trouble in troubles {
        let mut plan = plan(3, 2, 1);
        plan.lanes = 2;
        let (expected, record, broker) = (local(plan.clone()), Record::new(), patient().0);
        let unable = Toy {
            trouble,
            ..Toy::default()
        };
        let workers = [unable, Toy::default()].map(|toy| worker(&broker, 1, toy));
        let (outcome, compared) = verified(plan, &broker, &record);
        outcome.unwrap();
        assert_eq!(record.ledger(), expected.ledger());
        assert_eq!(compared.len(), 5, "{compared:?}");
        for worker in workers {
            assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
        }
    }
}
