use std::collections::BTreeMap;
use std::fs;

use regatta::data::batch::{Batch, BatchLabels, batches, epoch_order, group_by_length};
use regatta::data::encoded::EncodedSplit;
use regatta::data::tokenize::TextEncoder;
use regatta::tasks::glue::task::GlueTask;
use regatta_actors::random::StreamKey;
use serde::Deserialize;

use crate::support::{fixture, tiny};

#[derive(Deserialize)]
struct Expected {
    ids: Vec<u32>,
    type_ids: Vec<u8>,
}

fn encoder(model: &str, length: usize) -> TextEncoder {
    TextEncoder::from_model_dir(&fixture("models").join(model), length).unwrap()
}

fn encoded(task: GlueTask) -> EncodedSplit {
    encoder("bert", 32).encode(&tiny(task).train).unwrap()
}

#[test]
fn tokens_equal_those_of_the_python_library() {
    let text = fs::read(fixture("models/expected.json")).unwrap();
    let expected: BTreeMap<String, BTreeMap<usize, Vec<Expected>>> =
        serde_json::from_slice(&text).unwrap();
    for (model, lengths) in &expected {
        for (length, expected) in lengths {
            let encoder = encoder(model, *length);
            let single = encoder.encode(&tiny(GlueTask::Cola).train).unwrap();
            let pairs = encoder.encode(&tiny(GlueTask::Mrpc).train).unwrap();
            let got = [&single, &pairs].into_iter().flat_map(|split| {
                (0..split.len()).map(move |at| (split.ids(at), split.type_ids(at)))
            });
            let expected: Vec<_> = expected
                .iter()
                .map(|it| (&it.ids[..], &it.type_ids[..]))
                .collect();
            assert_eq!(got.collect::<Vec<_>>(), expected, "{model} at {length}");
        }
    }
}

#[test]
fn cut_examples_are_counted() {
    let split = encoder("roberta", 10)
        .encode(&tiny(GlueTask::Mrpc).train)
        .unwrap();
    assert!((0..4).all(|at| split.ids(at).len() <= 10));
    assert_eq!(split.truncated(), 4);
    assert_eq!(encoded(GlueTask::Cola).truncated(), 0);
}

#[test]
fn a_cached_split_is_the_same_and_a_damaged_cache_is_rebuilt() {
    let cache = tempfile::tempdir().unwrap();
    let data = tiny(GlueTask::Rte);
    let encoder = encoder("roberta", 32);
    let fresh = encoder.encode(&data.train).unwrap();
    let files = || -> Vec<_> {
        fs::read_dir(cache.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    };
    let cached = || encoder.encode_cached(&data.train, cache.path()).unwrap();
    assert_eq!(cached(), fresh);
    let good = fs::read(&files()[0]).unwrap();
    assert_eq!(cached(), fresh);
    assert_eq!(files().len(), 1);

    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&files()[0], &bad).unwrap();
    assert_eq!(cached(), fresh);
    assert_eq!(fs::read(&files()[0]).unwrap(), good);
}

#[test]
fn another_length_model_or_text_has_another_cache_entry() {
    let cache = tempfile::tempdir().unwrap();
    let data = tiny(GlueTask::Rte);
    for (model, length) in [("roberta", 32), ("roberta", 16), ("bert", 32)] {
        encoder(model, length)
            .encode_cached(&data.train, cache.path())
            .unwrap();
    }
    encoder("bert", 32)
        .encode_cached(&data.validation[0], cache.path())
        .unwrap();
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 4);
}

#[test]
fn a_cache_that_cannot_be_written_costs_nothing_but_time() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let data = tiny(GlueTask::Rte);
    let encoder = encoder("bert", 32);
    let split = encoder.encode_cached(&data.train, &file).unwrap();
    assert_eq!(split, encoder.encode(&data.train).unwrap());
}

