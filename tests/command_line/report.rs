//! What is made of runs afterwards: reports, lists, comparisons.

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use regatta::base::table;
use regatta::base::table::Format;
use regatta::runs::report::{Run, page, tables};
use resvg::tiny_skia::Pixmap;
use serde_json::Value;

use crate::workplace::Workplace;

const RUN: &str = "run --task rte --model models/tiny --num_clients 3 --local_epochs 1 \
                   --batch_size 4 --metrics off --quiet --rounds 3";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_report_is_one_page_without_scripts_or_requests_and_has_its_figures_as_files() {
    let place = Workplace::new();
    place.accepts(&format!("{RUN} --out run"));
    let said = place.accepts("report run");
    assert!(said.contains("3 of 3 rounds, complete"), "{said}");
    let page = place.read("run/report.html");
    for text in [
        "Figure 1.",
        "Faults and their cost",
        "How to reproduce",
        "replay run --check",
        "num_clients = 3",
        "client-2",
    ] {
        assert!(page.contains(text), "{text} is missing");
    }
    // The namespace of SVG is a name, nothing that is fetched.
    let links = page.replace("http://www.w3.org/2000/svg", "");
    for outside in ["<script", "http://", "https://", "src=", "@import", "<link"] {
        assert!(!links.contains(outside), "{outside} is in the page");
    }
    let digest = json(place.read("run/rounds.jsonl").lines().last().unwrap());
    assert!(page.contains(digest["state_digest"].as_str().unwrap()));
    for figure in ["loss", "scores", "timeline", "exactness", "traffic"] {
        let svg = place.read(&format!("run/figures/{figure}.svg"));
        assert!(
            svg.starts_with("<svg") && svg.contains("</text>"),
            "{figure}"
        );
        let png = fs::read(place.path().join(format!("run/figures/{figure}.png"))).unwrap();
        let pixels = Pixmap::decode_png(&png).unwrap();
        let ink = pixels.pixels().iter().filter(|p| p.red() < 100).count();
        assert!(pixels.width() == 2160 && ink > 1000, "{figure} is empty");
    }
}

