//! GGUF files and snapshots in parts: what is wrong with them is said before there is a run.

use std::fs;
use std::path::Path;

use regatta::base::tensors::TensorMap;

use crate::models::refusal;
use crate::workplace::Workplace;

const FILE: &str = "--task rte --model tiny.gguf --metrics off --web off";
const TINY: &str = "--task rte --model models/tiny --metrics off --web off";

/// A Llama of one layer.
fn llama() -> Vec<u8> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read(project.join("tests/fixtures/gguf/llama.gguf")).unwrap()
}

/// The workplace with a GGUF file.
fn with_file(bytes: &[u8]) -> Workplace {
    let place = Workplace::new();
    fs::write(place.path().join("tiny.gguf"), bytes).unwrap();
    place
}

/// The position behind the first occurrence of some bytes.
fn behind(bytes: &[u8], wanted: &[u8]) -> usize {
    let mut windows = bytes.windows(wanted.len());
    windows.position(|window| window == wanted).unwrap() + wanted.len()
}

/// The file with other bytes in the place of those behind an occurrence of `wanted`.
fn changed(wanted: &[u8], skip: usize, to: &[u8]) -> Vec<u8> {
    let mut bytes = llama();
    let at = behind(&bytes, wanted) + skip;
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

#[test]
fn a_sound_file_is_read_by_its_name_and_alone_in_a_folder() {
    let place = with_file(&llama());
    let error = refusal(&place, FILE);
    assert!(error.contains("a Llama gives the next token"), "{error}");
    let folder = place.path().join("models/one");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.gguf"), llama()).unwrap();
    let in_folder = "--task rte --model models/one --metrics off --web off";
    let error = refusal(&place, in_folder);
    assert!(error.contains("a Llama gives the next token"), "{error}");
    let found = place.accepts("doctor");
    assert!(
        found.contains("models/one: llama, 1 layers of 32, 0 MB of weights"),
        "{found}"
    );
    fs::write(folder.join("b.gguf"), llama()).unwrap();
    let error = refusal(&place, in_folder);
    assert!(
        error.contains("models/one: it holds several GGUF files, a.gguf, b.gguf; name the one"),
        "{error}"
    );
}

#[test]
fn a_damaged_file_is_an_error_of_the_model_with_its_place() {
    let whole = llama();
    let table = behind(&whole, b"blk.0.attn_q.weight");
    for (bytes, said) in [
        (whole[..10].to_vec(), "at byte 8: the number of tensors"),
        (
            whole[..table + 2].to_vec(),
            "it was cut short or is damaged",
        ),
        (
            whole[..whole.len() - 64].to_vec(),
            "do not fit: the file ends at byte",
        ),
        (
            changed(b"general.architecture", 4 + 8, b"falco"),
            "key `general.architecture`: `falco` is not supported; supported are llama",
        ),
        (
            // Behind the name: the number of dimensions and two sizes.
            changed(b"blk.0.attn_q.weight", 4 + 16, &16_u32.to_le_bytes()),
            "weights of type IQ2_XXS are not supported; supported are F32",
        ),
    ] {
        let error = refusal(&with_file(&bytes), FILE);
        let start = "error: --model=tiny.gguf: tiny.gguf: ";
        assert!(error.starts_with(start) && error.contains(said), "{error}");
    }
}

#[test]
fn a_model_that_is_not_there_is_an_error_that_says_what_fetches_it() {
    let place = Workplace::new();
    for (model, remedy) in [
        ("models/smollm2", "`make setup MODEL=smollm2` fetches it"),
        (
            "models/smollm2/x.gguf",
            "`make setup MODEL=smollm2` fetches it",
        ),
        ("models/minilm", "`make setup` fetches it"),
        ("tiny.gguf", "name a Hugging Face snapshot or a GGUF file"),
    ] {
        let error = refusal(
            &place,
            &format!("--task rte --model {model} --metrics off --web off"),
        );
        let start = format!("error: --model={model}: there is no such folder or file; {remedy}");
        assert!(error.starts_with(&start), "{error}");
    }
}

/// The workplace with its model's weights in two parts, and this list of them.
fn with_parts(list: impl Fn(&str) -> String) -> Workplace {
    let place = Workplace::new();
    let folder = place.path().join("models/tiny");
    let whole = folder.join("model.safetensors");
    let mut one = TensorMap::read(&whole).unwrap();
    fs::remove_file(whole).unwrap();
    let mut entries = Vec::new();
    let middle = one.0.keys().nth(one.0.len() / 2).unwrap().clone();
    let two = TensorMap(one.0.split_off(&middle));
    for (name, part) in [("1.safetensors", one), ("2.safetensors", two)] {
        entries.extend(
            part.iter()
                .map(|(tensor, _)| format!("{tensor:?}: {name:?}")),
        );
        part.write(&folder.join(name)).unwrap();
    }
    place.write(
        "models/tiny/model.safetensors.index.json",
        &list(&entries.join(", ")),
    );
    place
}

#[test]
fn weights_in_parts_are_read_and_what_is_missing_of_them_is_an_error_of_the_model() {
    let whole = |entries: &str| format!("{{\"weight_map\": {{{entries}}}}}");
    let place = with_parts(whole);
    place.accepts(&format!("check {TINY}"));
    let found = place.accepts("doctor");
    assert!(found.contains("models/tiny: roberta, 2 layers"), "{found}");
    fs::remove_file(place.path().join("models/tiny/2.safetensors")).unwrap();
    let error = refusal(&place, TINY);
    let start = "error: --model=models/tiny: models/tiny/model.safetensors.index.json: ";
    assert!(
        error.starts_with(start) && error.contains("2.safetensors, which it lists, is not there"),
        "{error}"
    );
    assert!(
        place
            .accepts("doctor")
            .contains("models/tiny: cannot be used: ")
    );
    let error = refusal(&with_parts(|_| r#"{"weight_map": {}}"#.to_owned()), TINY);
    assert!(
        error.starts_with(start) && error.contains("weight_map is empty"),
        "{error}"
    );
}

#[test]
fn a_gguf_file_in_a_snapshots_folder_without_weights_is_pointed_to() {
    let place = Workplace::new();
    let folder = place.path().join("models/tiny");
    fs::rename(folder.join("model.safetensors"), folder.join("tiny.gguf")).unwrap();
    let error = refusal(&place, TINY);
    assert!(
        error
            .contains("has no model.safetensors; name the GGUF file itself, models/tiny/tiny.gguf"),
        "{error}"
    );
}
