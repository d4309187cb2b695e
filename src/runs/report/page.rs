//! A run in one HTML file: no script, nothing from outside, for the screen and for paper.

use anyhow::Context;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::base::table::{NAN, Table, count, show_bytes, show_score, show_small};
use crate::runs::figures::Figure;
use crate::runs::folder::artifact::Artifact;
use crate::runs::history::totals::RunTotals;
use crate::runs::report::{Run, hosts, tables, texts};
use crate::tasks::metrics::set::{MetricSet, base_of, is_loss};

/// Tables with more rows are collapsed at first.
const LONG: usize = 60;

const STYLE: &str = include_str!("page.css");

/// A page of figures and tables around a title.
#[derive(Debug)]
pub struct Page {
    title: String,
    subtitle: String,
    body: Vec<Markup>,
}

impl Page {
    /// An empty page.
    pub fn new(title: impl Into<String>, subtitle: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            subtitle: subtitle.into(),
            body: Vec::new(),
        }
    }

    /// Adds names and values that stand out.
    pub fn facts(&mut self, facts: &[(String, String)]) {
        self.body.push(html! {
            dl.facts {
                @for (name, value) in facts {
                    div { dt { (name) } dd { (value) } }
                }
            }
        });
    }

    /// Adds a figure.
    pub fn figure(&mut self, number: usize, figure: &Figure) {
        self.body.push(html! {
            figure id=(figure.name) role="group" aria-label=(figure.caption) {
                (PreEscaped(&figure.svg))
                figcaption { b { "Figure " (number) ". " } (figure.caption) }
            }
        });
    }

    /// Adds a table under a heading.
    pub fn table(&mut self, heading: &str, note: &str, table: &Table) {
        let open = table.rows().len() <= LONG;
        let content = html! {
            @if table.rows().is_empty() { p { "None." } }
            @else {
                details open[open] {
                    summary { (count(table.rows().len(), "row")) }
                    div.wide { (rows(table)) }
                }
            }
        };
        self.section(heading, note, &content);
    }

    /// Adds content under a heading.
    pub fn section(&mut self, heading: &str, note: &str, content: &Markup) {
        self.body.push(html! {
            section {
                h2 { (heading) }
                @if !note.is_empty() { p { (note) } }
                (content)
            }
        });
    }

    /// Adds text that is shown as it stands.
    pub fn text(&mut self, heading: &str, note: &str, text: &str) {
        self.section(heading, note, &html! { pre { (text) } });
    }

    /// The file.
    #[must_use]
    pub fn finish(self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · Regatta" }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header { h1 { (self.title) } p { (self.subtitle) } }
                    main { @for part in &self.body { (part) } }
                    footer { "Regatta " (env!("CARGO_PKG_VERSION")) }
                }
            }
        };
        page.into_string()
    }
}

fn rows(table: &Table) -> Markup {
    let numeric = table.numeric();
    let class = |numeric: &bool| numeric.then_some("number");
    html! {
        table {
            thead {
                tr { @for (title, numeric) in table.titles().zip(&numeric) {
                    th class=[class(numeric)] { (title) }
                } }
            }
            tbody {
                @for row in table.visible_rows() {
                    tr { @for (cell, numeric) in row.zip(&numeric) {
                        td class=[class(numeric)] { (cell.shown) }
                    } }
                }
            }
        }
    }
}

/// The report on a run.
///
/// # Errors
/// If a file of the run cannot be read.
pub fn of_run(run: &Run, figures: &[Figure]) -> anyhow::Result<String> {
    let plan = &run.plan;
    let subtitle = format!(
        "{} among {}, {} of rank {} with {}",
        plan.data.task,
        count(plan.data.num_clients, "client"),
        plan.adapter.kind.title(),
        plan.adapter.r,
        plan.aggregation.method
    );
    let mut page = Page::new(run.stats.run.clone(), subtitle);
    page.facts(&facts(run));
    for (index, figure) in figures.iter().enumerate() {
        page.figure(index + 1, figure);
    }
    if let Some((note, cards)) = texts::cards(run)? {
        page.section("Generated texts", &note, &cards);
    }
    let alone = run.alone();
    if !alone.rows().is_empty() {
        let note = "What each client reaches with its own examples alone, in as many rounds, beside \
                    what the federation reached in its last.";
        page.table("Clients alone", note, &alone);
    }
    let note = "Faults and what they cost. Client time is work that was lost, waiting for a \
                restart, and delay against undisturbed work; run time is time in which the whole \
                run stood still. A participation hit by several faults is attributed to the one that \
                explains its end; names in brackets are not scripted faults.";
    page.table("Faults and their cost", note, &run.costs());
    page.table("Clients", "", &tables::clients(&run.stats));
    add_hosts(&mut page, run);
    add_rounds(&mut page, run);
    page.text("How to reproduce", "", &reproduce(run)?);
    let scenario = run.folder.path_of(Artifact::Scenario);
    let settings = std::fs::read_to_string(&scenario)
        .with_context(|| format!("cannot read {}", scenario.display()))?;
    page.text(
        "Settings",
        "All settings with defaults filled in: a scenario that repeats the run.",
        &settings,
    );
    Ok(page.finish())
}

