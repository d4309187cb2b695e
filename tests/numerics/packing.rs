//! Rows of several texts against the same texts in rows of their own.

use rand::SeedableRng;
use regatta::adapter::settings::AdapterKind;
use regatta::model::documents::Documents;
use regatta::model::dropout::Masks;
use regatta::model::inputs::Inputs;
use regatta::model::loss::Labels;
use regatta::model::objective::Objective;
use regatta::train::replica::Replica;
use regatta_actors::random::Stream;
use tch::{Device, Tensor};

use crate::recompute::{MODELS, checkpoint, replica};

/// Positions that stretch with the longest text of a batch, here beyond the four of pretraining.
const DYNAMIC: &str = r#"{"model_type": "llama", "vocab_size": 40, "hidden_size": 32,
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "intermediate_size": 20, "initializer_range": 0.3, "attention_dropout": 0.1,
    "max_position_embeddings": 4, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}"#;

/// The lengths of texts, by the rows that they are packed into.
const ROWS: [&[usize]; 3] = [&[5, 3], &[7, 1], &[4]];

fn decoders() -> Vec<&'static str> {
    let is_decoder = |json: &&str| checkpoint(json).1 == Objective::NextToken;
    let decoders: Vec<_> = MODELS.into_iter().filter(is_decoder).collect();
    assert!(decoders.len() >= 4, "windows and caps are tried too");
    decoders.into_iter().chain([DYNAMIC]).collect()
}

fn texts() -> Vec<Vec<i64>> {
    let lengths = ROWS.iter().copied().flatten().zip(0..);
    lengths
        .map(|(length, text)| {
            (0..*length as i64)
                .map(|at| 2 + (text * 11 + at * 7) % 38)
                .collect()
        })
        .collect()
}

/// Texts laid out from these places of rows of this width: ids, mask, and labels of all but the first
/// two tokens of each.
fn laid_out(starts: &[usize], rows: usize, width: usize) -> (Inputs, Labels) {
    let (mut ids, mut mask) = (vec![0; rows * width], vec![0; rows * width]);
    let (mut places, mut tokens) = (Vec::new(), Vec::new());
    for (text, start) in texts().iter().zip(starts) {
        ids[*start..start + text.len()].copy_from_slice(text);
        mask[*start..start + text.len()].fill(1);
        for (at, token) in text.iter().enumerate().skip(2) {
            places.push((start + at - 1) as i64);
            tokens.push(*token);
        }
    }
    let types = vec![0; ids.len()];
    let inputs = Inputs::new(rows as i64, &ids, &mask, &types, Device::Cpu).unwrap();
    (
        inputs,
        Labels::tokens(&places, &tokens, Device::Cpu).unwrap(),
    )
}

fn alone() -> (Inputs, Labels) {
    let starts: Vec<usize> = (0..5).map(|row| row * 7).collect();
    laid_out(&starts, 5, 7)
}

fn packed() -> (Inputs, Labels) {
    let (mut inputs, labels) = laid_out(&[0, 5, 8, 15, 16], 3, 8);
    let lengths = ROWS.map(|row| row.iter().map(|length| *length as i64).collect());
    inputs.documents = Some(Documents::new(lengths.to_vec()));
    (inputs, labels)
}

/// The loss and all gradients.
fn results(
    replica: &Replica,
    (inputs, labels): &(Inputs, Labels),
    masks: Option<&Masks>,
) -> Vec<(String, Tensor)> {
    let outputs = replica.model.outputs(inputs, masks).unwrap();
    let loss = replica.model.loss(&outputs, labels, 0.1).unwrap();
    replica.backward(&loss.graph).unwrap();
    let mut found = vec![("loss".to_owned(), loss.mean.shallow_clone())];
    let gradients = replica.gradients().unwrap().into_iter();
    found.extend(gradients.map(|(name, gradient)| (name.to_owned(), gradient)));
    found
}

#[test]
fn packed_texts_have_the_loss_and_the_gradients_of_texts_in_rows_of_their_own() {
    for json in decoders() {
        let table = match json.contains("gpt2") {
            true => "transformer.wte.weight",
            false => "model.embed_tokens.weight",
        };
        let fresh = || replica(json, AdapterKind::Lora, 0, &[table]);
        let expected = results(&fresh(), &alone(), None);
        let found = results(&fresh(), &packed(), None);
        assert!(expected.len() > 6, "{json}");
        for ((name, expected), (_, found)) in expected.iter().zip(&found) {
            let miss = (found - expected).abs().max().double_value(&[]);
            let size = expected.abs().max().double_value(&[]);
            assert!(
                size > 0.0 && miss < 1e-6 * size.max(1.0),
                "{json}: {name} misses by {miss:e}"
            );
        }
    }
}

#[test]
fn recomputed_layers_of_packed_rows_give_the_same_bits() {
    for json in decoders() {
        let mut recomputed = replica(json, AdapterKind::Lora, 0, &[]);
        recomputed.model.checkpoint_blocks();
        let kept = replica(json, AdapterKind::Lora, 0, &[]);
        let trained = |replica: &Replica| {
            let masks = Masks::new(Stream::seed_from_u64(9));
            results(replica, &packed(), Some(&masks))
        };
        assert_eq!(trained(&recomputed), trained(&kept), "{json}");
    }
}

#[test]
fn texts_that_do_not_fit_the_rows_are_refused() {
    let model = replica(MODELS[0], AdapterKind::Lora, 0, &[]);
    let (mut inputs, _) = packed();
    for rows in [vec![vec![8]], vec![vec![9], vec![1], vec![1]]] {
        inputs.documents = Some(Documents::new(rows));
        let error = model.model.outputs(&inputs, None).unwrap_err().to_string();
        assert!(error.contains("do not fit 3 rows of 8 tokens"), "{error}");
    }
}
