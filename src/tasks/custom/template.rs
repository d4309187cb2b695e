//! Texts made of columns: `Question: {question}\nAnswer:`. A literal brace is doubled.

use std::fmt;
use std::str::FromStr;

/// A text with columns in braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnTemplate(Vec<ColumnTemplatePart>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum ColumnTemplatePart {
    Text(String),
    Column(String),
}

impl ColumnTemplate {
    /// The text of one column.
    #[must_use]
    pub fn column(name: &str) -> Self {
        Self(vec![ColumnTemplatePart::Column(name.to_owned())])
    }

    /// The columns, in order.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            ColumnTemplatePart::Text(_) => None,
            ColumnTemplatePart::Column(name) => Some(name.as_str()),
        })
    }

    /// The text, given those of the columns in order.
    pub fn fill<'a>(&self, columns: impl IntoIterator<Item = &'a str>) -> String {
        let mut columns = columns.into_iter();
        let part = |part: &'_ ColumnTemplatePart| match part {
            ColumnTemplatePart::Text(text) => text.clone(),
            ColumnTemplatePart::Column(_) => columns.next().unwrap_or_default().to_owned(),
        };
        self.0.iter().map(part).collect()
    }

    /// Fills in the only column. A text that the template made is left as it is, and so is any text
    /// if the template has several columns.
    #[must_use]
    pub fn fill_one(&self, text: &str) -> String {
        let mut columns = self.columns();
        let (Some(_), None) = (columns.next(), columns.next()) else {
            return text.to_owned();
        };
        let whole = self.fill(["\u{0}"]);
        let (before, after) = whole.split_once('\u{0}').unwrap_or_default();
        let is_made = !(before.is_empty() && after.is_empty())
            && text.starts_with(before)
            && text.ends_with(after);
        match is_made {
            true => text.to_owned(),
            false => self.fill([text]),
        }
    }

    /// Removes the spaces at its end; whether there were any.
    pub(crate) fn take_trailing_spaces(&mut self) -> bool {
        let Some(ColumnTemplatePart::Text(text)) = self.0.last_mut() else {
            return false;
        };
        let before = text.len();
        text.truncate(text.trim_end_matches(' ').len());
        let shorter = text.len() < before;
        if text.is_empty() {
            self.0.pop();
        }
        shorter
    }

    pub(crate) fn ends_line(&self) -> bool {
        matches!(self.0.last(), Some(ColumnTemplatePart::Text(text)) if text.ends_with('\n'))
    }

    pub(crate) fn put_before(&mut self, text: &str) {
        self.0.insert(0, ColumnTemplatePart::Text(text.to_owned()));
    }
}

impl FromStr for ColumnTemplate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            plain.push_str(before);
            if let Some(after) = brace.strip_prefix("{{") {
                plain.push('{');
                rest = after;
            } else if let Some(after) = brace.strip_prefix("}}") {
                plain.push('}');
                rest = after;
            } else {
                let named = brace.strip_prefix('{').and_then(|it| it.split_once('}'));
                let (name, after) = named.ok_or(UNCLOSED)?;
                if name.trim().is_empty() || name.contains('{') {
                    return Err(UNCLOSED.to_owned());
                }
                if !plain.is_empty() {
                    parts.push(ColumnTemplatePart::Text(std::mem::take(&mut plain)));
                }
                parts.push(ColumnTemplatePart::Column(name.trim().to_owned()));
                rest = after;
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(ColumnTemplatePart::Text(plain));
        }
        Ok(Self(parts))
    }
}

const UNCLOSED: &str = "a brace is not closed, not opened, or names no column; write a column as \
                        {column}, and a brace that is text twice";

impl fmt::Display for ColumnTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            ColumnTemplatePart::Text(text) => {
                f.write_str(&text.replace('{', "{{").replace('}', "}}"))
            }
            ColumnTemplatePart::Column(name) => write!(f, "{{{name}}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::custom::form::AnsweredForm;

    fn template(text: &str) -> ColumnTemplate {
        text.parse().unwrap()
    }

    #[test]
    fn columns_in_braces_are_filled_in_and_doubled_braces_are_text() {
        let text = template("{a} and { b }: {{{a}}}");
        assert_eq!(text.columns().collect::<Vec<_>>(), ["a", "b", "a"]);
        assert_eq!(text.fill(["1", "2", "3"]), "1 and 2: {3}");
        assert_eq!(text.to_string(), "{a} and {b}: {{{a}}}");
        assert_eq!(template(&text.to_string()), text);
        assert_eq!(template("plain").columns().count(), 0);
    }

    #[test]
    fn what_is_not_a_template_is_refused() {
        for bad in ["{a", "a}", "{}", "{ }", "{a{b}}", "}{"] {
            let error = bad.parse::<ColumnTemplate>().unwrap_err();
            assert!(error.contains("{column}"), "{bad}");
        }
    }

    #[test]
    fn one_column_is_filled_in_unless_it_is_already() {
        let prompt = template("Q: {q}\nA:");
        assert_eq!(prompt.fill_one("why?"), "Q: why?\nA:");
        assert_eq!(prompt.fill_one("Q: why?\nA:"), "Q: why?\nA:");
        assert_eq!(template("{a}{b}").fill_one("why?"), "why?");
        assert_eq!(template("{a}").fill_one("why?"), "why?");
    }

    #[test]
    fn the_space_between_prompt_and_answer_is_the_answers() {
        for (prompt, expected) in [
            ("{q} ->", ("why? ->", " so")),
            ("{q} -> ", ("why? ->", " so")),
            ("{q}\n", ("why?\n", "so")),
        ] {
            let form = AnsweredForm::with_column(template(prompt), "a");
            let made = (form.prompt.fill(["why?"]), form.answer.fill(["so"]));
            assert_eq!((made.0.as_str(), made.1.as_str()), expected, "{prompt:?}");
        }
    }
}
