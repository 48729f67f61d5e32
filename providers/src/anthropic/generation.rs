//! Generations of Claude models, which tell what a model takes.

/// The generation of a model as its name tells it, `None` where it does not: aliases and deployments are called anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(Option<(u32, u32)>);

impl Generation {
    /// Of the model that is called `name` by Anthropic, Bedrock, Vertex or Azure.
    pub(crate) fn of(name: &str) -> Self {
        let Some((_, rest)) = name.split_once("claude-") else { return Self(None) };
        // Longer numbers are dates.
        let number = |word: &str| word.parse::<u32>().ok().filter(|_| word.len() <= 2);
        let mut words = rest.split(|character: char| !character.is_ascii_alphanumeric());
        let Some(major) = words.find_map(number) else { return Self(None) };
        Self(Some((major, words.next().and_then(number).unwrap_or(0))))
    }

    /// Whether it is known to be older.
    pub(crate) fn is_before(self, major: u32, minor: u32) -> bool {
        self.0.is_some_and(|generation| generation < (major, minor))
    }

    /// Whether it is known to be this one or newer.
    pub(crate) fn is_from(self, major: u32, minor: u32) -> bool {
        self.0.is_some_and(|generation| generation >= (major, minor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_read_from_every_way_of_naming_a_model() {
        for (name, generation) in [
            ("claude-3-7-sonnet-20250219", Some((3, 7))),
            ("claude-sonnet-4-20250514", Some((4, 0))),
            ("claude-opus-4-5@20251101", Some((4, 5))),
            ("us.anthropic.claude-opus-4-1-20250805-v1:0", Some((4, 1))),
            ("anthropic--claude-4.6-sonnet", Some((4, 6))),
            ("claude-opus-5", Some((5, 0))),
            ("claude-mythos-preview", None),
            ("arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/ab12", None),
            ("", None),
        ] {
            assert_eq!(Generation::of(name), Generation(generation), "{name}");
        }
    }
}
