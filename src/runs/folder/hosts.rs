//! Keeps who trained for a run on other machines.

use std::io;

use regatta_actors::observe::Observer;
use regatta_actors::protocol::event::Event;

use crate::base::files::write_atomically;
use crate::base::time::unix_seconds;
use crate::runs::folder::RunFolder;
use crate::runs::folder::artifact::Artifact;
use crate::runs::history::hosts::HostHistory;

/// Keeps `hosts.json`, in runs that other hosts train for. No result depends on it: if it cannot be
/// written, the run continues without.
#[derive(Debug)]
pub struct HostRecorder {
    folder: RunFolder,
    history: HostHistory,
    is_damaged: bool,
}

impl HostRecorder {
    /// Continues what an earlier process kept, whose hosts have to join again.
    #[must_use]
    pub fn open(folder: RunFolder) -> Self {
        let history = folder.read_hosts().unwrap_or_else(|error| {
            tracing::warn!("what was kept of earlier hosts is lost: {error}");
            HostHistory::default()
        });
        Self {
            folder,
            history: history.resumed(unix_seconds()),
            is_damaged: false,
        }
    }

    fn write(&self) -> io::Result<()> {
        self.folder.check()?;
        let path = self.folder.path_of(Artifact::Hosts);
        let mut text = serde_json::to_vec_pretty(&self.history)?;
        text.push(b'\n');
        Ok(write_atomically(&path, &text)?)
    }
}

impl Observer for HostRecorder {
    fn on_event(&mut self, event: &Event) {
        let news = self.history.take(event, unix_seconds());
        let is_due = match event {
            // Too many to be written one by one.
            Event::JobDone { .. } | Event::JobRedone { .. } | Event::JobVerified { .. } => false,
            Event::RoundFinished(_) => self.history != HostHistory::default(),
            _ => news,
        };
        if is_due
            && !self.is_damaged
            && let Err(error) = self.write()
        {
            tracing::warn!("the run's hosts are not kept: {error}");
            self.is_damaged = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn joined(host: &str) -> Event {
        Event::HostJoined {
            host: host.into(),
            lanes: Vec::new(),
            description: String::new(),
        }
    }

    #[test]
    fn a_resumed_run_keeps_the_hosts_of_before_and_a_local_one_keeps_none() {
        let place = tempfile::tempdir().unwrap();
        let folder = RunFolder::at(place.path());
        let over = Event::RunFinished {
            rounds: 1,
            virtual_seconds: 1.0,
            ending: None,
            error: None,
        };
        HostRecorder::open(folder.clone()).on_event(&over);
        assert!(!folder.path_of(Artifact::Hosts).exists());
        // This one is killed.
        HostRecorder::open(folder.clone()).on_event(&joined("a"));
        let mut resumed = HostRecorder::open(folder.clone());
        resumed.on_event(&joined("b"));
        resumed.on_event(&over);
        let kept = folder.read_hosts().unwrap();
        let left = kept.hosts.values().map(|host| {
            let reason = host.left.as_ref().map(|left| left.reason.as_str());
            (host.host.as_str(), reason)
        });
        assert_eq!(
            left.collect::<Vec<_>>(),
            [
                ("a", Some("the coordinator was started again")),
                ("b", Some("the run ended"))
            ]
        );
    }

    #[test]
    fn a_damaged_file_is_written_anew() {
        let place = tempfile::tempdir().unwrap();
        let folder = RunFolder::at(place.path());
        std::fs::write(Path::new(&folder.path_of(Artifact::Hosts)), "{").unwrap();
        let error = folder.read_hosts().unwrap_err().to_string();
        assert!(error.contains("hosts.json"), "{error}");
        HostRecorder::open(folder.clone()).on_event(&joined("a"));
        assert_eq!(folder.read_hosts().unwrap().hosts.len(), 1);
    }
}