#[test]
fn a_report_goes_where_it_is_told_to_and_its_tables_are_for_programs_too() {
    let place = Workplace::new();
    place.accepts(&format!("{RUN} --out one"));
    let said = json(&place.accepts("report one --format json --out page.html --figures plots"));
    assert_eq!(said["clients"].as_array().unwrap().len(), 3);
    assert_eq!(said["clients"][0]["run"], "one");
    assert_eq!(said["clients"][0]["aggregated"], 3);
    assert!(place.read("page.html").contains("</html>"));
    assert!(place.path().join("plots/loss.png").exists());
    assert!(!place.path().join("one/report.html").exists());
    let written = || {
        let entries = fs::read_dir(place.path().join("one")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = written();
    let csv = place.accepts("report one --format csv");
    assert!(
        csv.starts_with("run,client,examples,asked,aggregated"),
        "{csv}"
    );
    for format in ["table", "md", "json"] {
        let said = place.accepts(&format!("report one --format {format}"));
        assert!(!said.contains("wrote"), "{said}");
    }
    assert_eq!(before, written());
    json(&place.accepts("report one one --format json"));
    assert_eq!(before, written());
    let said = place.accepts("report one --format table --out page.html");
    assert!(said.ends_with("wrote page.html\n"), "{said}");
    assert_eq!(before, written());
    let errors = place.errors("report one one --out page.html");
    assert!(
        errors.len() == 1 && errors[0].contains("--out"),
        "{errors:?}"
    );
}

#[test]
fn runs_are_listed_among_folders_that_are_none() {
    let place = Workplace::new();
    let said = place.regatta("runs");
    assert!(!said.status.success());
    fs::create_dir_all(place.path().join("runs/notes")).unwrap();
    place.write("runs/notes/thesis.tex", "mine");
    let said = place.accepts("runs");
    assert!(said.contains("there are no runs in runs"), "{said}");
    place.accepts(&format!("{RUN} --out runs/whole"));
    place.accepts(&format!("{RUN} --out runs/sweep/inner --agg_type ffa"));
    fs::create_dir_all(place.path().join("runs/half")).unwrap();
    place.write("runs/half/scenario.toml", "task = \"rte\"\nrounds = 9\n");
    place.write("runs/half/rounds.jsonl", "{\"round\": 1, \"eval\": {\"acc");
    fs::create_dir_all(place.path().join("runs/damaged")).unwrap();
    place.write("runs/damaged/scenario.toml", "task = = 9\n");
    let runs = json(&place.accepts("runs --format json"));
    let of = |name: &str| {
        let found = runs.as_array().unwrap().iter();
        let mut found = found.filter(|run| run["run"] == format!("runs/{name}"));
        found
            .next()
            .unwrap_or_else(|| panic!("{name}: {runs}"))
            .clone()
    };
    let whole = of("whole");
    assert_eq!(
        (&whole["state"], &whole["rounds"]),
        (&"complete".into(), &3.into())
    );
    assert!(whole["best"].is_number() && whole["bytes"].as_u64().unwrap() > 10_000);
    assert_eq!(of("sweep/inner")["method"], "ffa");
    let half = of("half");
    assert_eq!(
        (&half["state"], &half["rounds"]),
        (&"interrupted".into(), &0.into())
    );
    assert_eq!(of("damaged")["state"], "unreadable");
    assert_eq!(runs.as_array().unwrap().len(), 4);
}

#[test]
fn runs_that_differ_in_their_seed_are_one_group_with_mean_and_deviation() {
    let place = Workplace::new();
    for (name, flags) in [
        ("a1", "--agg_type fedex --seed 1"),
        ("a2", "--agg_type fedex --seed 2 --lanes 1"),
        ("b1", "--agg_type ffa --seed 1"),
    ] {
        place.accepts(&format!("{RUN} --lr 1e-2 --out {name} {flags}"));
    }
    let line = "compare a1 b1 a2 --format json --target loss=9 --out all.html --figures charts";
    let said = json(&place.accepts(line));
    let groups = said["groups"].as_array().unwrap();
    let labels: Vec<&str> = groups
        .iter()
        .map(|g| g["group"].as_str().unwrap())
        .collect();
    assert_eq!(labels, ["fedex", "ffa"]);
    let finals: Vec<f64> = ["a1", "a2"]
        .iter()
        .map(|run| {
            let rounds = place.read(&format!("{run}/rounds.jsonl"));
            json(rounds.lines().last().unwrap())["eval"]["loss"]
                .as_f64()
                .unwrap()
        })
        .collect();
    let mean = (finals[0] + finals[1]) / 2.0;
    let deviation = (finals[0] - finals[1]).abs() / 2f64.sqrt();
    assert!((groups[0]["final"].as_f64().unwrap() - mean).abs() < 1e-12);
    assert!((groups[0]["final_deviation"].as_f64().unwrap() - deviation).abs() < 1e-12);
    assert!(groups[1]["final_deviation"].is_null());
    assert_eq!(groups[0]["rounds_to_target"], 1.0);
    assert_eq!(said["runs"].as_array().unwrap().len(), 3);
    assert!(place.read("all.html").contains("3 runs in 2 groups"));
    assert!(place.path().join("charts/score.svg").exists());
}

#[test]
fn what_cannot_be_compared_is_an_error_that_says_why() {
    let place = Workplace::new();
    place.accepts(&format!("{RUN} --out run"));
    fs::create_dir(place.path().join("empty")).unwrap();
    let errors = place.errors("compare run empty nowhere");
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].contains("empty holds no run"), "{errors:?}");
    fs::create_dir(place.path().join("other")).unwrap();
    let scenario = place.read("run/scenario.toml");
    place.write(
        "other/scenario.toml",
        &scenario.replace("\"rte\"", "\"cola\""),
    );
    place.write("other/rounds.jsonl", &place.read("run/rounds.jsonl"));
    let errors = place.errors("compare run other");
    assert!(
        errors.len() == 1 && errors[0].contains("run ran rte and other ran cola"),
        "{errors:?}"
    );
    let errors = place.errors("compare run --target f1=0.5");
    assert!(
        errors[0].contains("there are: accuracy, loss"),
        "{errors:?}"
    );
}