#[test]
fn a_length_that_the_model_cannot_do_is_refused_with_what_it_can() {
    let refusal = |model: &str, length| {
        let dir = fixture("models").join(model);
        TextEncoder::from_model_dir(&dir, length)
            .unwrap_err()
            .to_string()
    };
    // RoBERTa's 34 position embeddings are 32 positions.
    assert!(refusal("roberta", 33).contains("takes 6 to 32 tokens"));
    assert!(refusal("roberta", 5).contains("max_seq_length 5"));
    assert!(refusal("bert", 33).contains("takes 5 to 32 tokens"));
    assert!(refusal("bert", 0).contains("max_seq_length 0"));
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(
        fixture("models/roberta/tokenizer.json"),
        dir.path().join("tokenizer.json"),
    )
    .unwrap();
    fs::copy(
        fixture("models/bert/config.json"),
        dir.path().join("config.json"),
    )
    .unwrap();
    let refusal = TextEncoder::from_model_dir(dir.path(), 16)
        .unwrap_err()
        .to_string();
    assert!(refusal.contains("do not match"), "{refusal}");
    fs::write(dir.path().join("tokenizer.json"), "{}").unwrap();
    let refusal = TextEncoder::from_model_dir(dir.path(), 16)
        .unwrap_err()
        .to_string();
    assert!(refusal.contains("tokenizer.json"), "{refusal}");
}

#[test]
fn a_batch_is_padded_to_its_own_longest() {
    let split = encoded(GlueTask::Rte);
    let batch = Batch::gather(&split, &[2, 0], 9);
    let longest = split.ids(2).len().max(split.ids(0).len());
    assert_eq!((batch.rows, batch.cols), (2, longest));
    assert_eq!(batch.labels, BatchLabels::Rows(vec![0.0, 0.0]));
    for (row, position) in [2, 0].into_iter().enumerate() {
        let cells = row * longest..(row + 1) * longest;
        let length = split.ids(position).len();
        let ids: Vec<i64> = split.ids(position).iter().copied().map(i64::from).collect();
        assert_eq!(batch.input_ids[cells.clone()][..length], ids);
        assert!(
            batch.input_ids[cells.clone()][length..]
                .iter()
                .all(|id| *id == 9)
        );
        let mask = &batch.attention_mask[cells.clone()];
        assert!(
            mask[..length].iter().all(|it| *it == 1) && mask[length..].iter().all(|it| *it == 0)
        );
        let types = &batch.token_type_ids[cells];
        let expected: i64 = split
            .type_ids(position)
            .iter()
            .map(|it| i64::from(*it))
            .sum();
        assert_eq!(types.iter().sum::<i64>(), expected);
        assert_eq!(types[length - 1], 1);
    }
}

fn key(round: u32) -> StreamKey<'static> {
    StreamKey {
        seed: 1,
        purpose: "shuffle",
        name: "client-0",
        round,
        attempt: 0,
    }
}

#[test]
fn an_epoch_holds_every_position_once_in_an_order_that_its_key_decides() {
    let order = epoch_order(100, key(1));
    assert_eq!(order, epoch_order(100, key(1)));
    assert_ne!(order, epoch_order(100, key(2)));
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..100).collect::<Vec<u32>>());
    let sizes: Vec<usize> = batches(&order, 32).map(<[u32]>::len).collect();
    assert_eq!(sizes, [32, 32, 32, 4]);
}

#[test]
fn batches_of_like_lengths_hold_every_example_once_and_waste_little() {
    let length = |position: u32| 5 + (position as usize * 7919) % 60;
    let padding = |order: &[u32]| -> usize {
        let waste = |batch: &[u32]| {
            let longest = batch.iter().map(|at| length(*at)).max().unwrap();
            batch.iter().map(|at| longest - length(*at)).sum::<usize>()
        };
        batches(order, 8).map(waste).sum()
    };
    let random = epoch_order(1003, key(1));
    let mut grouped = random.clone();
    group_by_length(&mut grouped, 8, length, key(1));
    assert!(padding(&grouped) * 5 < padding(&random));
    let mut again = random.clone();
    group_by_length(&mut again, 8, length, key(1));
    assert_eq!(grouped, again);
    let lengths: Vec<usize> = batches(&grouped, 8).map(|batch| length(batch[0])).collect();
    assert!(
        !lengths.is_sorted(),
        "the batches themselves come in random order"
    );
    grouped.sort_unstable();
    assert_eq!(grouped, (0..1003).collect::<Vec<u32>>());
}
