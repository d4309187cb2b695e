use super::*;
use crate::runs::compare::groups::group;
use crate::runs::compare::samples::run;

fn paired(runs: &[Compared], by: &[&str], reference: Option<&str>) -> Paired {
    let groups = group(runs);
    let by: Vec<String> = by.iter().map(|&key| key.to_owned()).collect();
    let pairing = Pairing::new(&by, reference, "accuracy", &groups).unwrap();
    pairing.pair(&groups)
}

fn of(name: &str, method: &str, seed: u32, more: &str) -> String {
    format!("name = \"{name}\"\nagg_type = \"{method}\"\nseed = {seed}\n{more}")
}

fn reasons(paired: &Paired) -> Vec<(&str, &str)> {
    let unpaired = paired.unpaired.iter();
    unpaired
        .map(|one| (one.run.as_str(), one.reason.as_str()))
        .collect()
}

#[test]
fn runs_of_a_seed_are_paired_and_those_without_a_counterpart_are_named() {
    let runs = [
        run(&of("x1", "fedex", 1, ""), &[0.5, 0.75]),
        run(&of("x2", "ours", 2, ""), &[0.5, 0.25]),
        run(&of("x3", "fedex", 3, ""), &[0.5, 0.5]),
        run(&of("i1", "fedit", 1, ""), &[0.5, 0.5]),
        run(&of("i2", "normal", 2, ""), &[0.5, 0.5]),
        run(&of("i4", "fedit", 4, ""), &[0.5, 0.5]),
        run(&of("again", "fedit", 1, ""), &[0.5, 0.5]),
    ];
    let found = paired(&runs, &[], None);
    assert_eq!(found.differences.len(), 1);
    let one = &found.differences[0];
    assert_eq!(
        (one.label.as_str(), one.reference.as_str()),
        ("fedex", "fedit")
    );
    assert_eq!(one.by_seed, [(1, 0.25), (2, -0.25)].into());
    assert_eq!(
        reasons(&found),
        [
            ("again", "i1 is a run of the same settings and seed"),
            ("x3", "fedit has no run of seed 3 to pair it with"),
            ("i4", "no other run of seed 4 is paired with it"),
        ]
    );
    let other = paired(&runs, &["agg_type"], Some("ours"));
    assert_eq!(other.differences[0].by_seed, [(1, -0.25), (2, 0.25)].into());
}

#[test]
fn pairs_agree_in_every_setting_but_those_that_are_named() {
    let rates = |x: f64, i: f64| {
        [
            run(&of("x", "fedex", 1, &format!("lr = {x}")), &[0.75]),
            run(&of("i", "fedit", 1, &format!("lr = {i}")), &[0.5]),
        ]
    };
    let apart = paired(&rates(0.1, 0.2), &["agg_type"], None);
    assert!(apart.differences.is_empty());
    let why = "no run with agg_type fedit agrees with it in all other settings";
    assert_eq!(reasons(&apart)[0], ("x", why));
    let together = paired(&rates(0.1, 0.2), &["agg_type", "lr"], None);
    assert_eq!(together.differences[0].by_seed, [(1, 0.25)].into());
    assert_eq!(together.differences[0].label, "fedex, lr 0.1");
    // A setting that is stated at its default is as one that is not stated.
    let mut defaults = rates(0.1, 0.1);
    defaults[0]
        .settings
        .insert("vera_scale".into(), false.into());
    assert_eq!(paired(&defaults, &[], None).differences.len(), 1);
}

#[test]
fn a_setting_is_found_by_each_of_its_names() {
    let runs = [(4, 0.5), (8, 0.75)].map(|(r, accuracy)| {
        let more = format!("r = {r}");
        run(&of("x", "fedex", 1, &more), &[accuracy])
    });
    let found = paired(&runs, &["lora_r"], Some("4"));
    assert_eq!(found.differences[0].by_seed, [(1, 0.25)].into());
}

#[test]
fn each_partition_has_its_own_reference() {
    let runs = ["iid", "classes(1)"].map(|partition| {
        let more = format!("partition = \"{partition}\"");
        [
            run(&of("x", "fedex", 1, &more), &[0.75]),
            run(&of("i", "fedit", 1, &more), &[0.5]),
        ]
    });
    let found = paired(&runs.concat(), &[], None);
    let places: Vec<&str> = found
        .differences
        .iter()
        .map(|one| one.agree_in.as_str())
        .collect();
    assert_eq!(places, ["partition iid", "partition classes(1)"]);
    assert!(found.unpaired.is_empty());
}

#[test]
fn scores_of_different_rounds_or_that_are_no_numbers_make_no_pair() {
    let runs = [
        run(&of("x1", "fedex", 1, ""), &[0.5]),
        run(&of("i1", "fedit", 1, ""), &[0.5, 0.5]),
        run(&of("x2", "fedex", 2, ""), &[f64::NAN]),
        run(&of("i2", "fedit", 2, ""), &[0.5]),
    ];
    let found = paired(&runs, &[], None);
    assert!(found.differences[0].by_seed.is_empty());
    let why: Vec<&str> = reasons(&found).into_iter().map(|(_, why)| why).collect();
    assert_eq!(why[0], "it was last scored in round 1, and i1 in round 2");
    assert_eq!(why[1], "its score is not a number");
}

#[test]
fn settings_and_references_that_there_are_not_are_errors() {
    let runs = [run(&of("x", "fedex", 1, "lr = 0.1"), &[0.5])];
    let groups = group(&runs);
    let wrong = |by: &str, reference| {
        let problems = Pairing::new(&[by.to_owned()], reference, "accuracy", &groups);
        problems.unwrap_err().to_string()
    };
    let text = wrong("agg_typ", None);
    assert!(text.contains("did you mean `agg_type`?"), "{text}");
    let text = wrong("agg_type", Some("flora"));
    assert!(
        text.contains("no run has this for agg_type; there are: fedex"),
        "{text}"
    );
}
