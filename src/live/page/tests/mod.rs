//! The page's feed and server, from outside.

pub(crate) mod feed;
pub(crate) mod history;
pub(crate) mod hosts;
pub(crate) mod http;
pub(crate) mod page;
pub(crate) mod texts;

use std::path::Path;

use regatta_actors::ids::{ClientId, Digest, LaneId};
use regatta_actors::observe::Observer;
use regatta_actors::protocol::client_state::ClientState;
use regatta_actors::protocol::event::{ClientInfo, Event};
use regatta_actors::protocol::outcome::EndReason;
use regatta_actors::protocol::round_record::{ClientRecord, Outcome, PhaseSeconds, RoundRecord};
use regatta_actors::workload::job::Progress;
use regatta_actors::workload::update::Scores;

use crate::live::page::feed::Feed;
use crate::live::page::observer::WebObserver;
use crate::runs::folder::RunFolder;
use crate::tasks::registry;

/// A run that is reported to an observer as the actors would.
struct Followed {
    observer: WebObserver,
    clients: u32,
}

impl Followed {
    /// A run of N clients, reported to a feed.
    fn new(feed: &Feed, clients: u32) -> Self {
        let folder = RunFolder::at(Path::new("none"));
        let observer = WebObserver::new(feed.clone(), folder, registry::default());
        Self { observer, clients }
    }

    fn tell(&mut self, event: Event) {
        self.observer.on_event(&event);
    }

    fn start(&mut self, rounds: u32) {
        let clients = infos(self.clients);
        self.tell(Event::RunStarted {
            run: "followed".into(),
            rounds,
            lanes: 2,
            clients,
        });
    }

    /// A round in which every client's update arrives.
    fn round(&mut self, round: u32) {
        let began = f64::from(round - 1) * 10.0;
        let clients: Vec<_> = (0..self.clients).map(ClientId).collect();
        self.tell(Event::RoundStarted {
            round,
            clients: clients.clone(),
            virtual_seconds: began,
        });
        for &client in &clients {
            self.train(round, client, began + 9.0);
        }
        self.tell(Event::RoundFinished(record(round, &clients)));
    }

    fn train(&mut self, round: u32, client: ClientId, virtual_seconds: f64) {
        let lane = LaneId(0);
        self.tell(Event::ClientState {
            round,
            client,
            state: ClientState::Training,
            lane: Some(lane),
        });
        let progress = Progress::new(1, 2, 4, loss(round));
        self.tell(Event::Progress {
            round,
            client,
            lane,
            progress,
        });
        self.tell(Event::UpdateReceived {
            round,
            client,
            loss: loss(round),
            examples: 8,
            steps: 2,
            bytes_up: 10,
            digest: Digest("0".into()),
            seconds: 0.1,
            virtual_seconds,
        });
    }

    fn finish(&mut self, rounds: u32) {
        self.tell(Event::RunFinished {
            rounds,
            virtual_seconds: f64::from(rounds) * 10.0,
            ending: Some(EndReason::Complete),
            error: None,
        });
    }
}

fn loss(round: u32) -> f64 {
    1.0 / f64::from(round)
}

fn infos(clients: u32) -> Vec<ClientInfo> {
    let info = |number| ClientInfo {
        client: ClientId(number),
        name: format!("client-{number}"),
        examples: 8,
    };
    (0..clients).map(info).collect()
}

fn record(round: u32, clients: &[ClientId]) -> RoundRecord {
    let part = |client: &ClientId| ClientRecord {
        client: *client,
        name: format!("client-{client}"),
        outcome: Outcome::Aggregated,
        loss: Some(loss(round)),
        examples: 8,
        steps: 2,
        bytes_up: 10,
        bytes_down: 20,
        seconds: 0.1,
    };
    RoundRecord {
        round,
        train_loss: Some(loss(round)),
        eval: Some(Scores::from([
            ("accuracy".into(), 0.5),
            ("loss".into(), loss(round)),
        ])),
        exactness_error: Some(1e-8),
        measures: [].into(),
        virtual_seconds: f64::from(round) * 10.0,
        seconds: PhaseSeconds::default(),
        state_digest: Digest("0".into()),
        refused: Vec::new(),
        clients: clients.iter().map(part).collect(),
    }
}
