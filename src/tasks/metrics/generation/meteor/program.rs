//! A program that answers lines with lines.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Child;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::error::MeteorError;

/// How much of the program's standard error is quoted, in bytes.
const COMPLAINT: usize = 1000;

/// How long a program that no longer answers is given to end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A running program. It is ended when this is dropped.
///
/// Each of its pipes has a thread, so that neither side waits for one that is full. The threads end
/// with the program.
pub(super) struct Program {
    child: Child,
    questions: Sender<String>,
    answers: Receiver<String>,
    complaint: Receiver<Vec<u8>>,
    patience: Duration,
}

impl Program {
    /// Talks to a process whose three streams are pipes.
    pub fn new(mut child: Child, patience: Duration) -> Self {
        let (questions, to_write) = mpsc::channel::<String>();
        let (read, answers) = mpsc::channel();
        let (complain, complaint) = mpsc::channel();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stderr = child.stderr.take();
        thread::spawn(move || {
            let Some(mut stdin) = stdin else { return };
            // A program that no longer reads has ended, which the missing answer tells.
            while let Ok(line) = to_write.recv() {
                if stdin.write_all(line.as_bytes()).is_err() || stdin.flush().is_err() {
                    return;
                }
            }
        });
        thread::spawn(move || {
            let lines = stdout.map(|stdout| BufReader::new(stdout).lines());
            for line in lines.into_iter().flatten().map_while(Result::ok) {
                if read.send(line).is_err() {
                    return;
                }
            }
        });
        thread::spawn(move || {
            // Whoever waits for it may have left.
            let _ = complain.send(stderr.map(end_of).unwrap_or_default());
        });
        Self {
            child,
            questions,
            answers,
            complaint,
            patience,
        }
    }

    /// The answer to a question.
    pub fn ask(&mut self, question: String) -> Result<String, MeteorError> {
        // If nobody writes it, there is no answer either.
        let _ = self.questions.send(question + "\n");
        self.answer()
    }

    /// The next line of the program.
    pub fn answer(&mut self) -> Result<String, MeteorError> {
        match self.answers.recv_timeout(self.patience) {
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Timeout) => Err(MeteorError::Silent(self.patience)),
            Err(RecvTimeoutError::Disconnected) => Err(self.ended()),
        }
    }

    fn ended(&mut self) -> MeteorError {
        // It has closed its standard output. It may still be about to say why, and to end.
        let complaint = self.complaint.recv_timeout(LAST_WORDS).unwrap_or_default();
        let deadline = Instant::now() + LAST_WORDS;
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status.to_string(),
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
                Ok(None) => break "its output is closed".to_owned(),
                Err(error) => break error.to_string(),
            }
        };
        MeteorError::Ended {
            status,
            complaint: String::from_utf8_lossy(&complaint).trim().to_owned(),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A process that has ended cannot be killed, and is waited for all the same.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last bytes of a stream, read to its end.
fn end_of(mut stream: impl Read) -> Vec<u8> {
    let (mut end, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        end.extend_from_slice(&buffer[..length]);
        end.drain(..end.len().saturating_sub(COMPLAINT));
    }
    end
}
