//! Models on Bedrock, and what each family of them takes: Converse has one form for all, not one set of features.

use super::paths::without_profile;

/// Who makes a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Claude, by version.
    Claude {
        /// Major and minor, as (4, 6).
        version: (u8, u8),
        /// It always thinks as it thinks fit: it takes neither a budget nor an order not to.
        only_adapts: bool,
    },
    /// Amazon's Nova.
    Nova {
        /// Nova 2, the first that reasons.
        reasons: bool,
    },
    /// OpenAI's open models.
    OpenAi,
    /// Any other that is known not to be one of these.
    Other,
    /// The name does not tell: most ARNs of inference profiles. Such a model gets all that is asked for, for leaving
    /// something out without need is worse than an error that names it.
    Unknown,
}

impl Family {
    /// The family that an id or an ARN names.
    pub(super) fn of(id: &str) -> Self {
        let named = id.split('/').filter_map(|segment| without_profile(segment).split_once('.'));
        let mut families = named.map(|(vendor, model)| match vendor {
            "anthropic" => claude(model),
            "amazon" if model.starts_with("nova") => Self::Nova { reasons: model.starts_with("nova-2") },
            "openai" => Self::OpenAi,
            _ => Self::Other,
        });
        families.next().unwrap_or(Self::Unknown)
    }

    /// Whether it may be a Claude.
    pub(super) fn may_be_claude(self) -> bool {
        matches!(self, Self::Claude { .. } | Self::Unknown)
    }

    /// Whether it takes cache points.
    pub(super) fn caches(self) -> bool {
        self.may_be_claude() || matches!(self, Self::Nova { .. })
    }

    /// Whether they may say how long.
    pub(super) fn takes_cache_ttl(self) -> bool {
        self.is_claude_since((4, 5)) || self == Self::Unknown
    }

    /// Whether it refuses temperature, top_p and top_k.
    pub(super) fn refuses_sampling(self) -> bool {
        self.is_claude_since((4, 7))
    }

    /// Whether it is a Claude of this version or a newer one.
    pub(super) fn is_claude_since(self, least: (u8, u8)) -> bool {
        matches!(self, Self::Claude { version, .. } if version >= least)
    }
}

/// `claude-3-7-sonnet-20250219-v1:0`, `claude-opus-4-6-v1`, `claude-fable-5-1`, `claude-mythos-preview`, `claude-v2:1`.
fn claude(model: &str) -> Family {
    /// Previews have no version; they are newer than what has.
    const NEWEST: (u8, u8) = (u8::MAX, 0);
    let mut numbers = model.split('-').skip_while(|word| !is_number(word)).take_while(|word| is_number(word));
    let mut number = || numbers.next().and_then(|word| word.parse().ok());
    let version = match number() {
        Some(major) => (major, number().unwrap_or(0)),
        None if model.contains("-v") => (2, 0),
        None => NEWEST,
    };
    Family::Claude { version, only_adapts: model.contains("fable") || model.contains("mythos") }
}

/// Whether it is a part of a version: dates are longer.
fn is_number(word: &str) -> bool {
    (1..=2).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_family_and_version_where_it_has_them() {
        let claude = |version| Family::Claude { version, only_adapts: false };
        for (id, family) in [
            ("anthropic.claude-3-haiku-20240307-v1:0", claude((3, 0))),
            ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", claude((3, 7))),
            ("anthropic.claude-opus-4-20250514-v1:0", claude((4, 0))),
            ("global.anthropic.claude-opus-4-6-v1", claude((4, 6))),
            ("anthropic.claude-sonnet-5", claude((5, 0))),
            ("anthropic.claude-v2:1", claude((2, 0))),
            ("anthropic.claude-instant-v1", claude((2, 0))),
            ("anthropic.claude-fable-5-1", Family::Claude { version: (5, 1), only_adapts: true }),
            ("anthropic.claude-mythos-preview", Family::Claude { version: (255, 0), only_adapts: true }),
            (
                "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0",
                claude((3, 0)),
            ),
            ("arn:aws:bedrock:us-east-1:1:inference-profile/eu.anthropic.claude-sonnet-4-5", claude((4, 5))),
            ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc123", Family::Unknown),
            ("us.amazon.nova-pro-v1:0", Family::Nova { reasons: false }),
            ("amazon.nova-2-lite-v1:0", Family::Nova { reasons: true }),
            ("amazon.titan-text-lite-v1", Family::Other),
            ("openai.gpt-oss-120b-1:0", Family::OpenAi),
            ("meta.llama3-1-70b-instruct-v1:0", Family::Other),
            ("", Family::Unknown),
        ] {
            assert_eq!(Family::of(id), family, "{id}");
        }
    }
}
