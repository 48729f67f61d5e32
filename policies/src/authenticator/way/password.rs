//! Names and passwords.

use std::sync::Arc;

use http::HeaderName;
use http::header::AUTHORIZATION;
use penstock_config::{Basic, Extract};

use super::{Attempt, Request, TWICE, edits, told};
use crate::authenticator::{By, Identified, Identity, Sources};
use crate::basic::{Login, Users};
use crate::consumers::ConsumerBook;
use crate::extract::{Places, Shown};
use crate::held::Held;

/// By a name and a password.
#[derive(Debug)]
pub(in crate::authenticator) struct ByPassword {
    places: Places,
    users: Arc<Held<Users>>,
    book: Arc<ConsumerBook>,
    user_header: Option<HeaderName>,
    is_forwarded: bool,
}

impl ByPassword {
    pub(in crate::authenticator) fn new(
        basic: &Basic,
        book: &Arc<ConsumerBook>,
        sources: &dyn Sources,
    ) -> Self {
        Self {
            places: Places::new([Extract::Header { name: AUTHORIZATION, prefix: "Basic ".into() }]),
            users: sources.users(&basic.file),
            book: Arc::clone(book),
            user_header: basic.user_header.clone(),
            is_forwarded: basic.is_forwarded,
        }
    }

    pub(in crate::authenticator) fn attempt(&self, request: Request<'_>) -> Attempt {
        let (text, place) = match self.places.find(request.headers, request.query) {
            Shown::Nothing => return Attempt::NotShown,
            Shown::Twice => return Attempt::Invalid(TWICE),
            Shown::Once { text, place } => (text, place),
        };
        let Some(users) = self.users.get() else { return Attempt::Unavailable };
        let Some(login) = Login::parse(&text) else { return Attempt::Invalid("the login is malformed") };
        if !users.verify(&login.name, &login.password) {
            return Attempt::Invalid("no user has that name and password");
        }
        let consumer = self.book.get(&login.name);
        let set = told(self.user_header.as_ref(), &consumer.name);
        let identity = Identity { consumer, by: By::Basic, policy: Arc::default(), claims: None };
        Attempt::Identified(Identified { identity, edits: edits(place, self.is_forwarded, set) })
    }
}
