//! A broker that does whatever a broker may do wrong.

use std::time::Duration;

use proptest::prelude::*;
use regatta_actors::lanes::memory::{MemoryBroker, Mischief};
use regatta_actors::lanes::remote::settings::RemoteSettings;
use regatta_actors::lanes::remote::verify::VerifiedShare;
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::outcome::RunError;

use crate::common::Record;
use crate::groups::grouped;
use crate::remote::{LEASE, Worker, eventful, local, run_with, settings, slow};

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_broker_does_the_ledger_is_that_of_a_local_run(
        seed in any::<u64>(),
        fail in 0.0..0.1,
        lose in 0.0..0.1,
        double in 0.0..0.2,
        damage in 0.0..0.2,
        as_blobs in any::<bool>(),
        reorder in any::<bool>(),
        delay in 0_u64..2,
        hosts in prop::collection::vec(1_u32..3, 1..4),
        forgets in 0_usize..3,
        verified in 0.0..100.0,
        together in 1_u32..6,
    ) {
        let plan = || grouped(eventful(4), together);
        let expected = local(plan());
        let delay = Duration::from_millis(delay);
        let mischief = Mischief { fail, lose, double, damage, reorder, delay, seed };
        let (mut broker, record) = (MemoryBroker::new(LEASE, mischief), Record::new());
        if as_blobs {
            // So small that no update fits beside what comes with it.
            broker = broker.with_largest_message(1);
        }
        let workers: Vec<_> = hosts.iter().map(|lanes| Worker::start(&broker, *lanes, slow())).collect();
        let (forgetful, mut left) = (broker.clone(), forgets);
        // The first calls may fail, as those of a broker that is not there yet.
        let outcome = loop {
            let forgetful = forgetful.clone();
            let record = &record;
            let settings = RemoteSettings {
                verified: VerifiedShare::new(verified).unwrap(),
                ..settings()
            };
            let outcome = run_with(settings, plan(), &broker, record, move |event| {
                if matches!(event, Event::UpdateReceived { .. }) && left > 0 {
                    left -= 1;
                    forgetful.forget_all();
                }
            });
            match if record.path().join("events.jsonl").exists() { outcome.resume() } else { outcome.start() } {
                Err(RunError::Lanes(reason)) if reason.contains("as the test wants") => left = 0,
                outcome => break outcome,
            }
        };
        prop_assert_eq!(outcome.map(|outcome| outcome.rounds), Ok(4));
        prop_assert_eq!(record.ledger(), expected.ledger());
        for worker in &workers {
            worker.stop.send_replace(true);
        }
        for worker in workers {
            // The note that the run is over may have been lost.
            prop_assert!(worker.end().is_ok());
        }
    }
}
