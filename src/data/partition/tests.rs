use proptest::prelude::*;

use super::*;

fn specs() -> impl Strategy<Value = Partition> {
    prop_oneof![
        Just(Partition::Iid),
        Just(Partition::Contiguous),
        Just(Partition::Natural("domain".to_owned())),
        (0.001..50.0).prop_map(Partition::Dirichlet),
        (0.001..50.0).prop_map(Partition::Quantity),
        (1..5usize).prop_map(Partition::Classes),
    ]
}

fn column(labels: &[f32]) -> CategoricalColumn {
    let names = ["news", "films", "tweets", "shops"];
    labels
        .iter()
        .map(|label| names[(*label as usize * 7 + 1) % 4])
        .collect()
}

proptest! {
    #[test]
    fn every_example_is_in_exactly_one_shard_and_no_shard_is_empty(
        spec in specs(),
        labels in prop::collection::vec((0..6u8).prop_map(f32::from), 1..300),
        clients in 1..40usize,
        seed: u64,
    ) {
        let column = column(&labels);
        let divide = || partition(&spec, &labels, Some(&column), clients, seed);
        let Ok(shards) = divide() else {
            // Refused only where it is impossible, or a group has too few examples.
            let groups_may_be_small = matches!(spec, Partition::Natural(_) | Partition::Classes(_));
            prop_assert!(groups_may_be_small || clients > labels.len());
            return Ok(());
        };
        prop_assert_eq!(shards.len(), clients);
        prop_assert!(shards.iter().all(|shard| !shard.is_empty() && shard.is_sorted()));
        let mut all: Vec<u32> = shards.concat();
        all.sort_unstable();
        prop_assert_eq!(all, (0..labels.len() as u32).collect::<Vec<_>>());
        prop_assert_eq!(divide().unwrap(), shards);
    }

    #[test]
    fn equal_shares_differ_by_one_at_most(n in 1..500usize, clients in 1..50usize, seed: u64) {
        prop_assume!(clients <= n);
        for spec in [Partition::Iid, Partition::Contiguous] {
            let shards = partition(&spec, &vec![0.0; n], None, clients, seed).unwrap();
            let sizes: Vec<usize> = shards.iter().map(Vec::len).collect();
            prop_assert!(sizes.iter().rev().is_sorted());
            prop_assert!(sizes[0] - sizes[clients - 1] <= 1);
        }
    }

    #[test]
    fn what_is_written_is_read_back(spec in specs()) {
        prop_assert_eq!(spec.to_string().parse::<Partition>().unwrap(), spec.clone());
        let json = serde_json::to_string(&spec).unwrap();
        prop_assert_eq!(serde_json::from_str::<Partition>(&json).unwrap(), spec);
    }

    #[test]
    fn a_client_has_as_many_classes_as_asked(
        count in 1..4usize, clients in 4..12usize, seed: u64,
    ) {
        let labels: Vec<f32> = (0..240).map(|position| (position % 4) as f32).collect();
        let shards = partition(&Partition::Classes(count), &labels, None, clients, seed).unwrap();
        for shard in shards {
            let mut classes: Vec<u32> = shard.iter().map(|position| position % 4).collect();
            classes.sort_unstable();
            classes.dedup();
            prop_assert_eq!(classes.len(), count);
        }
    }
}

#[test]
fn contiguous_is_consecutive_with_the_larger_shards_first() {
    let shards = partition(&Partition::Contiguous, &[0.0; 5], None, 2, 1).unwrap();
    assert_eq!(shards, [vec![0, 1, 2], vec![3, 4]]);
}

#[test]
fn another_seed_gives_another_iid_partition() {
    let divide = |seed| partition(&Partition::Iid, &[0.0; 100], None, 4, seed).unwrap();
    assert_ne!(divide(1), divide(2));
}

