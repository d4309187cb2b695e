use std::fs;

use regatta_actors::ids::{ClientId, Digest};
use regatta_actors::observe::Observer;
use regatta_actors::protocol::event::{ClientInfo, Event};
use regatta_actors::protocol::round_record::{ClientRecord, Outcome, PhaseSeconds, RoundRecord};
use regatta_actors::workload::update::Scores;

use crate::live::tensorboard::TensorBoard;
use crate::live::tensorboard::file::masked_crc;

/// An event as it was read back.
#[derive(Debug, Default, PartialEq)]
struct Read {
    version: Option<String>,
    step: u64,
    starts: bool,
    scalars: Vec<(String, f32)>,
}

/// The contents of a file's frames, their checksums checked.
fn frames(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_at(8);
        let (crc, rest) = rest.split_at(4);
        assert_eq!(crc, masked_crc(length).to_le_bytes());
        let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
        let (content, rest) = rest.split_at(length);
        let (crc, rest) = rest.split_at(4);
        assert_eq!(crc, masked_crc(content).to_le_bytes());
        frames.push(content.to_vec());
        bytes = rest;
    }
    frames
}

/// A message's fields: their numbers, and their contents as bytes or as a varint's value.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>, u64)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let head = varint(&mut bytes);
        let length = match head & 7 {
            0 => {
                fields.push((head >> 3, Vec::new(), varint(&mut bytes)));
                continue;
            }
            1 => 8,
            2 => varint(&mut bytes) as usize,
            5 => 4,
            other => panic!("kind {other}"),
        };
        let (content, rest) = bytes.split_at(length);
        fields.push((head >> 3, content.to_vec(), 0));
        bytes = rest;
    }
    fields
}

fn read(bytes: &[u8]) -> Read {
    let mut event = Read::default();
    for (field, content, number) in fields(bytes) {
        match field {
            1 => assert!(f64::from_le_bytes(content.try_into().unwrap()) > 1e9),
            2 => event.step = number,
            3 => event.version = Some(String::from_utf8(content).unwrap()),
            5 => {
                for (_, value, _) in fields(&content) {
                    let value = fields(&value);
                    let tag = String::from_utf8(value[0].1.clone()).unwrap();
                    let number = f32::from_le_bytes(value[1].1.clone().try_into().unwrap());
                    event.scalars.push((tag, number));
                }
            }
            7 => event.starts = fields(&content) == [(1, vec![], 1)],
            other => panic!("field {other}"),
        }
    }
    event
}

fn started(clients: u32) -> Event {
    let client = |number| ClientInfo {
        client: ClientId(number),
        name: format!("c{number}"),
        examples: 8,
    };
    Event::RunStarted {
        run: "demo".into(),
        rounds: 3,
        lanes: 1,
        clients: (0..clients).map(client).collect(),
    }
}

fn round(number: u32) -> Event {
    Event::RoundFinished(RoundRecord {
        round: number,
        train_loss: Some(0.5),
        eval: Some(Scores::from([("accuracy".into(), 0.75)])),
        exactness_error: None,
        measures: [].into(),
        virtual_seconds: 300.0 * f64::from(number),
        seconds: PhaseSeconds::default(),
        state_digest: Digest(String::new()),
        refused: Vec::new(),
        clients: vec![ClientRecord {
            client: ClientId(1),
            name: "c1".into(),
            outcome: Outcome::Aggregated,
            loss: Some(0.25),
            examples: 8,
            steps: 1,
            bytes_up: 10,
            bytes_down: 20,
            seconds: 0.1,
        }],
    })
}

/// All events of a folder, file by file in the order of their names.
fn events(folder: &std::path::Path) -> Vec<Vec<Read>> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let frames = frames(&fs::read(path).unwrap());
        frames.iter().map(|frame| read(frame)).collect()
    };
    files.iter().map(read).collect()
}

#[test]
fn the_checksum_is_the_one_of_the_format() {
    // CRC-32C of "123456789" is 0xE3069283, the check value of its catalogue entry.
    let crc: u32 = 0xE306_9283;
    let masked = crc.rotate_right(15).wrapping_add(0xA282_EAD8);
    assert_eq!(masked_crc(b"123456789"), masked);
}

#[test]
fn a_rounds_scalars_are_read_back_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut board = TensorBoard::new(folder.path().join("tb"), 100);
    for event in [started(2), round(1)] {
        board.on_event(&event);
    }
    let files = events(&folder.path().join("tb"));
    let [version, start, first] = files[0].as_slice() else {
        panic!("{files:?}");
    };
    assert_eq!(version.version.as_deref(), Some("brain.Event:2"));
    assert!(start.starts && start.step == 1);
    assert_eq!(first.step, 1);
    let expected = [
        ("train_loss/mean", 0.5),
        ("train_loss/c1", 0.25),
        ("eval/accuracy", 0.75),
        ("bytes/up", 10.0),
        ("bytes/down", 20.0),
        ("virtual_seconds", 300.0),
    ];
    let expected = expected.map(|(tag, value)| (tag.to_owned(), value));
    assert_eq!(first.scalars, expected);
}

#[test]
fn the_base_has_the_tags_of_the_scores_that_it_is_compared_with_in_a_folder_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut board = TensorBoard::new(folder.path().to_owned(), 100);
    let Event::RoundFinished(mut record) = round(1) else {
        unreachable!();
    };
    record.eval = Some([("bleu".into(), 0.5), ("base_bleu".into(), 0.25)].into());
    board.on_event(&started(2));
    board.on_event(&Event::RoundFinished(record));
    let bleu = |folder: &std::path::Path| -> Vec<(String, f32)> {
        let events = events(folder).into_iter().flatten();
        let scalars = events.flat_map(|event| event.scalars);
        scalars.filter(|(tag, _)| tag.contains("bleu")).collect()
    };
    assert_eq!(bleu(folder.path()), [("eval/bleu".to_owned(), 0.5)]);
    let base = bleu(&folder.path().join("base"));
    assert_eq!(base, [("eval/bleu".to_owned(), 0.25)]);
}

#[test]
fn a_resumed_run_voids_what_comes_after_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let board = || TensorBoard::new(folder.path().to_owned(), 100);
    let mut first = board();
    for event in [started(2), round(1), round(2), round(3)] {
        first.on_event(&event);
    }
    let Event::RunStarted {
        run,
        rounds,
        lanes,
        clients,
    } = started(2)
    else {
        unreachable!();
    };
    let mut second = board();
    second.on_event(&Event::RunResumed {
        run,
        rounds,
        lanes,
        clients,
        after_round: 1,
    });
    second.on_event(&round(2));
    let files = events(folder.path());
    let steps: Vec<Vec<u64>> = files
        .iter()
        .map(|events| events.iter().map(|event| event.step).collect())
        .collect();
    assert_eq!(steps, [vec![0, 1, 1, 2, 3], vec![0, 2, 2]]);
    assert!(files[1][1].starts);
}

#[test]
fn large_fleets_have_no_curve_for_each_client() {
    let folder = tempfile::tempdir().unwrap();
    let mut board = TensorBoard::new(folder.path().to_owned(), 1);
    for event in [started(2), round(1)] {
        board.on_event(&event);
    }
    let files = events(folder.path());
    let tags: Vec<&str> = files[0][2]
        .scalars
        .iter()
        .map(|(tag, _)| tag.as_str())
        .collect();
    assert!(!tags.contains(&"train_loss/c1") && tags.contains(&"train_loss/mean"));
}
