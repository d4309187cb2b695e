//! The queue of jobs: a stream from which a job goes when it is done, and the one consumer of it that
//! all lanes share. At most one job is kept under a subject, and each job has its own.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::Message;
use bytes::Bytes;
use regatta_actors::ids::JobId;
use regatta_actors::lanes::broker::{BrokerError, Delivery, Lease};
use serde_json::json;

use crate::connection::Connection;
use crate::jetstream::{JetStream, nanoseconds};
use crate::names::{LANES, Names};

/// Lanes that may wait for a job at once.
const MOST_LANES: u32 = 16384;

/// Makes the queue; says whether it was missing. A job whose lease was not renewed for `lease` is
/// given out again.
pub(crate) async fn prepare(
    streams: &JetStream,
    names: &Names,
    lease: Duration,
) -> Result<bool, BrokerError> {
    let until_done = json!({ "retention": "workqueue" });
    let was_missing = streams
        .make_stream_of_firsts(&names.jobs(), &names.all_jobs(), until_done)
        .await?;
    let lanes = json!({
        "durable_name": LANES,
        "ack_policy": "explicit",
        "ack_wait": nanoseconds(lease),
        "deliver_policy": "all",
        "replay_policy": "instant",
        "max_deliver": -1,
        "max_ack_pending": -1,
        "max_waiting": MOST_LANES,
    });
    streams
        .make_consumer(&names.jobs(), Some(LANES), lanes)
        .await?;
    Ok(was_missing)
}

/// Deletes the consumer and creates another, which then gives out all jobs. Servers have had consumers
/// that stop giving any out, most after a restart: nats-server's issues 4736 and 6905.
pub(crate) async fn restart(
    streams: &JetStream,
    names: &Names,
    lease: Duration,
) -> Result<(), BrokerError> {
    streams.delete_consumer(&names.jobs(), LANES).await?;
    prepare(streams, names, lease).await?;
    Ok(())
}

/// Queues a job; one that is queued already is not changed.
pub(crate) async fn submit(
    streams: &JetStream,
    names: &Names,
    job: JobId,
    order: Bytes,
) -> Result<(), BrokerError> {
    streams
        .store(&names.jobs(), &names.job(job), order, None)
        .await?;
    Ok(())
}

/// The jobs that wait or are being done.
pub(crate) async fn queued(
    streams: &JetStream,
    names: &Names,
) -> Result<BTreeSet<JobId>, BrokerError> {
    let subjects = streams.subjects(&names.jobs(), &names.all_jobs()).await?;
    let jobs = subjects.keys().filter_map(|subject| names.job_of(subject));
    Ok(jobs.collect())
}

/// The next job for a lane, waited for as long as `wait`.
pub(crate) async fn next_order(
    streams: &JetStream,
    names: &Names,
    wait: Duration,
) -> Result<Option<Delivery<JobLease>>, BrokerError> {
    let Some(message) = streams.next(&names.jobs(), LANES, wait).await? else {
        return Ok(None);
    };
    let Message { reply, payload, .. } = message;
    let subject = reply.ok_or_else(|| BrokerError::Away("a job came without a lease".into()))?;
    let times = times(&subject).unwrap_or(1);
    let lease = JobLease {
        connection: streams.connection().clone(),
        time: streams.time(),
        subject: subject.to_string(),
    };
    Ok(Some(Delivery {
        order: payload,
        lease,
        times,
    }))
}

/// The right to do a job.
#[derive(Debug)]
pub struct JobLease {
    connection: Connection,
    time: Duration,
    /// What is sent here is about this delivery of this job.
    subject: String,
}

impl JobLease {
    /// Tells the broker something about the job, and waits until it knows. A server says nothing to
    /// one that speaks of a delivery which it forgot when it was killed.
    async fn tell(&self, word: impl Into<Bytes>) -> Result<(), BrokerError> {
        let asked = self
            .connection
            .request(&self.subject, None, word.into(), self.time * 2);
        match tokio::time::timeout(self.time, asked).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(BrokerError::Missing(_))) | Err(_) => {
                Err(BrokerError::Missing("lease of this job any more".into()))
            }
            Ok(Err(error)) => Err(error),
        }
    }
}

impl Lease for JobLease {
    async fn renew(&self) -> Result<(), BrokerError> {
        self.tell("+WPI").await
    }

    async fn done(&self) -> Result<(), BrokerError> {
        self.tell("+ACK").await
    }

    async fn give_back(&self, pause: Duration) -> Result<(), BrokerError> {
        let pause = json!({ "delay": nanoseconds(pause) });
        self.tell(format!("-NAK {pause}")).await
    }
}

/// How often a message was given out, by its reply subject: `$JS.ACK.<stream>.<consumer>.<times>…`,
/// or with the domain and the account before the stream.
fn times(receipt: &str) -> Option<u64> {
    let parts: Vec<&str> = receipt.split('.').collect();
    let place = if parts.len() > 9 { 6 } else { 4 };
    parts.get(place)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_read_with_and_without_a_domain() {
        let short = "$JS.ACK.RG_r_JOBS.lanes.3.17.5.1790000000000000000.2";
        assert_eq!(times(short), Some(3));
        let long = "$JS.ACK._.ACCOUNT.RG_r_JOBS.lanes.3.17.5.1790000000000000000.2.token";
        assert_eq!(times(long), Some(3));
        assert_eq!(times("_INBOX.x"), None);
    }
}
