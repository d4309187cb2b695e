//! Errors in the tables: each with its line and its key, however the plan names it.

use crate::config::tests::{assert_starts, problems};

#[test]
fn every_error_in_a_table_has_its_line_and_none_hides_another() {
    let found = problems(
        "num_clients = 4\nrounds = 5\n\
         [polcy]\nkind = \"sync\"\n\
         [policy]\nkind = \"deadlin\"\nafter = 30\n\
         [sampling]\nnumber = 9\nexploration = 0.5\n\
         [clients.slow]\nspeed = -1\nbandwith_up = \"5 Mbit/s\"\nlatency = \"5\"\nclients = 7\n\
         [[faults]]\nkind = \"straggle\"\nat = 0.5\n\
         [[faults]]\nkind = \"crash\"\nclients = \"2..9\"\nrounds = \"7..9\"\nprobability = 2\n\
         [[faults]]\nclients = 1\n",
    );
    let starts = [
        "demo.toml:3:2: unknown key `polcy`; did you mean `policy`?",
        "demo.toml:6:8: policy.kind: unknown variant `deadlin`, expected",
        "demo.toml:7:9: policy.after: invalid duration \"30\": use a number with a unit, such as",
        "demo.toml:9:10: sampling.number = 9: must be from 1 to 4, the number of clients",
        "demo.toml:10:15: sampling.exploration = 0.5: has no meaning with",
        "demo.toml:12:9: clients.slow.speed = -1: must be finite and above 0",
        "demo.toml:13:1: unknown key `clients.slow.bandwith_up`; did you mean `bandwidth_up`?",
        "demo.toml:14:11: clients.slow.latency: invalid duration \"5\"",
        "demo.toml:15:11: clients.slow.clients = 7: there is no client 7; clients are numbered 0 to 3",
        "demo.toml:16:1: faults[0]: lacks `slowdown`; kind = \"straggle\" needs it",
        "demo.toml:18:6: faults[0].at = 0.5: has no meaning with kind = \"straggle\"",
        "demo.toml:21:11: faults[1].clients = \"2..9\": there is no client 9",
        "demo.toml:22:10: faults[1].rounds = \"7..9\": the run has 5 rounds",
        "demo.toml:23:15: faults[1].probability = 2: must be from 0 to 1",
        "demo.toml:24:1: faults[2]: lacks `kind`",
    ];
    assert_starts(&found, &starts);
}

#[test]
fn a_client_in_two_groups_and_shares_beyond_the_fleet_are_errors() {
    let found = problems(
        "num_clients = 4\n[clients.a]\nclients = \"0..2\"\n[clients.b]\nclients = 2\n\
         [clients.c]\nshare = 0.5\n",
    );
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains("clients.b.clients = 2: client 2 is in another group"));
    assert!(
        found[1].contains("clients.c.share = 0.5: only 1 clients"),
        "{found:#?}"
    );
}

/// The scenario, of three clients, has these errors at these keys, in this order.
fn assert_refused(scenario: &str, errors: &[&str]) {
    let found = problems(scenario);
    assert_eq!(found.len(), errors.len(), "{scenario}\n{found:#?}");
    for (text, error) in found.iter().zip(errors) {
        assert!(text.contains(error), "{text:?} does not contain {error:?}");
    }
}

#[test]
fn what_no_client_can_have_is_refused_under_the_groups_keys() {
    assert_refused(
        "[clients.a]\nspeed = inf\nbandwidth_up = \"0 bit/s\"\nbandwidth_down = \"0 B/s\"\n\
         latency = \"-1 s\"\nmemory = \"0 B\"\n",
        &[
            ": clients.a.speed = inf: must be finite and above 0",
            ": clients.a.bandwidth_up = \"0 bit/s\": must be finite and above 0",
            ": clients.a.bandwidth_down = \"0 B/s\": must be finite and above 0",
            ": clients.a.latency = \"-1 s\": must be finite and at least 0",
            ": clients.a.memory = \"0 B\": must be at least 1 byte",
        ],
    );
    let availability = |table: &str| format!("[clients.a]\navailability = {{ {table} }}\n");
    assert_refused(
        &availability("kind = \"daily\", from = \"25 h\", to = \"6 h\", spread = \"-1 s\""),
        &[
            ": clients.a.availability.from = \"25 h\": must lie within a day",
            ": clients.a.availability.spread = \"-1 s\": must be finite and at least 0",
        ],
    );
    assert_refused(
        &availability("kind = \"markov\", on = \"0 s\", off = \"-1 s\""),
        &[
            ": clients.a.availability.on = \"0 s\": must be finite and above 0",
            ": clients.a.availability.off = \"-1 s\": must be finite and above 0",
        ],
    );
}

