//! Jobs that two hosts do on purpose.

use std::sync::mpsc::channel;

use regatta_actors::lanes::memory::MemoryBroker;
use regatta_actors::lanes::remote::settings::RemoteSettings;
use regatta_actors::lanes::remote::verify::VerifiedShare;
use regatta_actors::lanes::worker::WorkerEnd;
use regatta_actors::plan::FederationPlan;
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::outcome::{RunError, RunOutcome};

use crate::common::{Record, Toy, plan};
use crate::remote::{Worker, eventful, local, run_with, settings, sound};

/// How a run ended, and the hosts of each job that was verified, with those that were wrong.
type Verified = (
    Result<RunOutcome, RunError>,
    Vec<(Vec<String>, Vec<String>)>,
);

/// Runs a plan, of whose jobs a share is verified.
fn verified(share: f64, plan: FederationPlan, broker: &MemoryBroker, record: &Record) -> Verified {
    let settings = RemoteSettings {
        verified: VerifiedShare::new(share).unwrap(),
        ..settings()
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

/// A host whose device computes wrongly.
fn faulty() -> Toy {
    Toy {
        seed: 99,
        ..Toy::default()
    }
}

#[test]
fn every_job_can_be_done_on_two_hosts_and_the_ledger_is_that_of_a_local_run() {
    // Also where updates are too large for a message.
    for broker in [sound(), sound().with_largest_message(1)] {
        let mut plan = eventful(4);
        // Both hosts are there from the first job on.
        plan.lanes = 3;
        let (expected, record) = (local(plan.clone()), Record::new());
        let workers = [1, 2].map(|lanes| Worker::start(&broker, lanes, Toy::default()));
        let (outcome, compared) = verified(1.0, plan, &broker, &record);
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
    let (broker, record) = (sound(), Record::new());
    let bad = Worker::start(&broker, 1, faulty());
    let good = [1, 1].map(|lanes| Worker::start(&broker, lanes, Toy::default()));
    let (outcome, compared) = verified(1.0, plan, &broker, &record);
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
    let (broker, record) = (sound(), Record::new());
    let _workers = [faulty(), Toy::default()].map(|toy| Worker::start(&broker, 1, toy));
    let mut plan = plan(1, 2, 1);
    plan.lanes = 2;
    let (outcome, compared) = verified(1.0, plan, &broker, &record);
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("client 0 in round 1 gives"), "{error}");
    assert_eq!(error.matches(" on host.").count(), 2, "{error}");
    assert!(compared.is_empty());
}

#[test]
fn a_host_alone_is_believed() {
    let (expected, record, broker) = (local(plan(3, 3, 1)), Record::new(), sound());
    let worker = Worker::start(&broker, 2, Toy::default());
    let (outcome, compared) = verified(1.0, plan(3, 3, 1), &broker, &record);
    outcome.unwrap();
    assert_eq!(record.ledger(), expected.ledger());
    assert!(compared.is_empty());
    assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
}
