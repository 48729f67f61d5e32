//! Where a request goes, and what depends on its model.

/// Who serves the model: the two have one API with small differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// The Gemini API (`generativelanguage.googleapis.com`).
    GeminiApi,
    /// Vertex AI.
    Vertex,
}

/// A model on a platform.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) platform: Platform,
    /// The model, as the upstream calls it.
    pub(crate) model: &'a str,
}

impl Target<'_> {
    /// Gemini's version, as in `gemini-2.5-pro`; `None` for models that do not say, such as Gemma and tuned ones.
    /// Names such as `gemini-flash-latest` stand for version 3 by now.
    pub(crate) fn generation(&self) -> Option<(u32, u32)> {
        let version = self.name().strip_prefix("gemini-")?;
        if version.ends_with("-latest") && !version.starts_with(|first: char| first.is_ascii_digit()) {
            return Some((3, 0));
        }
        let version = version.split('-').next()?;
        let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
        Some((major.parse().ok()?, minor.parse().ok()?))
    }

    /// Whether schemas may be JSON schemas. Older models, and those that do not say, get Google's subset.
    pub(crate) fn takes_json_schema(&self) -> bool {
        self.generation() >= Some((2, 5))
    }

    /// Whether it is of the third generation: it refuses calls in the history that have no signature, thinks by level
    /// and not by budget, and takes images in what tools return.
    pub(crate) fn is_third(&self) -> bool {
        self.generation() >= Some((3, 0))
    }

    /// Whether it is one of the large models.
    pub(crate) fn is_pro(&self) -> bool {
        self.name().split('-').any(|word| word == "pro")
    }

    /// Whether it is one of the smallest models.
    pub(crate) fn is_lite(&self) -> bool {
        self.name().split('-').any(|word| word == "lite")
    }

    fn name(&self) -> &str {
        self.model.rsplit('/').next().unwrap_or(self.model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_says_its_version() {
        for (model, generation) in [
            ("gemini-2.5-flash-lite-preview-09-2025", Some((2, 5))),
            ("google/gemini-2.0-flash-001", Some((2, 0))),
            ("gemini-3-pro-preview", Some((3, 0))),
            ("models/gemini-3.1-pro-preview", Some((3, 1))),
            ("gemini-flash-latest", Some((3, 0))),
            ("gemini-1.5-pro-latest", Some((1, 5))),
            ("gemini-live", None),
            ("gemma-3-27b-it", None),
            ("1234567890", None),
        ] {
            let target = Target { platform: Platform::Vertex, model };
            assert_eq!(target.generation(), generation, "{model}");
        }
    }
}
