//! Clients that are trained together, by the program.

use crate::workplace::Workplace;

const RUN: &str = "run --task rte --model models/tiny --num_clients 5 --rounds 2 --batch_size 2 \
                   --lr 1e-2 --metrics off --quiet";

#[test]
fn the_digest_is_the_same_whatever_the_lanes_and_the_losses_are_those_of_clients_alone() {
    let place = Workplace::new();
    for (i, (method, miss)) in [
        ("fedex", 1e-5),
        ("sorf_vera_exact", 1e-5),
        ("flora --ranks 2,4,8,4,2", 1e-5),
        // Narrow products round the more.
        ("fedex --precision bfloat16", 1e-2),
    ]
    .into_iter()
    .enumerate()
    {
        let run = format!("{RUN} --agg_type {method}");
        place.accepts(&format!("{run} --out alone{i}"));
        // As many lanes as clients too, where each would have its own.
        for lanes in [1, 2, 5] {
            let out = format!("together{i}-{lanes}");
            place.accepts(&format!(
                "{run} --clients_per_step 3 --lanes {lanes} --out {out}"
            ));
        }
        let one = place.rounds(&format!("together{i}-1"));
        for lanes in [2, 5] {
            for (round, one) in place
                .rounds(&format!("together{i}-{lanes}"))
                .iter()
                .zip(&one)
            {
                assert_eq!(
                    round.state_digest, one.state_digest,
                    "{method}, {lanes} lanes"
                );
                assert_eq!(round.eval, one.eval, "{method}, {lanes} lanes");
            }
        }
        for (alone, together) in place.rounds(&format!("alone{i}")).iter().zip(&one) {
            for (alone, together) in alone.clients.iter().zip(&together.clients) {
                assert_eq!(
                    (alone.steps, alone.examples),
                    (together.steps, together.examples)
                );
                let (alone, together) = (alone.loss.unwrap(), together.loss.unwrap());
                assert!(
                    (alone - together).abs() < miss,
                    "{method}: {alone} {together}"
                );
            }
        }
    }
}

#[test]
fn a_run_of_clients_together_replays_and_resumes_to_the_same_bits() {
    let place = Workplace::new();
    let run = format!("{RUN} --agg_type fedex --clients_per_step 2");
    place.accepts(&format!("{run} --lanes 2 --out whole"));
    let said = place.accepts("replay whole --check --lanes 1");
    assert!(said.contains("are the same, bit for bit"), "{said}");
    let expected = place.rounds("whole")[1].state_digest.clone();
    // Its last checkpoint is that of the round before: it does the last one again.
    let said = place.accepts("resume whole --lanes 1");
    assert!(said.contains("resuming after round 1"), "{said}");
    assert_eq!(place.rounds("whole")[1].state_digest, expected);
}

#[test]
fn a_base_that_each_client_would_train_is_refused_where_they_share_it() {
    let place = Workplace::new();
    for (line, part) in [
        ("--clients_per_step 2 --bias all", "share the base"),
        ("--clients_per_step 0", "clients_per_step"),
    ] {
        let said = place.errors(&format!("{RUN} {line}"));
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("clients_per_step"), "{said:?}");
        assert!(said[0].contains(part), "{said:?}");
    }
}

#[cfg(feature = "cluster")]
#[test]
fn clients_of_a_cluster_may_be_trained_together() {
    let place = Workplace::new();
    let output = place.regatta(&format!(
        "{RUN} --clients_per_step 2 --cluster nowhere.toml"
    ));
    let said = String::from_utf8(output.stderr).unwrap();
    // Nothing is wrong but that there is none.
    assert_eq!(said.matches("error: ").count(), 1, "{said}");
    assert!(said.contains("error: nowhere.toml: "), "{said}");
}
