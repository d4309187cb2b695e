use std::path::Path;
use std::process::Command;

use regatta::base::tensors::HostTensor;
use regatta::data::batch::Batch;
use regatta::runs::export::trained::TrainedModel;
use tch::{Kind, Tensor};

use crate::decoders::{FIXTURES, KINDS, fixture, targets};
use crate::encoders::{ENCODER_RUNS, pretrained};
use crate::folders::of_several_ranks;
use crate::support::{Place, RUNS};
use crate::text::{DECODERS, Desk, inputs};

/// A Python that can import what the check needs; or what it lacks.
fn python() -> Result<String, String> {
    let python = std::env::var("REGATTA_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let imports = "import peft, safetensors, torch, transformers";
    match Command::new(&python).args(["-c", imports]).output() {
        Ok(output) if output.status.success() => Ok(python),
        Ok(output) => Err(format!(
            "{python}: {}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        )),
        Err(error) => Err(format!("{python}: {error}")),
    }
}

#[test]
fn pythons_peft_computes_what_regatta_computes() {
    let python = match python() {
        Ok(python) => python,
        Err(lack) => {
            eprintln!("skipped: REGATTA_PYTHON names no Python with PEFT\n{lack}");
            return;
        }
    };
    let cases = tempfile::tempdir().unwrap();
    // The models must outlive the check: exported adapters name them.
    let mut places = Vec::from(RUNS.map(|(name, family, flags)| {
        let place = Place::new(family);
        place.train(flags);
        write_case(&place, "run", &cases.path().join(name));
        place
    }));
    places.extend(ENCODER_RUNS.map(|(name, flags)| {
        let place = pretrained(name);
        place.train(flags);
        write_case(&place, "run", &cases.path().join(name));
        place
    }));
    let place = of_several_ranks().place;
    let run = place.run();
    place.accepts(&format!(
        "{run} --rounds 2 --lr 0.05 --init_adapter changed --out further"
    ));
    write_case(&place, "further", &cases.path().join("several-ranks"));
    places.push(place);
    let desks = write_decoders(cases.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peft/check.py");
    let output = Command::new(&python)
        .arg(&script)
        .arg(cases.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{errors}");
    println!("{said}");
    drop((places, desks));
}

/// Writes what Regatta exports of a run, and what it computes with it.
fn write_case(place: &Place, run: &str, case: &Path) {
    let out = case.display();
    place.accepts(&format!("export {run} --out {out}/adapter"));
    place.accepts(&format!("export {run} --merge --out {out}/merged"));
    write_expected(place, case);
}

/// Writes the validation split as one batch, and the logits that Regatta gives it.
fn write_expected(place: &Place, case: &Path) {
    let split = place.validation();
    let positions: Vec<u32> = (0..split.len() as u32).collect();
    let batch = Batch::gather(&split, &positions, 1);
    let shape = [batch.rows as i64, batch.cols as i64];
    let integers = |values: &[i64]| Tensor::from_slice(values).view(shape);
    let logits = place
        .predict(|| place.adapted(&case.join("adapter")))
        .logits;
    let logits = HostTensor::new(vec![shape[0], 2], logits).unwrap();
    let tensors = [
        ("input_ids", integers(&batch.input_ids)),
        ("attention_mask", integers(&batch.attention_mask)),
        ("token_type_ids", integers(&batch.token_type_ids)),
        ("logits", logits.to_tensor(tch::Device::Cpu).unwrap()),
    ];
    assert_eq!(tensors[0].1.kind(), Kind::Int64);
    Tensor::write_safetensors(&tensors, case.join("expected.safetensors")).unwrap();
}

/// Writes the same of decoders, which must outlive the check as well.
fn write_decoders(cases: &Path) -> Vec<Desk> {
    let mut desks = Vec::new();
    for (decoder, _) in DECODERS {
        let [names, all, regex] = targets(decoder);
        let saved = match decoder {
            "gpt2" => "modules_to_save = [\"transformer.wte\"]",
            "llama" => "modules_to_save = [\"lm_head\"]\nbias = \"lora_only\"",
            _ => "modules_to_save = [\"model.embed_tokens\"]",
        };
        let saved = ("lora", &*format!("r = 3\n{saved}"));
        let kinds = KINDS.iter().copied().map(|kind| (kind, names));
        let others = [(KINDS[0], all), (KINDS[1], regex), (saved, all)];
        for (i, ((kind, settings), targets)) in kinds.chain(others).enumerate() {
            let desk = Desk::new(decoder);
            let (trained, logits) = desk.train(&format!("{settings}\n{targets}"));
            let case = cases.join(format!("{decoder}-{i}-{kind}"));
            desks.push(desk);
            write_text(&trained, logits, &case);
        }
    }
    for (name, decoder) in FIXTURES {
        let (desk, trained, logits) = fixture(name, decoder);
        desks.push(desk);
        write_text(&trained, logits, &cases.join(name));
    }
    desks
}

/// Writes what Regatta exports of a decoder, and its logits.
fn write_text(trained: &TrainedModel, logits: Tensor, case: &Path) {
    trained.write_adapter(&case.join("adapter")).unwrap();
    trained.write_merged(&case.join("merged")).unwrap();
    let ids = inputs().ids;
    let tensors = [
        ("attention_mask", ids.ones_like()),
        ("input_ids", ids),
        ("logits", logits),
    ];
    Tensor::write_safetensors(&tensors, case.join("expected.safetensors")).unwrap();
}
