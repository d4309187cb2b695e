//! The few messages of TensorBoard's `event.proto` and `summary.proto` that scalars need, in
//! protobuf's wire format: a field is its number and its kind as a varint, then its content.

/// Field numbers of `Event`.
const WALL_TIME: u64 = 1;
const STEP: u64 = 2;
const FILE_VERSION: u64 = 3;
const SUMMARY: u64 = 5;
const SESSION_LOG: u64 = 7;
/// Field numbers of `Summary`, `Summary.Value` and `SessionLog`, and the status `START`.
const VALUE: u64 = 1;
const TAG: u64 = 1;
const SIMPLE_VALUE: u64 = 2;
const STATUS: u64 = 1;
const START: u64 = 1;

/// Kinds of fields.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// A message being written.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    fn field(self, number: u64, kind: u64) -> Self {
        self.varint(number << 3 | kind)
    }

    fn number(self, field: u64, value: u64) -> Self {
        self.field(field, VARINT).varint(value)
    }

    fn double(mut self, field: u64, value: f64) -> Self {
        self = self.field(field, FIXED64);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn float(mut self, field: u64, value: f32) -> Self {
        self = self.field(field, FIXED32);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self = self.field(field, BYTES).varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }
}

/// The first event of a file.
pub fn version(wall_time: f64) -> Vec<u8> {
    let event = Message::default().double(WALL_TIME, wall_time);
    event.bytes(FILE_VERSION, b"brain.Event:2").0
}

/// Records that a process starts at a step: what was written of it and of later ones is void.
pub fn start(wall_time: f64, step: i64) -> Vec<u8> {
    let log = Message::default().number(STATUS, START);
    at(wall_time, step).bytes(SESSION_LOG, &log.0).0
}

/// The values of a step.
pub fn scalars(wall_time: f64, step: i64, scalars: &[(String, f64)]) -> Vec<u8> {
    let summary = scalars
        .iter()
        .fold(Message::default(), |summary, (tag, value)| {
            let value = Message::default()
                .bytes(TAG, tag.as_bytes())
                .float(SIMPLE_VALUE, *value as f32);
            summary.bytes(VALUE, &value.0)
        });
    at(wall_time, step).bytes(SUMMARY, &summary.0).0
}

fn at(wall_time: f64, step: i64) -> Message {
    let event = Message::default().double(WALL_TIME, wall_time);
    // A negative int64 is written as its two's complement.
    event.number(STEP, step as u64)
}
