use tch::{Device, Kind};

use super::*;

const HEADS: i64 = 4;
const KEY_HEADS: i64 = 2;

fn numbers(shape: &[i64], seed: f64) -> Tensor {
    let count = shape.iter().product::<i64>();
    let numbers = Tensor::arange(count, (Kind::Float, Device::Cpu));
    ((numbers * 0.37 + seed).sin() * 2.0).reshape(shape)
}

/// Queries, keys and values of `tokens` tokens of each text.
fn inputs(texts: i64, tokens: i64, width: i64, seed: f64) -> [Tensor; 3] {
    [(HEADS, 0.1), (KEY_HEADS, 0.2), (KEY_HEADS, 0.3)]
        .map(|(heads, more)| numbers(&[texts, heads, tokens, width], seed + more))
}

fn attention([query, key, value]: &[Tensor; 3], scoring: Scoring) -> CausalAttention<'_> {
    CausalAttention {
        query,
        key,
        value,
        scoring,
    }
}

const PLAIN: Scoring = Scoring {
    scale: None,
    softcap: None,
    window: None,
};

/// Two prompts of 5 tokens and one of 2, then steps of which each goes on with some texts of the
/// last; what each text's last token attends to, and what it would by the whole text alone.
fn continued(width: i64, scoring: Scoring, kind: Kind) -> Vec<(Tensor, Tensor)> {
    let mut cache = KvCache::default();
    let mut whole: Vec<[Tensor; 3]> = Vec::new();
    for (texts, tokens) in [(2, 5), (1, 2)] {
        let prompts = inputs(texts, tokens, width, tokens as f64).map(|x| x.to_kind(kind));
        cache
            .keep_prompts(0, &attention(&prompts, scoring))
            .unwrap();
        cache.count_prompts(texts, tokens);
        let own = |text| prompts.each_ref().map(|x: &Tensor| x.narrow(0, text, 1));
        whole.extend((0..texts).map(own));
    }
    let mut pairs = Vec::new();
    for (step, kept) in [&[0_i64, 1, 2, 2][..], &[3, 0, 0], &[1, 2, 0], &[2]]
        .into_iter()
        .enumerate()
    {
        cache.select(kept).unwrap();
        whole = kept
            .iter()
            .map(|at| whole[*at as usize].each_ref().map(Tensor::shallow_clone))
            .collect();
        let next = inputs(kept.len() as i64, 1, width, 10.0 + step as f64);
        let next = next.map(|x| x.to_kind(kind));
        let attended = cache.attend_next(0, &attention(&next, scoring)).unwrap();
        cache.count_step();
        for (at, text) in (0..).zip(&mut whole) {
            for (all, own) in text.iter_mut().zip(&next) {
                *all = Tensor::cat(&[&*all, &own.narrow(0, at, 1)], 2);
            }
            let alone = attention(text, scoring).attend(None).unwrap();
            let last = join(&alone.narrow(2, alone.size()[2] - 1, 1)).unwrap();
            pairs.push((attended.narrow(0, at, 1), last));
        }
    }
    pairs
}

#[test]
fn a_texts_next_token_attends_to_the_whole_text_whatever_was_selected() {
    // The kernel takes widths that are multiples of 16, where the processor has wide vectors.
    let (scale, softcap) = (Some(0.3), Some(SoftCap(1.5)));
    // Windows within the steps, into the prompts, and longer than every text.
    let windows = [1, 3, 6, 20].map(Some);
    for scoring in [PLAIN, Scoring { scale, ..PLAIN }]
        .into_iter()
        .chain([Scoring { softcap, ..PLAIN }])
        .chain(windows.map(|window| Scoring { window, ..PLAIN }))
        .chain(windows.map(|window| Scoring {
            scale,
            softcap,
            window,
        }))
    {
        for width in [16, 48, 6] {
            for (kind, allowed) in [(Kind::Float, 1e-5), (Kind::BFloat16, 0.04)] {
                for (attended, alone) in continued(width, scoring, kind) {
                    assert_eq!(attended.kind(), kind);
                    let miss = (attended - alone).abs().max().double_value(&[]);
                    let what = format!("{kind:?}, width {width}, {scoring:?}");
                    assert!(miss < allowed, "{what}: {miss:e}");
                }
            }
        }
    }
}

#[test]
fn a_texts_next_token_has_the_same_bits_beside_other_texts() {
    let prompts = inputs(3, 5, 16, 1.0);
    let next = inputs(3, 1, 16, 2.0);
    let attended = |texts: &[i64]| {
        let mut cache = KvCache::default();
        cache.keep_prompts(0, &attention(&prompts, PLAIN)).unwrap();
        cache.count_prompts(3, 5);
        cache.select(texts).unwrap();
        let own = next
            .each_ref()
            .map(|x: &Tensor| x.index_select(0, &Tensor::from_slice(texts)));
        cache.attend_next(0, &attention(&own, PLAIN)).unwrap()
    };
    assert_eq!(attended(&[0, 1, 2]).narrow(0, 2, 1), attended(&[2]));
}

#[test]
fn positions_follow_the_selected_texts_and_a_text_that_is_not_there_is_refused() {
    let mut cache = KvCache::default();
    cache.count_prompts(2, 5);
    cache.count_prompts(1, 3);
    assert_eq!(cache.positions(), [5, 5, 3]);
    cache.select(&[2, 2, 0]).unwrap();
    cache.count_step();
    assert_eq!(cache.positions(), [4, 4, 6]);
    for none in [3, -1] {
        let error = cache.select(&[none]).unwrap_err().to_string();
        assert!(error.contains(&format!("no text {none}")), "{error}");
    }
    let two = inputs(2, 1, 16, 1.0);
    let error = cache.attend_next(0, &attention(&two, PLAIN)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("2 tokens do not continue the 3 texts"),
        "{error}"
    );
}