#[test]
fn what_no_round_can_do_is_refused_under_the_policys_keys() {
    assert_refused(
        "[policy]\nkind = \"deadline\"\nafter = \"0 s\"\nlate = \"carry\"\n\
         staleness_exponent = -1\n",
        &[
            ": policy.after = \"0 s\": must be finite and above 0",
            ": policy.staleness_exponent = -1: must be finite and at least 0",
        ],
    );
    assert_refused(
        "[policy]\nkind = \"buffered\"\nupdates = 4\nstaleness_exponent = -1\n",
        &[
            ": policy.updates = 4: must be from 1 to 3: a round gets at most one",
            ": policy.staleness_exponent = -1: must be finite and at least 0",
        ],
    );
    assert_refused(
        "[policy]\nkind = \"quorum\"\nupdates = 3\n[sampling]\nnumber = 2\n",
        &[": policy.updates = 3: must be from 1 to 2: a round gets at most one"],
    );
    assert_refused(
        "[too_few]\nminimum = 4\nthen = \"retry(0)\"\n",
        &[
            ": too_few.minimum = 4: must be from 1 to 3: a round gets at most one",
            ": too_few.then = \"retry(0)\": must be at least 1",
        ],
    );
    assert_refused(
        "[restart]\nwindow = \"0 s\"\nbackoff = \"-1 s\"\n",
        &[
            ": restart.window = \"0 s\": must be finite and above 0",
            ": restart.backoff = \"-1 s\": must be finite and at least 0",
        ],
    );
}

#[test]
fn a_sample_that_cannot_be_drawn_is_refused_under_its_keys() {
    assert_refused(
        "[sampling]\nby = \"utility\"\nfraction = 0\nexploration = 2\npenalty = -1\n\
         preferred = \"0 s\"\n",
        &[
            ": sampling.fraction = 0: must be above 0 and at most 1",
            ": sampling.exploration = 2: must be from 0 to 1",
            ": sampling.penalty = -1: must be finite and at least 0",
            ": sampling.preferred = \"0 s\": must be finite and above 0",
        ],
    );
    assert_refused(
        "[sampling]\nnumber = 0\n",
        &[": sampling.number = 0: must be from 1 to 3, the number of clients"],
    );
}

#[test]
fn numbers_that_no_fault_can_have_are_refused_under_its_keys() {
    let refused = |kind: &str, keys: &str, errors: &[&str]| {
        let scenario = format!("[[faults]]\nkind = \"{kind}\"\n{keys}\n");
        assert_refused(&scenario, errors);
    };
    refused(
        "straggle",
        "slowdown = \"uniform(8, 2)\"",
        &[": faults[0].slowdown = \"uniform(8, 2)\": the least factor must not be above"],
    );
    refused(
        "straggle",
        "slowdown = \"log_normal(1e9, 0)\"",
        &[
            ": faults[0].slowdown = \"log_normal(1e9, 0)\": must be from 0.001 to 1000000",
            ": faults[0].slowdown = \"log_normal(1e9, 0)\": must be finite and above 0",
        ],
    );
    refused(
        "slow_link",
        "factor = 1e-4\nrounds = 0",
        &[
            ": faults[0].factor = 1e-4: must be from 0.001 to 1000000",
            ": faults[0].rounds = 0: there is no round 0; rounds are numbered from 1",
        ],
    );
    refused(
        "late_update",
        "delay = \"-1 s\"",
        &[": faults[0].delay = \"-1 s\": must be finite and at least 0"],
    );
    refused(
        "server_crash",
        "delay = \"-1 s\"\nclients = 1",
        &[
            ": faults[0].delay = \"-1 s\": must be finite and at least 0",
            ": faults[0].clients = 1: a server crash concerns no client; omit the clients",
        ],
    );
    refused(
        "corrupt_update",
        "corruption = \"noise(0)\"",
        &[": faults[0].corruption = \"noise(0)\": must be finite and above 0"],
    );
}
