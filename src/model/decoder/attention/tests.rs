use super::*;
use crate::base::torch::device::Autocast;

const MASK: DropoutMask = DropoutMask {
    seed: 11,
    threshold: 6554,
};

fn by_definition(
    attention: &CausalAttention<'_>,
    dropped: Option<DropoutMask>,
) -> Result<Tensor, TchError> {
    attention.by_definition(&attention.visible()?, dropped)
}

/// Output, and gradients by query, key and value, of a weighted sum of it.
fn results(
    attend: impl Fn(&CausalAttention<'_>) -> Result<Tensor, TchError>,
    scoring: Scoring,
    kind: Kind,
    [rows, heads, queries, tokens, width]: [i64; 5],
) -> Vec<Tensor> {
    results_of_groups(
        attend,
        scoring,
        kind,
        1,
        [rows, heads, queries, tokens, width],
    )
}

/// The same where as many query heads share a head of keys.
fn results_of_groups(
    attend: impl Fn(&CausalAttention<'_>) -> Result<Tensor, TchError>,
    scoring: Scoring,
    kind: Kind,
    groups: i64,
    [rows, heads, queries, tokens, width]: [i64; 5],
) -> Vec<Tensor> {
    let values = |shape: &[i64], step: f64| {
        let count = Tensor::arange(shape.iter().product::<i64>(), (Kind::Double, Device::Cpu));
        let values = (count * step).sin().reshape(shape);
        values.to_kind(Kind::BFloat16).to_kind(kind)
    };
    let leaf = |tokens, heads: i64, step| {
        values(&[rows, tokens, heads * width], step).set_requires_grad(true)
    };
    let shared = heads / groups;
    let query = leaf(queries, heads, 0.7);
    let (key, value) = (leaf(tokens, shared, 1.1), leaf(tokens, shared, 1.9));
    let part = |x: &Tensor, heads, scale: f64| split(&(x * scale), heads).unwrap();
    let attention = CausalAttention {
        query: &part(&query, heads, 2.0),
        key: &part(&key, shared, 2.0),
        value: &part(&value, shared, 1.0),
        scoring,
    };
    let attended = attend(&attention).unwrap();
    (&attended * values(&attended.size(), 0.3))
        .sum(kind)
        .backward();
    vec![attended.detach(), query.grad(), key.grad(), value.grad()]
}

/// Compares what is attended, and its gradients, with the definition in float64.
fn check(scoring: Scoring, sizes: [i64; 5], mask: Option<DropoutMask>) {
    let exact = results(|it| by_definition(it, mask), scoring, Kind::Double, sizes);
    let found = results(|it| it.attend(mask), scoring, Kind::Float, sizes);
    for (at, (found, exact)) in found.iter().zip(&exact).enumerate() {
        let miss = (found - exact).abs().max().double_value(&[]);
        let what = format!("{sizes:?}, {scoring:?}: tensor {at}");
        assert!(miss < 1e-5, "{what} misses by {miss:e}");
    }
}

#[test]
fn attention_in_one_pass_and_its_gradients_are_those_of_float64() {
    // Lengths around the blocks' and the vectors' ends; as many queries as keys and fewer.
    for sizes in [
        [3, 2, 71, 71, 32],
        [1, 1, 16, 16, 64],
        [2, 2, 1, 37, 16],
        [2, 3, 5, 130, 16],
        [1, 2, 97, 97, 48],
        [1, 1, 1, 1, 16],
    ] {
        check(Scoring::default(), sizes, Some(MASK));
    }
}

#[test]
fn windows_caps_and_scales_and_their_gradients_are_those_of_float64() {
    let (scale, softcap) = (Some(0.4), Some(SoftCap(1.5)));
    let plain = Scoring::default();
    for (scoring, mask) in [1, 5, 36, 37, 90]
        .into_iter()
        .flat_map(|window| {
            let window = Some(window);
            [
                Scoring { window, ..plain },
                Scoring {
                    scale,
                    softcap,
                    window,
                },
            ]
        })
        .chain([Scoring { scale, ..plain }, Scoring { softcap, ..plain }])
        .flat_map(|scoring| [(scoring, None), (scoring, Some(MASK))])
    {
        for sizes in [[2, 2, 37, 37, 16], [1, 3, 5, 37, 6], [2, 2, 1, 37, 16]] {
            check(scoring, sizes, mask);
        }
    }
}

#[test]
fn a_query_sees_as_many_keys_as_its_window_is_long_and_none_after_its_own() {
    // Without queries, all keys that are seen have the same share; values are their own places.
    let options = (Kind::Float, Device::Cpu);
    let places = Tensor::arange(9, options).view([1, 1, 9, 1]);
    for (queries, window) in [(9, 3), (9, 1), (9, 9), (9, 20), (4, 3), (1, 3)] {
        let attention = CausalAttention {
            query: &Tensor::zeros([1, 1, queries, 1], options),
            key: &places,
            value: &places,
            scoring: Scoring {
                window: Some(window),
                ..Scoring::default()
            },
        };
        let capped = CausalAttention {
            scoring: Scoring {
                softcap: Some(SoftCap(2.0)),
                ..attention.scoring
            },
            ..attention
        };
        for attended in [attention.attend(None), capped.attend(None)] {
            let attended = attended.unwrap().flatten(0, -1);
            for (query, got) in (9 - queries..9).zip(Vec::<f64>::try_from(attended).unwrap()) {
                let first = (query - window + 1).max(0);
                let mean = (first + query) as f64 / 2.0;
                assert!((got - mean).abs() < 1e-5, "{query}, {window}: {got}");
            }
        }
    }
}

#[test]
fn a_window_that_all_keys_are_in_changes_no_bit() {
    let sizes = [2, 2, 37, 37, 16];
    let with = |window, mask| {
        let scoring = Scoring {
            window,
            ..Scoring::default()
        };
        results(|it| it.attend(mask), scoring, Kind::Float, sizes)
    };
    for mask in [None, Some(MASK)] {
        assert_eq!(with(Some(37), mask), with(None, mask));
    }
}

#[test]
fn grouped_heads_are_those_that_are_repeated_for_each_query_head() {
    let (options, mask) = ((Kind::Float, Device::Cpu), Some(MASK));
    let query = Tensor::randn([2, 6, 9, 16], options);
    let (key, value) = (
        Tensor::randn([2, 2, 9, 16], options),
        Tensor::randn([2, 2, 9, 16], options),
    );
    let attend = |key: &Tensor, value: &Tensor, mask| {
        let attention = CausalAttention {
            query: &query,
            key,
            value,
            scoring: Scoring::default(),
        };
        attention.attend(mask).unwrap()
    };
    let each = |x: &Tensor| x.repeat_interleave_self_int(3, 1, None);
    for mask in [mask, None] {
        let grouped = attend(&key, &value, mask);
        let repeated = attend(&each(&key), &each(&value), mask);
        assert!(grouped.allclose(&repeated, 1e-5, 1e-6, false));
    }
}

/// Compares grouped heads in one pass, and their gradients, with float64; misses of `allowed` of a tensor's
/// largest value are.
fn check_groups(kind: Kind, allowed: f64) {
    let plain = Scoring::default();
    for (groups, sizes) in [
        (3, [2, 9, 71, 71, 32]),
        (2, [1, 4, 5, 37, 16]),
        (4, [3, 4, 64, 64, 64]),
        (1, [2, 2, 33, 33, 48]),
    ] {
        for mask in [None, Some(MASK)] {
            let in_one_pass = |it: &CausalAttention<'_>| {
                let attended = it.in_one_pass(mask)?;
                Ok(attended.expect("there is a kernel"))
            };
            let found = results_of_groups(in_one_pass, plain, kind, groups, sizes);
            let exact = |it: &CausalAttention<'_>| by_definition(it, mask);
            let exact = results_of_groups(exact, plain, Kind::Double, groups, sizes);
            for (at, (found, exact)) in found.iter().zip(&exact).enumerate() {
                let miss = (found.to_kind(Kind::Double) - exact).abs().max();
                let (miss, largest) = (miss.double_value(&[]), exact.abs().max().double_value(&[]));
                assert!(
                    miss < largest * allowed,
                    "{groups} of {sizes:?}: tensor {at} misses by {miss:e} of {largest}"
                );
            }
        }
    }
}

#[test]
fn grouped_heads_and_their_gradients_are_those_of_float64() {
    check_groups(Kind::Float, 1e-5);
    let _narrow = Autocast::enter(Device::Cpu, Kind::BFloat16).unwrap();
    if narrow::is_on(Device::Cpu) {
        // Inputs and what is kept are rounded to 8 bits.
        check_groups(Kind::BFloat16, 1.0 / 30.0);
    }
}

/// Whether a kernel that keeps probabilities takes texts of up to four times a head's width, and no others.
fn check_what_is_short(kind: Kind) {
    for (tokens, taken) in [(64, true), (65, false)] {
        let x = Tensor::ones([1, 2, tokens, 16], (kind, Device::Cpu));
        let attention = CausalAttention {
            query: &x,
            key: &x,
            value: &x,
            scoring: Scoring::default(),
        };
        assert_eq!(attention.in_one_pass(None).unwrap().is_some(), taken);
        let attended = attention.attend(None).unwrap();
        assert!(attended.allclose(&x, 0.02, 0.0, false));
    }
}

#[test]
fn without_dropout_long_texts_keep_no_probabilities() {
    check_what_is_short(Kind::Float);
    let _narrow = Autocast::enter(Device::Cpu, Kind::BFloat16).unwrap();
    if narrow::is_on(Device::Cpu) {
        check_what_is_short(Kind::BFloat16);
    }
}
