//! What a run's model wrote, on the report's page: a card for each prompt.

use maud::{Markup, html};

use crate::runs::report::{Run, tables};
use crate::runs::samples::{SampledText, TextSample, TextSource};

/// Most prompts with a card.
const MOST_CARDS: usize = 8;
/// Most rounds whose texts a card has, with that before training and the last.
const MOST_ROUNDS: usize = 5;

/// What is said of them, and the cards; `None` if no texts were written.
///
/// # Errors
/// If a file with texts cannot be read.
pub(crate) fn cards(run: &Run) -> anyhow::Result<Option<(String, Markup)>> {
    let Some(source) = TextSource::of(run.folder.clone(), run.plan.data.task.clone()) else {
        return Ok(None);
    };
    let rounds = spread(&source.rounds());
    let samples = rounds.iter().map(|round| source.sample(*round));
    let samples: Vec<TextSample> = samples
        .filter_map(Result::transpose)
        .collect::<Result<_, _>>()?;
    let Some(last) = samples.last() else {
        return Ok(None);
    };
    let mut note = format!(
        "What the model wrote for the first prompts of the {} split, by round.",
        last.split
    );
    let mut evals = tables::evals(&run.rounds);
    if !evals.any(|scores| scores.contains_key("meteor")) {
        note += " METEOR: not computed; --meteor_jar names its program.";
    }
    let cards = html! {
        div.cards { @for text in last.texts.iter().take(MOST_CARDS) { (card(text, &samples)) } }
    };
    Ok(Some((note, cards)))
}

/// The first round, the last, and some at equal distances between them.
fn spread(rounds: &[u32]) -> Vec<u32> {
    let last = rounds.len().saturating_sub(1);
    let steps = last.min(MOST_ROUNDS - 1);
    let at = |step: usize| rounds.get(step * last / steps.max(1)).copied();
    (0..=steps).filter_map(at).collect()
}

fn card(text: &SampledText, samples: &[TextSample]) -> Markup {
    let of = |sample: &TextSample| {
        let mut texts = sample.texts.iter();
        let found = texts.find(|other| other.prompt == text.prompt)?;
        Some((sample.round, found.text.clone()))
    };
    let written: Vec<(u32, String)> = samples.iter().filter_map(of).collect();
    html! {
        article {
            @if text.parts.is_empty() { p.prompt { (text.prompt) } }
            @else {
                dl.parts { @for (name, value) in &text.parts { div { dt { (name) } dd { (value) } } } }
            }
            dl.written {
                @for (round, text) in &written {
                    dt { @if *round == 0 { "before training" } @else { "round " (round) } }
                    dd { @if text.is_empty() { i { "nothing" } } @else { (text) } }
                }
            }
            @if !text.references.is_empty() {
                details {
                    summary { "references" }
                    ul { @for reference in &text.references { li { (reference) } } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_round_are_among_few() {
        assert!(spread(&[]).is_empty());
        assert_eq!(spread(&[0]), [0]);
        assert_eq!(spread(&[0, 4, 8]), [0, 4, 8]);
        let many: Vec<u32> = (0..=100).collect();
        assert_eq!(spread(&many), [0, 25, 50, 75, 100]);
    }

    #[test]
    fn what_a_card_shows_is_text_and_no_markup() {
        let text = |round: u32, text: &str| TextSample {
            round,
            split: crate::data::schema::SplitName::Validation,
            texts: vec![SampledText {
                prompt: "p".to_owned(),
                parts: vec![("name".to_owned(), "<i>Inn</i>".to_owned())],
                text: text.to_owned(),
                references: vec!["<script>".to_owned()],
            }],
        };
        let samples = [text(0, ""), text(2, "a & b")];
        let shown = card(&samples[1].texts[0], &samples).into_string();
        for part in [
            "&lt;i&gt;Inn",
            "&lt;script&gt;",
            "a &amp; b",
            "before training",
            "round 2",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        assert!(!shown.contains("<script") && shown.contains("<i>nothing</i>"));
    }
}
