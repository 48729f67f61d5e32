//! Who asks: what requests show by themselves, and who has logged in.

use std::sync::Arc;

use http::HeaderValue;
use penstock_policies::{Identified, Identity, Outcome, Refused, Why};

use super::Access;
use crate::error::{Error, Unauthenticated};
use crate::policy::login::LogIn;
use crate::policy::{Subject, Verdict, edits};

impl Access {
    /// Asks people to log in who do not show who they are, if the policy does that, and answers where they come back to. Of
    /// a policy that a listener and a rule name that is done once.
    ///
    /// # Errors
    /// Nobody knows who it is.
    pub(super) async fn log_in(&self, request: &mut Subject<'_>) -> Result<Verdict, Error> {
        match &self.login {
            None => Ok(Verdict::Continue),
            // In a place of its own: hardly any policy has one.
            Some(login) => Box::pin(self.log_in_by(login, request)).await,
        }
    }

    async fn log_in_by(&self, login: &Arc<LogIn>, request: &mut Subject<'_>) -> Result<Verdict, Error> {
        if !self.is_first(request) {
            return Ok(Verdict::Continue);
        }
        let mut reply = login.at_door(request).await?;
        if reply.is_none() {
            match self.shown(request) {
                Ok(identified) => {
                    login.take(None, request)?;
                    self.know(identified, request)?;
                }
                Err(refused) => match login.session(request).await? {
                    Some(session) => {
                        let identified = login.take(Some(&session), request)?;
                        self.know(identified, request)?;
                    }
                    None if refused.why == Why::Missing => {
                        reply = login.lead(request)?;
                        if reply.is_none() {
                            return Err(self.refusal(refused.why, refused.challenges));
                        }
                    }
                    None => return Err(self.refusal(refused.why, refused.challenges)),
                },
            }
        }
        let Some(reply) = reply else { return Ok(Verdict::Continue) };
        request.caller.get_or_insert_default().answered_by = Some(self.name.clone());
        Ok(Verdict::Answer(Box::new(reply)))
    }

    /// Finds out who asks. A policy that a listener and a rule name is asked once: what it went by the first time is gone
    /// then.
    pub(in crate::policy) fn authenticate(&self, request: &mut Subject<'_>) -> Result<(), Error> {
        if self.authenticator.is_none() || !self.is_first(request) {
            return Ok(());
        }
        match self.shown(request) {
            Ok(identified) => self.know(identified, request),
            Err(Refused { why, challenges }) => {
                // Of an explanation, which leads nobody to log in, and renews nothing.
                let session =
                    self.login.as_ref().map(|login| login.session_now(request)).transpose()?.flatten();
                match (session, &self.login) {
                    (Some(session), Some(login)) => {
                        let identified = login.take(Some(&session), request)?;
                        self.know(identified, request)
                    }
                    _ => Err(self.refusal(why, challenges)),
                }
            }
        }
    }

    /// Whether the policy was not asked yet who sent the request. It is now.
    fn is_first(&self, request: &mut Subject<'_>) -> bool {
        let caller = request.caller.get_or_insert_default();
        let is_first = !caller.asked.contains(&self.name);
        if is_first {
            caller.asked.push(self.name.clone());
        }
        is_first
    }

    /// Who sent the request, as it shows by itself; `None` is nobody where that may pass.
    fn shown(&self, request: &Subject<'_>) -> Result<Option<Identified>, Refused> {
        let Some(authenticator) = &self.authenticator else { return Ok(None) };
        let query = request.path_and_query.query();
        match authenticator.identify(&request.head.headers, query, request.now) {
            Outcome::Anonymous => Ok(None),
            Outcome::Identified(identified) => Ok(Some(identified)),
            Outcome::Refused(refused) => Err(refused),
        }
    }

    /// Takes note of who sent the request.
    fn know(&self, identified: Option<Identified>, request: &mut Subject<'_>) -> Result<(), Error> {
        let Some(Identified { identity, edits }) = identified else { return Ok(()) };
        let identity = Identity { policy: self.name.clone(), ..identity };
        request.caller.get_or_insert_default().identities.push(identity);
        edits::apply(edits, request.path_and_query, request.head)
    }

    fn refusal(&self, why: Why, challenges: Arc<[HeaderValue]>) -> Error {
        let policy = self.name.clone();
        let invalid = match why {
            Why::Missing => None,
            Why::Invalid(what) => Some(what),
            Why::Unavailable => return Error::KeysUnavailable { policy },
        };
        Error::Unauthenticated(Box::new(Unauthenticated { policy, invalid, challenges }))
    }
}
