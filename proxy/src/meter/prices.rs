//! What tokens cost: the document's prices, and those of the file that it names, which is read again when it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};
use parking_lot::Mutex;
use penstock_config::{Fault, Faults, Price, Snapshot};
use penstock_policies::limits::{PriceFor, Prices};
use penstock_sources::files::{self, DOCUMENT_LIMIT_BYTES, ReadError};

/// Why a file of prices cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PricesError {
    /// It could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ReadError,
    },
    /// It says something that is no price.
    #[error("{}: {faults}", path.display())]
    Faulty {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        faults: Faults,
    },
}

/// What tokens cost. Outlives configurations.
#[derive(Default)]
pub(crate) struct PriceBook {
    /// Without any: nobody said what anything costs.
    all: ArcSwapOption<Prices>,
    sources: Mutex<Sources>,
}

/// Where prices come from.
#[derive(Default)]
struct Sources {
    of_document: Vec<Price>,
    file: Option<PathBuf>,
    /// What the file said when it was good.
    of_file: Vec<Price>,
    /// Why it cannot be used now.
    error: Option<Box<str>>,
}

/// The prices at one time.
pub(crate) struct Rates(Guard<Option<Arc<Prices>>>);

impl PriceBook {
    /// Takes over what a document says, and reads the file that it names. One that cannot be used leaves in force what it
    /// said before, if it is the same file.
    pub(crate) fn apply(&self, snapshot: &Snapshot) {
        let mut sources = self.sources.lock();
        sources.of_document.clone_from(&snapshot.prices);
        if sources.file != snapshot.prices_file {
            *sources = Sources {
                of_document: std::mem::take(&mut sources.of_document),
                file: snapshot.prices_file.clone(),
                ..Sources::default()
            };
        }
        sources.read();
        self.publish(&sources);
    }

    /// Reads the file again.
    pub(crate) fn reload(&self) {
        let mut sources = self.sources.lock();
        if sources.file.is_some() {
            sources.read();
            self.publish(&sources);
        }
    }

    /// The file, if there is one.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        self.sources.lock().file.clone()
    }

    /// Why the file cannot be used now; `None` if it can, or there is none.
    pub(crate) fn error(&self) -> Option<Box<str>> {
        self.sources.lock().error.clone()
    }

    /// The prices as they are now.
    pub(crate) fn rates(&self) -> Rates {
        Rates(self.all.load())
    }

    fn publish(&self, sources: &Sources) {
        // What the document says of the same models comes first.
        let all: Vec<Price> = sources.of_document.iter().chain(&sources.of_file).cloned().collect();
        self.all.store((!all.is_empty()).then(|| Arc::new(Prices::new(&all))));
    }
}

impl Rates {
    /// Whether anybody said what anything costs.
    pub(crate) fn are_known(&self) -> bool {
        self.0.is_some()
    }

    /// What a model costs at an upstream, by the name that it has there.
    pub(crate) fn of(&self, upstream: &str, model: &str) -> Option<&PriceFor> {
        self.0.as_ref()?.of(upstream, model)
    }
}

impl Sources {
    fn read(&mut self) {
        let Some(file) = &self.file else { return };
        match parse(file) {
            Ok(prices) => {
                if self.error.take().is_some() || prices != self.of_file {
                    tracing::info!(file = %file.display(), prices = prices.len(), "prices loaded");
                }
                self.of_file = prices;
            }
            Err(error) => {
                let error: Box<str> = error.to_string().into();
                // Said once, not each time that the file is looked at.
                if self.error.as_ref() != Some(&error) {
                    tracing::error!(%error, "prices cannot be loaded; those loaded before stay in use");
                }
                self.error = Some(error);
            }
        }
    }
}

/// Whether a document says what anything costs.
pub(crate) fn are_named(snapshot: &Snapshot) -> bool {
    !snapshot.prices.is_empty() || snapshot.prices_file.is_some()
}

/// Looks at the file of prices that a document names, without using it.
pub(crate) fn check(snapshot: &Snapshot) -> Option<Fault> {
    let error = parse(snapshot.prices_file.as_deref()?).err()?;
    Some(Fault::new("pricesFile", error.to_string()))
}

fn parse(path: &Path) -> Result<Vec<Price>, PricesError> {
    let text = files::read_text(path, DOCUMENT_LIMIT_BYTES);
    let text = text.map_err(|source| PricesError::Read { path: path.to_owned(), source })?;
    penstock_config::prices::parse(&text)
        .map_err(|faults| PricesError::Faulty { path: path.to_owned(), faults })
}
