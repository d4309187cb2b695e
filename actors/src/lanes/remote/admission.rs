//! Who may train for a run.

use std::collections::{BTreeMap, BTreeSet};

use crate::lanes::remote::settings::RemoteSettings;
use crate::lanes::wire::{Introduction, WIRE_VERSION};

/// Differences that are told of; there may be as many as settings.
const TOLD: usize = 3;

/// Refuses a program that would not understand the coordinator, or compute differently.
///
/// # Errors
/// The reason, with both values.
pub(crate) fn check_program(
    settings: &RemoteSettings,
    wire: u32,
    build: &str,
) -> Result<(), String> {
    if wire != WIRE_VERSION {
        return Err(format!(
            "its messages are of version {wire}, the coordinator's of version {WIRE_VERSION}: use \
             the same program on all hosts"
        ));
    }
    let own = &settings.invitation.build;
    if build != own {
        return Err(format!(
            "its program is {build}, the coordinator's is {own}: use the same on all hosts"
        ));
    }
    Ok(())
}

/// Says which lanes of a host may train: those whose canary job gave the coordinator's result.
///
/// # Errors
/// The reason why none may, with both values.
pub(crate) fn check_host(
    settings: &RemoteSettings,
    host: &Introduction,
) -> Result<Vec<bool>, String> {
    let differences = differences(&settings.fingerprint, &host.fingerprint);
    if !differences.is_empty() {
        let count = differences.len();
        let more = match count.saturating_sub(TOLD) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let told: Vec<_> = differences.into_iter().take(TOLD).collect();
        return Err(format!("it has another {}{more}", told.join("; another ")));
    }
    let fits: Vec<_> = (host.lanes.iter())
        .map(|lane| lane.canary == settings.canary)
        .collect();
    if fits.contains(&true) {
        return Ok(fits);
    }
    let found: BTreeSet<_> = host.lanes.iter().map(|lane| &lane.canary.0[..]).collect();
    let found: Vec<_> = found.into_iter().collect();
    Err(format!(
        "its last bits differ: the canary job gives {} on {}, and {} here, on {}; take hosts of one \
         kind, or begin the run with --numerics portable",
        found.join(" and "),
        host.description,
        settings.canary.0,
        settings.description
    ))
}

/// What differs, with both values.
fn differences(ours: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>) -> Vec<String> {
    let keys: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let differing = keys.into_iter().filter_map(|key| {
        let (own, its) = (ours.get(key), theirs.get(key));
        let value = |value: Option<&String>| value.map_or("none", String::as_str).to_owned();
        (own != its).then(|| format!("{key}: {}, where the run has {}", value(its), value(own)))
    });
    differing.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Digest;
    use crate::lanes::remote::verify::VerifiedShare;
    use crate::lanes::timing::Timing;
    use crate::lanes::wire::{Invitation, LaneOffer};

    fn settings() -> RemoteSettings {
        RemoteSettings {
            name: "c".into(),
            description: "CPU A".into(),
            invitation: Invitation {
                build: "1".into(),
                run: String::new(),
            },
            fingerprint: [("model".to_owned(), "m".to_owned())].into(),
            canary: Digest::of(b"right"),
            verified: VerifiedShare::NONE,
            largest_update: 1 << 30,
            timing: Timing::default(),
        }
    }

    fn host(model: &str, canaries: &[&[u8]]) -> Introduction {
        Introduction {
            name: "h".into(),
            worker: 1,
            description: "CPU B".into(),
            fingerprint: [("model".to_owned(), model.to_owned())].into(),
            lanes: canaries
                .iter()
                .map(|bytes| LaneOffer {
                    device: "cpu".into(),
                    canary: Digest::of(bytes),
                })
                .collect(),
        }
    }

    #[test]
    fn lanes_with_the_right_canary_are_admitted_and_no_others() {
        let fits = check_host(&settings(), &host("m", &[b"right", b"wrong"]));
        assert_eq!(fits, Ok(vec![true, false]));
        let refused = check_host(&settings(), &host("m", &[b"wrong"])).unwrap_err();
        for told in [
            &Digest::of(b"wrong").0,
            &Digest::of(b"right").0,
            "CPU A",
            "CPU B",
        ] {
            assert!(refused.contains(told), "{refused}");
        }
    }

    #[test]
    fn another_model_program_or_version_is_refused_with_both_values() {
        let refused = check_host(&settings(), &host("n", &[b"right"])).unwrap_err();
        assert_eq!(refused, "it has another model: n, where the run has m");
        assert_eq!(check_program(&settings(), WIRE_VERSION, "1"), Ok(()));
        let refused = check_program(&settings(), WIRE_VERSION, "2").unwrap_err();
        assert!(
            refused.contains("is 2") && refused.contains("is 1"),
            "{refused}"
        );
        let refused = check_program(&settings(), WIRE_VERSION + 1, "1").unwrap_err();
        assert!(
            refused.contains(&format!("version {}", WIRE_VERSION + 1)),
            "{refused}"
        );
    }
}
