//! One bad client: updates that are finite and huge, or not finite, and runs of nothing else.

use regatta::base::tensors::TensorMap;
use regatta::runs::folder::summary::Summary;
use regatta_actors::protocol::round_record::{Outcome, RoundRecord};

use crate::workplace::Workplace;

const RUN: &str = "run s.toml --task rte --model models/tiny --num_clients 4 --local_epochs 1 \
                   --batch_size 4 --lr 1e-2 --metrics off --web off --quiet";

/// A workplace with a scenario of these faults.
fn place(faults: &str) -> Workplace {
    let place = Workplace::new();
    place.write("s.toml", faults);
    place
}

/// What strikes client 1 in round 2.
fn once(fault: &str) -> String {
    format!("[[faults]]\nclients = 1\nrounds = 2\n{fault}\n")
}

fn noise(scale: &str) -> String {
    once(&format!(
        "kind = \"corrupt_update\"\ncorruption = \"noise({scale})\""
    ))
}

const ALL_NAN: &str = "[[faults]]\nkind = \"corrupt_update\"\ncorruption = \"nan\"\n";

fn summary(place: &Workplace, folder: &str) -> Summary {
    serde_json::from_str(&place.read(&format!("{folder}/summary.json"))).unwrap()
}

fn outcomes(record: &RoundRecord) -> Vec<Outcome> {
    record.clients.iter().map(|client| client.outcome).collect()
}

/// Runs with a huge update of client 1 in round 2, and without any update of it there; the others'
/// aggregates must be the same to the bit, and the reason must say this.
fn refused_as_if_it_never_came(flags: &str, scale: &str, reason: &str) {
    use Outcome::{Aggregated, Dropped, Refused};
    let place = place(&noise(scale));
    let run = format!("{RUN} --rounds 3 {flags}");
    place.accepts(&format!("{run} --out huge"));
    place.write("s.toml", &once("kind = \"drop\""));
    place.accepts(&format!("{run} --out without"));
    let (huge, without) = (place.rounds("huge"), place.rounds("without"));
    assert_eq!(
        outcomes(&without[1]),
        [Aggregated, Dropped, Aggregated, Aggregated]
    );
    assert_eq!(
        outcomes(&huge[1]),
        [Aggregated, Refused, Aggregated, Aggregated],
        "{flags}"
    );
    let [refusal] = &huge[1].refused[..] else {
        panic!("{flags}: {:?}", huge[1].refused);
    };
    assert_eq!(refusal.client.0, 1);
    assert!(
        refusal.reason.contains(reason),
        "{flags}: {}",
        refusal.reason
    );
    for (huge, without) in huge.iter().zip(&without) {
        assert_eq!(huge.state_digest, without.state_digest, "{flags} {scale}");
    }
    for file in [
        "adapter/adapter_model.safetensors",
        "base_delta.safetensors",
    ] {
        let tensors = TensorMap::read(&place.path().join("huge").join(file)).unwrap();
        let finite = |(_, tensor): (&str, &regatta::base::tensors::HostTensor)| {
            tensor.values().iter().all(|value| value.is_finite())
        };
        assert!(tensors.iter().all(finite), "{flags} {file}");
    }
    let last = huge[2].eval.as_ref().unwrap();
    assert!(
        last.values().all(|score| score.is_finite()),
        "{flags} {last:?}"
    );
}

#[test]
fn a_huge_update_is_refused_by_name_whatever_the_method_and_the_rest_is_as_without_it() {
    let methods = [
        "fedit",
        "ffa",
        "fedex",
        "fedex_vera",
        "sorf_vera",
        "sorf_vera_exact",
        "fedsvd",
        "flora",
        "flora --ranks 2,4,8",
        "rolora",
    ];
    for (i, method) in methods.into_iter().enumerate() {
        let scale = ["1e30", "1e38"][i % 2];
        let flags = format!("--agg_type {method}");
        refused_as_if_it_never_came(&flags, scale, " holds ");
    }
}

#[test]
fn factors_that_are_not_too_large_but_whose_product_is_are_refused_too() {
    for method in ["fedit", "fedex", "flora", "flora --ranks 2,4,8"] {
        let flags = format!("--agg_type {method} --weighting examples");
        refused_as_if_it_never_came(&flags, "1e18", "its norm is ");
    }
}

#[test]
fn of_a_stale_update_it_is_the_same() {
    let place = place(&format!(
        "[policy]\nkind = \"buffered\"\nupdates = 2\n[sampling]\nnumber = 3\n{}",
        "[[faults]]\nkind = \"corrupt_update\"\ncorruption = \"noise(1e18)\"\nclients = 1\n"
    ));
    place.accepts(&format!("{RUN} --rounds 6 --agg_type fedex --out run"));
    let records = place.rounds("run");
    let parts = || records.iter().flat_map(|record| &record.clients);
    let of = |client: u32| parts().filter(move |part| part.client.0 == client);
    assert!(of(1).count() > 0 && of(1).all(|part| part.outcome == Outcome::Refused));
    assert!(parts().any(|part| part.outcome == Outcome::Aggregated));
    let said = place.accepts("replay run --check");
    assert!(said.contains("are the same, bit for bit"), "{said}");
}

