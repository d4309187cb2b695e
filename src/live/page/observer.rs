//! Feeds a run's events into a feed, and those of before it was resumed.

use std::collections::BTreeMap;

use regatta_actors::journal::ledger;
use regatta_actors::observe::Observer;
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::round_record::PhaseSeconds;

use crate::base::time::unix_seconds;
use crate::live::page::feed::Feed;
use crate::live::page::hosts::HostTracker;
use crate::runs::folder::RunFolder;
use crate::runs::folder::artifact::Artifact;
use crate::runs::samples::TextSource;
use crate::tasks::SharedTask;

/// Feeds a run's events into a [`Feed`].
#[derive(Debug)]
pub struct WebObserver {
    feed: Feed,
    folder: RunFolder,
    texts: Option<TextSource>,
    /// The last round whose texts were told.
    told: Option<u32>,
}

impl WebObserver {
    /// An observer of a run of a task with this folder, which tells what happened before the run is
    /// resumed, and holds the texts that the model writes.
    #[must_use]
    pub fn new(feed: Feed, folder: RunFolder, task: SharedTask) -> Self {
        let texts = TextSource::of(folder.clone(), task);
        // What cannot be read is told where it is kept.
        let hosts = folder.read_hosts().unwrap_or_default();
        {
            let mut inner = feed.lock();
            inner.texts.clone_from(&texts);
            inner.tracker.hosts = HostTracker::new(hosts.resumed(unix_seconds()));
        }
        Self {
            feed,
            folder,
            texts,
            told: None,
        }
    }

    /// Tells that there are texts of rounds, if there are and it was not told yet.
    fn tell_texts(&mut self, rounds: impl IntoIterator<Item = u32>) {
        let Some(texts) = &self.texts else { return };
        for round in rounds {
            if self.told.is_none_or(|told| told < round) && texts.has(round) {
                self.feed.lock().tracker.changes.texts.push(round);
                self.told = Some(round);
            }
        }
    }

    /// Takes in what happened up to a round's end: from the ledger, or where none is kept, from
    /// the record of each round.
    fn read_back(&self, after_round: u32) -> anyhow::Result<()> {
        let records = self.folder.read_rounds()?;
        if !self.folder.path_of(Artifact::Ledger).exists() {
            let records = records.into_iter();
            let before = records.filter(|record| record.round <= after_round);
            before.for_each(|record| self.feed.lock().tracker.recall(record));
            return Ok(());
        }
        // How long the rounds took is not in the ledger.
        let wall_times: BTreeMap<u32, PhaseSeconds> = records
            .into_iter()
            .map(|record| (record.round, record.seconds))
            .collect();
        for entry in ledger::read(&self.folder.path_of(Artifact::Ledger))? {
            let mut event = entry?.event;
            if let Event::RoundFinished(record) = &mut event
                && let Some(seconds) = wall_times.get(&record.round)
            {
                record.seconds = *seconds;
            }
            if let Event::RoundStarted { round, .. } = event
                && round > after_round
            {
                break;
            }
            // One event at a time, so that requests in between do not wait long.
            if !matches!(event, Event::RunStarted { .. }) {
                self.feed.lock().take(&event);
            }
        }
        Ok(())
    }
}

impl Observer for WebObserver {
    fn on_event(&mut self, event: &Event) {
        match event {
            Event::RunStarted { clients, .. } => {
                self.feed.lock().begin(clients);
                self.feed.lock().tracker.go_live();
            }
            Event::RunResumed {
                clients,
                after_round,
                ..
            } => {
                self.feed.lock().begin(clients);
                if let Err(error) = self.read_back(*after_round) {
                    tracing::warn!("the live page cannot show earlier rounds: {error}");
                }
                let rounds = self.texts.as_ref().map(TextSource::rounds);
                let mut rounds = rounds.unwrap_or_default();
                // Those of later rounds are written once more.
                rounds.retain(|round| round <= after_round);
                self.tell_texts(rounds);
                self.feed.lock().tracker.go_live();
            }
            _ => {}
        }
        self.feed.lock().take(event);
        match event {
            Event::RoundFinished(record) => self.tell_texts([0, record.round]),
            Event::Evaluated { round, .. } => self.tell_texts([0, *round]),
            _ => {}
        }
    }
}
