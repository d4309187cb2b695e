//! What clients reach alone, beside what they reach together.

use serde_json::Value;

use crate::workplace::Workplace;

const RUN: &str = "run --task rte --model models/tiny --batch_size 2 --local_epochs 1 --rounds 3 \
                   --lr 0.02 --metrics off --web off --quiet";

fn lines(place: &Workplace, name: &str) -> Vec<Value> {
    let text = place.read(name);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_client_that_is_the_whole_federation_reaches_the_same_alone() {
    let place = Workplace::new();
    for method in ["fedex", "fedit", "ffa", "flora", "fedex_vera"] {
        let vera = if method == "fedex_vera" { "--vera" } else { "" };
        let run = format!("{RUN} --num_clients 1 --agg_type {method} {vera}");
        let said = place.accepts(&format!("{run} --local_baseline --out runs/{method}"));
        assert!(said.contains("client-0 alone: accuracy"), "{said}");
        let alone = lines(&place, &format!("runs/{method}/local_baselines.jsonl"));
        let rounds = lines(&place, &format!("runs/{method}/rounds.jsonl"));
        assert_eq!(alone[0]["scores"], rounds[2]["eval"], "{method}");
    }
}

#[test]
fn clients_that_have_not_been_trained_alone_are_when_the_run_is_resumed_whatever_the_lanes() {
    let place = Workplace::new();
    let run = format!("{RUN} --num_clients 3 --local_baseline --out runs/a");
    let said = place.accepts(&run);
    assert!(said.contains("; federated 0."), "{said}");
    let file = "runs/a/local_baselines.jsonl";
    let whole = place.read(file);
    let first: String = whole
        .lines()
        .take(1)
        .map(|line| format!("{line}\n"))
        .collect();
    place.write(file, &first);
    let said = place.accepts("resume runs/a --lanes 1");
    assert!(
        !said.contains("client-0 alone") && said.contains("client-2 alone"),
        "{said}"
    );
    assert_eq!(place.read(file), whole);

    place.accepts("report runs/a");
    let page = place.read("runs/a/report.html");
    assert!(page.contains("Clients alone") && page.contains("<td>federated</td>"));
    let tables = place.accepts("report runs/a --format json");
    let tables: Value = serde_json::from_str(&tables).unwrap();
    assert_eq!(tables["local_baselines"].as_array().unwrap().len(), 5);
}

#[test]
fn a_client_whose_update_is_refused_trains_on_from_the_state_before() {
    let place = Workplace::new();
    let run = format!("{RUN} --num_clients 2");
    place.regatta(&format!("{run} --out runs/none --max_update_norm 1e-30"));
    let first = &lines(&place, "runs/none/rounds.jsonl")[0];
    let norms = first["refused"].as_array().unwrap().iter().map(|one| {
        let reason = one["reason"].as_str().unwrap();
        let norm = reason.strip_prefix("its norm is ").unwrap();
        norm.split(',').next().unwrap().parse::<f64>().unwrap()
    });
    let below = 0.99999 * norms.fold(0.0, f64::max);
    place.accepts(&format!(
        "{run} --out runs/a --max_update_norm {below} --local_baseline"
    ));
    let together = &lines(&place, "runs/a/rounds.jsonl")[0];
    assert_eq!(together["refused"].as_array().unwrap().len(), 1);
    assert_eq!(lines(&place, "runs/a/local_baselines.jsonl").len(), 2);
}

#[test]
fn a_finished_run_is_asked_for_it_when_it_is_resumed() {
    let place = Workplace::new();
    place.accepts(&format!("{RUN} --num_clients 2 --out runs/a"));
    assert!(!place.path().join("runs/a/local_baselines.jsonl").exists());
    place.accepts("resume runs/a --local_baseline");
    assert_eq!(lines(&place, "runs/a/local_baselines.jsonl").len(), 2);
}

#[cfg(feature = "cluster")]
#[test]
fn it_is_refused_on_a_cluster() {
    let place = Workplace::new();
    let errors = place.errors(&format!("{RUN} --local_baseline --cluster cluster.toml"));
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("--local_baseline") && errors[0].contains("regatta resume"));
}
