//! The right to coordinate a run, which one coordinator has at a time.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::time;

use crate::lanes::broker::{Broker, BrokerError, Claim};
use crate::lanes::remote::settings::RemoteSettings;

/// The right of this coordinator, which ends by itself when it is not renewed.
pub(super) struct Right<B> {
    broker: Arc<B>,
    /// The name under which it is claimed.
    claimant: Arc<str>,
}

impl<B> Clone for Right<B> {
    fn clone(&self) -> Self {
        Self {
            broker: self.broker.clone(),
            claimant: self.claimant.clone(),
        }
    }
}

impl<B: Broker> Right<B> {
    /// Takes the right.
    ///
    /// # Errors
    /// If the broker cannot be reached, or another coordinator has the run.
    pub async fn take(broker: Arc<B>, settings: &RemoteSettings) -> Result<Self, String> {
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let claimant = format!("{} ({:x})", settings.name, since.as_nanos()).into();
        let right = Self { broker, claimant };
        // A coordinator that was killed still has the right for a while.
        let until = Instant::now() + settings.timing.silence * 2;
        loop {
            match right.renew().await {
                Ok(Claim::Granted) => return Ok(right),
                Ok(Claim::HeldBy(other)) if Instant::now() >= until => {
                    return Err(format!("the run has a coordinator already: {other}"));
                }
                Ok(Claim::HeldBy(_)) => time::sleep(settings.timing.retry).await,
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Renews the right. Gives who has it.
    pub async fn renew(&self) -> Result<Claim, BrokerError> {
        self.broker.claim(&self.claimant).await
    }

    /// Gives the right up, so that whoever resumes the run need not wait until it ends.
    pub async fn release(&self) -> Result<(), BrokerError> {
        self.broker.release(&self.claimant).await
    }
}