/// The norms that the reasons of refusals tell, by client.
fn norms(record: &RoundRecord) -> Vec<f64> {
    let norm = |reason: &str| {
        let told = reason.strip_prefix("its norm is ").unwrap();
        told.split(',').next().unwrap().parse().unwrap()
    };
    record.refused.iter().map(|one| norm(&one.reason)).collect()
}

#[test]
fn an_update_above_the_bound_is_refused_and_one_just_below_it_changes_no_bit() {
    let place = place("");
    let run = format!("{RUN} --rounds 1");
    place.accepts(&format!("{run} --out free"));
    let output = place.regatta(&format!("{run} --out none --max_update_norm 1e-30"));
    assert_eq!(output.status.code(), Some(1));
    let norms = norms(&place.rounds("none")[0]);
    assert_eq!(norms.len(), 4);
    let largest = norms.iter().copied().fold(0.0, f64::max);

    let above = largest * 1.00001;
    place.accepts(&format!("{run} --out all --max_update_norm {above}"));
    let (free, all) = (place.rounds("free"), place.rounds("all"));
    assert_eq!(outcomes(&all[0]), [Outcome::Aggregated; 4]);
    assert_eq!(all[0].state_digest, free[0].state_digest);

    let below = largest * 0.99999;
    place.accepts(&format!("{run} --out three --max_update_norm {below}"));
    let three = &place.rounds("three")[0];
    let expected = norms.iter().map(|norm| match *norm > below {
        true => Outcome::Refused,
        false => Outcome::Aggregated,
    });
    assert_eq!(outcomes(three), expected.collect::<Vec<_>>());
    let reason = &three.refused[0].reason;
    assert!(
        reason.contains(&format!("above max_update_norm = {below}")),
        "{reason}"
    );
}

#[test]
fn a_bound_that_is_none_is_refused_and_another_one_is_another_run() {
    let place = place("");
    for wrong in ["0", "-1", "nan", "inf"] {
        let errors = place.errors(&format!("{RUN} --max_update_norm={wrong}"));
        assert!(errors[0].contains("--max_update_norm"), "{errors:?}");
    }
    place.accepts(&format!("{RUN} --rounds 2 --out run"));
    let scenario = place.read("run/scenario.toml");
    assert!(!scenario.contains("max_update_norm"), "{scenario}");
    place.write(
        "run/scenario.toml",
        &format!("max_update_norm = 5.0\n{scenario}"),
    );
    let output = place.regatta("resume run");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("max_update_norm was not set and is 5.0 now"),
        "{errors}"
    );
}

#[test]
fn a_round_in_which_all_is_refused_is_told_and_the_run_goes_on() {
    let place = place(&format!("{ALL_NAN}rounds = 2\n"));
    let output = place.regatta(&format!("{RUN} --rounds 3 --out run"));
    let (said, warned) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert_eq!(output.status.code(), Some(0), "{warned}");
    let warning =
        "round 2: every update was refused, and nothing was aggregated: client-0: tensor ";
    assert!(warned.contains(warning), "{warned}");
    assert!(
        said.contains("in 1 of 3 rounds every update was refused"),
        "{said}"
    );
    let records = place.rounds("run");
    assert_eq!(outcomes(&records[1]), [Outcome::Refused; 4]);
    assert_eq!(records[1].state_digest, records[0].state_digest);
    assert_eq!(summary(&place, "run").totals.rounds_refused, 1);
    let said = place.accepts("report run");
    assert!(said.contains("1 round with every update refused"), "{said}");
    let page = place.read("run/report.html");
    assert!(page.contains("Refused updates") && page.contains("all must be finite"));
}

/// That nothing was aggregated in the two rounds of a run, for the reason that is told.
fn assert_nothing_aggregated(place: &Workplace, line: &str, why: &str) {
    let output = place.regatta(line);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("nothing was aggregated: "), "{errors}");
    assert!(errors.contains(why), "{errors}");
    let summary = summary(place, "run");
    assert!(summary.error.unwrap().contains("nothing was aggregated"));
    assert_eq!((summary.ending, summary.totals.rounds), (None, 2));
    assert!(!place.path().join("run/adapter").exists());
}

#[test]
fn a_run_in_which_nothing_was_aggregated_ends_with_an_error_and_so_does_its_resumption() {
    let runs = [
        (String::new(), "--lr 1e30", "every update was refused"),
        (ALL_NAN.to_owned(), "--rounds 2", "every update was refused"),
        (
            "[[faults]]\nkind = \"drop\"\n".to_owned(),
            "--rounds 2",
            "no update came",
        ),
    ];
    for (faults, flags, why) in runs {
        let place = place(&faults);
        let run = RUN.replace("--lr 1e-2", "");
        let rounds = if flags.contains("rounds") {
            ""
        } else {
            "--rounds 2"
        };
        let run = format!("{run} {flags} {rounds} --out run");
        assert_nothing_aggregated(&place, &run, why);
        let ledger = place.read("run/events.jsonl");
        assert_nothing_aggregated(&place, "resume run", why);
        assert_eq!(place.read("run/events.jsonl"), ledger);
        let said = place.accepts("replay run --check");
        assert!(said.contains("are the same, bit for bit"), "{said}");
        let said = place.accepts("runs . --format json");
        assert!(said.contains("\"failed\""), "{said}");
    }
}
