//! Logs, on standard error and optionally in a file.

pub mod events;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// A log file that can be reopened after it was moved.
#[derive(Debug, Clone)]
pub struct LogFile {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl LogFile {
    /// Opens a file to append to; makes it if it is not there.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: Arc::new(Mutex::new(append_to(path)?)),
        })
    }

    /// Continues in a file of the same name, which may now be another one.
    ///
    /// # Errors
    /// If it cannot be written; the log then continues in the old one.
    pub fn reopen(&self) -> io::Result<()> {
        let file = append_to(&self.path)?;
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = file;
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).open(path)
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts logging: warnings, or more with each `-v`. `writer` makes what the lines go to, so that
/// they do not disturb progress bars. They go to `file` as well, with what one `-v` shows at the
/// least. `RUST_LOG` overrides all of it.
pub fn start<W>(verbose: u8, writer: W, file: Option<LogFile>)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let terminal = fmt::layer()
        .with_ansi(io::stderr().is_terminal())
        .with_writer(BoxMakeWriter::new(writer))
        .with_filter(filter(verbose));
    let file = file.map(|file| {
        fmt::layer()
            .with_ansi(false)
            .with_writer(move || file.clone())
            .with_filter(filter(verbose.max(1)))
    });
    // Only a second start could fail, and then there is a log already.
    let _ = tracing_subscriber::registry()
        .with(terminal)
        .with(file)
        .try_init();
}

fn filter(verbose: u8) -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_filter(verbose)))
}

/// What is logged for a number of `-v`. actix-http logs what is wrong with
/// requests, some of it as errors, so anyone who reaches a port could fill the disk with it.
fn default_filter(verbose: u8) -> &'static str {
    match verbose {
        0 => "warn,actix_http=off",
        1 => "warn,regatta=info,regatta_actors=info,actix_http=off",
        2 => "info,regatta=debug,regatta_actors=debug,actix_http=off",
        _ => "debug,regatta=trace,regatta_actors=trace,actix_http=off",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_request_is_logged_by_the_library_that_reads_it_however_verbose_the_log() {
        for verbose in 0..=4 {
            let lines = Arc::<Mutex<Vec<u8>>>::default();
            let writer = Arc::clone(&lines);
            let layer = fmt::layer()
                .with_writer(move || Buffer(Arc::clone(&writer)))
                .with_filter(EnvFilter::new(default_filter(verbose)));
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
                tracing::error!(target: "actix_http::h1::decoder", "malformed");
                tracing::error!(target: "regatta::live::ports", "told");
            });
            let lines = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
            assert!(
                lines.contains("told") && !lines.contains("malformed"),
                "{lines}"
            );
        }
    }

    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_that_was_moved_away_goes_on_in_a_new_file_of_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        let mut log = LogFile::open(&path).unwrap();
        log.write_all(b"one\n").unwrap();
        std::fs::rename(&path, &moved).unwrap();
        log.write_all(b"two\n").unwrap();
        log.reopen().unwrap();
        log.write_all(b"three\n").unwrap();
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
    }
}