/// Adds who trained on other machines, if anybody did.
fn add_hosts(page: &mut Page, run: &Run) {
    let trained = hosts::table(&run.hosts);
    if !trained.rows().is_empty() {
        let note = "Who trained for the run, in real time. A host that came back is another one. \
                    Which host did a job changes no result.";
        page.table("Hosts", note, &trained);
    }
    let refused = hosts::refusals(&run.hosts);
    if !refused.rows().is_empty() {
        page.table(
            "Refused hosts",
            "Hosts that were not allowed to train.",
            &refused,
        );
    }
}

/// Adds the tables of what happened round by round.
fn add_rounds(page: &mut Page, run: &Run) {
    let metrics = run.plan.data.task.metric_set();
    let note = "Exactness error: ‖effective − ideal‖ / ‖ideal update‖ over all adapted layers. \
                State: the digest of the global state after the round.";
    page.table("Rounds", note, &tables::rounds(&run.rounds, &metrics));
    let refusals = tables::refusals(&run.rounds);
    if !refusals.rows().is_empty() {
        let note = "Updates that arrived but were not aggregated.";
        page.table("Refused updates", note, &refusals);
    }
    if !run.stats.interventions.is_empty() {
        page.table(
            "Interventions",
            "Control commands, in order.",
            &interventions(run),
        );
    }
}

fn facts(run: &Run) -> Vec<(String, String)> {
    let mut totals = RunTotals::default();
    let metrics = run.plan.data.task.metric_set();
    let rounds = run.rounds.iter();
    rounds.for_each(|record| totals.add(record, &metrics));
    let (unit, seconds) = crate::runs::figures::theme::time_unit(run.stats.virtual_seconds);
    let mut facts = vec![
        (
            "rounds".to_owned(),
            format!("{} of {}", run.stats.rounds, run.stats.rounds_planned),
        ),
        ("ended".to_owned(), tables::ending(&run.stats)),
        (
            "virtual time".to_owned(),
            format!("{:.1} {unit}", run.stats.virtual_seconds / seconds),
        ),
    ];
    if totals.rounds_refused > 0 {
        let refused = format!("{} of {}", totals.rounds_refused, totals.rounds);
        facts.push(("rounds with all updates refused".to_owned(), refused));
    }
    facts.extend(best_scores(run, &totals, &metrics));
    if let Some(worst) = totals.worst_exactness_error {
        facts.push(("worst exactness error".to_owned(), show_small(worst)));
    }
    let traffic = [
        ("sent by clients", totals.bytes_up),
        ("sent to clients", totals.bytes_down),
    ];
    facts.extend(traffic.map(|(name, bytes)| (name.to_owned(), show_bytes(bytes))));
    facts
}

/// The best of each score, and what it was before training.
fn best_scores(run: &Run, totals: &RunTotals, metrics: &MetricSet) -> Vec<(String, String)> {
    let names = metrics.names(tables::evals(&run.rounds)).into_iter();
    let fact = |name: String| {
        let best = totals.best.get(&name);
        let mut best = best.map_or_else(
            || NAN.to_owned(),
            |best| format!("{} (round {})", show_score(best.value), best.round),
        );
        let evals = tables::evals(&run.rounds);
        if let Some(base) = evals.filter_map(|eval| eval.get(&base_of(&name))).last() {
            best += &format!("; {} before training", show_score(*base));
        }
        (format!("best {}", metrics.title(&name)), best)
    };
    names.filter(|name| !is_loss(name)).map(fact).collect()
}

fn interventions(run: &Run) -> Table {
    let mut table = Table::new(
        "interventions",
        &[("after_round", "after round"), ("command", "command")],
    );
    for intervention in &run.stats.interventions {
        let command = format!("{:?}", intervention.command);
        table.add_row([intervention.after_round.into(), command.into()]);
    }
    table
}

/// The commands, and their result if nothing differs.
fn reproduce(run: &Run) -> anyhow::Result<String> {
    let place = run.folder.path().display();
    let digest = |path: std::path::PathBuf| -> anyhow::Result<String> {
        let bytes =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(blake3::hash(&bytes).to_hex().to_string())
    };
    let version = run
        .summary
        .as_ref()
        .map_or("unknown: it has not ended", |s| &s.identity.version);
    let state = run
        .rounds
        .last()
        .map_or("none yet", |last| &last.state_digest.0);
    let mut lines = vec![
        format!("regatta run {place}/scenario.toml     # the same run in another folder"),
        format!("regatta replay {place} --check        # compares event by event"),
        String::new(),
        format!("version          regatta {version}"),
        format!("seed             {}", run.plan.seed),
        format!("final state      {state}"),
        format!(
            "ledger (BLAKE3)  {}",
            digest(run.folder.path_of(Artifact::Ledger))?
        ),
        format!("model            {}", run.plan.model.source),
    ];
    if !run.stats.interventions.is_empty() {
        lines.push("Control commands changed this run: only the replay repeats them.".into());
    }
    Ok(lines.join("\n"))
}
