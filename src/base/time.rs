//! The machine's clock, which may be wrong by any amount: no result depends on it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

/// Whether HTTP can tell a time, which it does with every answer: from 1970 to 9999.
#[must_use]
pub fn http_can_tell(time: SystemTime) -> bool {
    let last = Duration::from_secs(253_402_300_799);
    time.duration_since(UNIX_EPOCH)
        .is_ok_and(|since| since <= last)
}

/// A time with the date and the hour that it has here; `None` beyond the years -9999 to 9999.
#[must_use]
pub fn local(time: SystemTime) -> Option<Zoned> {
    let at = Timestamp::try_from(time).ok()?;
    Some(at.to_zoned(TimeZone::system()))
}

/// A time as a part of a folder's name: `20260131-235959`.
#[must_use]
pub fn stamp(time: SystemTime) -> String {
    local(time).map_or_else(
        || "undated".to_owned(),
        |local| local.strftime("%Y%m%d-%H%M%S").to_string(),
    )
}

/// A duration as people write it, `10 min` say; `None`: it is none, or zero.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let duration = text.parse::<SignedDuration>().ok()?;
    let duration = Duration::try_from(duration).ok()?;
    (!duration.is_zero()).then_some(duration)
}

/// Seconds since 1970, by the machine's clock.
#[must_use]
pub fn unix_seconds() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Now, the first day, long before it, the ends of 32 bits, of dates, and of what the clock can hold.
    fn times() -> Vec<SystemTime> {
        let years = |n: u64| Duration::from_secs(n * 31_557_600);
        let after = [0, 69, 100, 262, 8028, 8030, 200_000_000_000];
        let after = after.map(|n| UNIX_EPOCH.checked_add(years(n)));
        let before = [1, 69, 1970, 12_000, 200_000_000_000];
        let before = before.map(|n| UNIX_EPOCH.checked_sub(years(n)));
        let times = after.into_iter().chain(before).flatten();
        times.chain([SystemTime::now()]).collect()
    }

    #[test]
    fn a_clock_that_shows_any_time_gives_a_name() {
        for time in times() {
            let stamp = stamp(time);
            let usable = |c: char| c.is_ascii_alphanumeric() || c == '-';
            assert!(!stamp.is_empty() && stamp.chars().all(usable), "{stamp}");
        }
    }

    #[test]
    fn http_tells_times_from_1970_to_9999() {
        let seconds = Duration::from_secs;
        let times = [0, 1, 1 << 31, 1 << 33, 253_402_300_799].map(|s| UNIX_EPOCH + seconds(s));
        assert!(times.into_iter().all(http_can_tell));
        let others = [
            UNIX_EPOCH - seconds(1),
            UNIX_EPOCH + seconds(253_402_300_800),
        ];
        assert!(!others.into_iter().any(http_can_tell));
        assert!(http_can_tell(SystemTime::now()));
    }

    #[test]
    fn a_time_before_1970_has_its_date() {
        let before = UNIX_EPOCH - Duration::from_secs(20 * 31_557_600);
        assert!(stamp(before).starts_with("1950") || stamp(before).starts_with("1949"));
    }
}
