//! An event file: records as TFRecord frames them.
//!
//! A frame is the content's length (64 bits, little endian), the masked CRC-32C of these eight
//! bytes, the content, and the masked CRC-32C of the content.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::base::time::unix_seconds;
use crate::live::tensorboard::event;

/// The prefix of event files' names, by which TensorBoard finds them.
const PREFIX: &str = "events.out.tfevents.";

/// An event file being written; each event is on its way to the disk when it is written.
#[derive(Debug)]
pub struct EventFile(File);

impl EventFile {
    /// Begins a file in a folder, which is made if it is not there. TensorBoard reads the files in
    /// the order of their names, so its name comes after those of all that are there.
    pub fn create(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut last: Option<u64> = None;
        for entry in std::fs::read_dir(folder)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            let number = number.and_then(|rest| rest.split('.').next()?.parse().ok());
            last = last.max(number);
        }
        // Names begin with seconds by custom; a clock that went back must not change the order.
        let seconds = (unix_seconds() as u64).max(last.map_or(0, |last| last.saturating_add(1)));
        let path = folder.join(format!("{PREFIX}{seconds:010}.regatta"));
        let mut file = Self(File::create_new(path)?);
        file.write(&event::version(unix_seconds()))?;
        Ok(file)
    }

    /// Records that the run starts at this step.
    pub fn start(&mut self, step: i64) -> io::Result<()> {
        self.write(&event::start(unix_seconds(), step))
    }

    /// Writes the values of a step.
    pub fn scalars(&mut self, step: i64, scalars: &[(String, f64)]) -> io::Result<()> {
        self.write(&event::scalars(unix_seconds(), step, scalars))
    }

    fn write(&mut self, content: &[u8]) -> io::Result<()> {
        self.0.write_all(&framed(content))
    }
}

/// A record in its frame.
fn framed(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_le_bytes();
    let mut frame = length.to_vec();
    frame.extend(masked_crc(&length).to_le_bytes());
    frame.extend(content);
    frame.extend(masked_crc(content).to_le_bytes());
    frame
}

/// TFRecord's checksum: CRC-32C, rotated and shifted so that the checksum of data that hold
/// checksums is a good one.
pub fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xA282_EAD8)
}