#[test]
fn each_client_gets_one_domain_in_alphabetical_order() {
    let column: CategoricalColumn = ["b", "a", "b", "c", "a"].into_iter().collect();
    let natural = Partition::Natural("domain".to_owned());
    let divide = |clients| partition(&natural, &[0.0; 5], Some(&column), clients, 1).unwrap();
    assert_eq!(divide(3), [vec![1, 4], vec![0, 2], vec![3]]);
    assert_eq!(divide(2), [vec![1, 3, 4], vec![0, 2]]);
    let shared = divide(5);
    assert_eq!(shared[2], [3]);
    assert_eq!(shared[0].len() + shared[3].len(), 2);
}

#[test]
fn small_alpha_skews_labels_and_great_alpha_does_not() {
    let labels: Vec<f32> = (0..4000).map(|position| (position % 2) as f32).collect();
    let widest = |alpha| {
        let shards = partition(&Partition::Dirichlet(alpha), &labels, None, 4, 3).unwrap();
        let share = |shard: &Vec<u32>| {
            let ones = shard.iter().filter(|position| *position % 2 == 1).count();
            (ones as f64 / shard.len() as f64 - 0.5).abs()
        };
        shards.iter().map(share).fold(0.0, f64::max)
    };
    assert!(widest(0.1) > 0.3, "{}", widest(0.1));
    assert!(widest(1000.0) < 0.1, "{}", widest(1000.0));
}

#[test]
fn an_alpha_too_small_to_draw_with_still_leaves_no_shard_empty() {
    for spec in [
        Partition::Quantity(f64::MIN_POSITIVE),
        Partition::Dirichlet(1e-200),
    ] {
        let shards = partition(&spec, &[0.0; 9], None, 4, 1).unwrap();
        assert_eq!((shards.len(), shards.concat().len()), (4, 9));
        assert!(shards.iter().all(|shard| !shard.is_empty()));
    }
}

#[test]
fn scores_are_skewed_by_their_rounded_value() {
    let scores = [0.2, 0.4, 4.6, 5.0];
    let shards = partition(&Partition::Classes(1), &scores, None, 2, 1).unwrap();
    assert!(
        shards.contains(&vec![0, 1]) && shards.contains(&vec![2, 3]),
        "{shards:?}"
    );
}

#[test]
fn the_impossible_is_refused_with_its_reason() {
    let refusal = |spec: &str, clients| {
        let spec: Partition = spec.parse().unwrap();
        partition(&spec, &[0.0, 1.0, 1.0, 2.0], None, clients, 1)
            .unwrap_err()
            .to_string()
    };
    assert!(refusal("iid", 5).contains("5 clients cannot share 4 examples"));
    assert!(refusal("iid", 0).contains("at least 1"));
    assert!(refusal("classes(4)", 2).contains("only 3 classes"));
    assert!(refusal("classes(1)", 2).contains("covers 2 of 3 classes"));
    assert!(refusal("classes(3)", 2).contains("1 examples of class"));
    assert!(refusal("natural:domain", 2).contains("no column `domain`"));
    let unlabelled = partition(&Partition::Dirichlet(1.0), &[0.0, f32::NAN], None, 1, 1);
    assert!(
        unlabelled
            .unwrap_err()
            .to_string()
            .contains("example 1 has no label")
    );
}

#[test]
fn both_spellings_of_an_argument_are_read() {
    assert_eq!("dirichlet:0.5".parse(), Ok(Partition::Dirichlet(0.5)));
    assert_eq!(" quantity( 0.3 ) ".parse(), Ok(Partition::Quantity(0.3)));
    assert_eq!(
        "natural:a:b".parse(),
        Ok(Partition::Natural("a:b".to_owned()))
    );
    for bad in [
        "",
        "iidd",
        "iid(1)",
        "dirichlet",
        "dirichlet(0)",
        "dirichlet(inf)",
        "classes(0)",
        "classes(1.5)",
        "quantity(-1)",
        "quantity(1",
        "natural:",
        "natural",
    ] {
        assert!(bad.parse::<Partition>().is_err(), "`{bad}`");
    }
}