#[test]
fn data_are_tables_for_programs_too() {
    let place = Workplace::new();
    let said = place.accepts("data --task rte --model models/tiny --num_clients 3 --format json");
    let said = json(&said);
    assert_eq!(said["splits"][0]["examples"], 12);
    assert_eq!(said["clients"][2]["examples"], 4);
}

/// JSON with this number wherever a key that ends in `seconds` has one.
fn with_seconds(text: &str, number: &str) -> String {
    let key = "seconds\":";
    let mut parts = text.split(key);
    let mut changed = parts.next().unwrap().to_owned();
    for part in parts {
        let value = part.trim_start();
        let is_number = value.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        let end = value.find([',', '}', '\n']).unwrap();
        changed += key;
        changed += if is_number { number } else { &value[..end] };
        changed += &value[end..];
    }
    changed
}

#[test]
fn whatever_times_a_folder_tells_it_is_shown() {
    let place = Workplace::new();
    place.write(
        "s.toml",
        "task = \"rte\"\nmodel = \"models/tiny\"\nnum_clients = 12\nrounds = 3\nlocal_epochs = 1\n\
         metrics = \"off\"\nweb = \"off\"\nquiet = true\n[clients.some]\n\
         availability = { kind = \"markov\", on = \"1 min\", off = \"1 s\" }\n",
    );
    place.accepts("run s.toml --out run");
    let run = place.path().join("run");
    let files = ["events.jsonl", "rounds.jsonl", "summary.json"];
    let sound = files.map(|file| place.read(&format!("run/{file}")));
    for number in [
        "1.7e308",
        "-1.7e308",
        "-1",
        "0",
        "1e-320",
        "253402300800",
        "1e19",
    ] {
        for (file, text) in files.iter().zip(&sound) {
            place.write(&format!("run/{file}"), &with_seconds(text, number));
        }
        let read = Run::read(&run).unwrap();
        assert!(
            read.participations
                .all
                .iter()
                .all(|work| work.seconds() >= 0.0)
        );
        assert!(
            read.participations.end >= 0.0 && read.participations.end < 1e11,
            "{number}"
        );
        let figures = read.figures().unwrap();
        let page = page::of_run(&read, &figures).unwrap();
        assert!(page.contains("</html>"), "{number}");
        assert!(!tables::headline(&read.stats).is_empty());
        table::render(&[&read.costs()], Format::Table).unwrap();
    }
    // Every other time is absurd, so that the clock runs back and forth.
    for (file, text) in files.iter().zip(&sound) {
        let absurd = with_seconds(text, "1e300");
        let lines = text.lines().zip(absurd.lines()).enumerate();
        let mixed =
            lines.map(|(index, (plain, absurd))| if index % 2 == 0 { absurd } else { plain });
        place.write(
            &format!("run/{file}"),
            &(mixed.collect::<Vec<_>>().join("\n") + "\n"),
        );
    }
    for line in [
        "report run",
        "compare run --out c.html",
        "runs .",
        "runs . --format json",
    ] {
        place.accepts(line);
    }
}

#[test]
fn folders_of_any_age_are_listed() {
    let place = Workplace::new();
    place.accepts(&format!("{RUN} --out run"));
    let scenario = fs::File::open(place.path().join("run/scenario.toml")).unwrap();
    for seconds in [-5_000_000_000_i64, -1, 0, 1 << 31, 1 << 33, 15_000_000_000] {
        let age = Duration::from_secs(seconds.unsigned_abs());
        let time = if seconds < 0 {
            UNIX_EPOCH - age
        } else {
            UNIX_EPOCH + age
        };
        // A file system may know fewer times, and takes the nearest or none.
        if scenario.set_modified(time).is_ok() {
            let said = place.accepts("runs .");
            assert!(said.contains("complete"), "{said}");
        }
    }
}
