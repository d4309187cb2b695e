//! The properties that a meaning representation names: `name[The Vaults], eatType[pub], near[…]`.

/// The value of a property that a representation does not name.
pub const ABSENT: &str = "none";

/// The column with the number of properties.
pub const NUMBER: &str = "slots";

/// Each property with its value, in order. Text that is no property is passed over.
pub fn slots(representation: &str) -> impl Iterator<Item = (&str, &str)> {
    representation.split(']').filter_map(|part| {
        let (name, value) = part.split_once('[')?;
        let name = name
            .trim_start_matches([',', ' ', '\t', '\r', '\n'])
            .trim_end();
        (!name.is_empty()).then_some((name, value.trim()))
    })
}

/// The value of a property, or the number of properties: what `natural:COLUMN` divides by.
#[must_use]
pub fn value(representation: &str, column: &str) -> String {
    if column == NUMBER {
        return slots(representation).count().to_string();
    }
    let found = slots(representation).find(|(name, _)| *name == column);
    found.map_or(ABSENT, |(_, value)| value).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "name[The Vaults], eatType[pub], customer rating[5 out of 5]";

    #[test]
    fn properties_come_with_their_values_in_order() {
        let found: Vec<_> = slots(TEXT).collect();
        let expected = [
            ("name", "The Vaults"),
            ("eatType", "pub"),
            ("customer rating", "5 out of 5"),
        ];
        assert_eq!(found, expected);
        assert_eq!(slots("no property").count(), 0);
    }

    #[test]
    fn a_column_is_a_property_or_their_number() {
        assert_eq!(value(TEXT, "eatType"), "pub");
        assert_eq!(value(TEXT, "area"), ABSENT);
        assert_eq!(value(TEXT, NUMBER), "3");
    }
}
