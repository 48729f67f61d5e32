//! Who asks, what they may, and how much.
//!
//! | what | where |
//! |---|---|
//! | where a credential stands in a request, and how it is taken out | `extract` |
//! | consumers, and the keys that tell them | `consumers`, `keys` |
//! | names and passwords | `basic` |
//! | tokens of identity providers, and key sets | `jwt` |
//! | one policy's ways of saying who asks, in turn | `authenticator` |
//! | logging people in at an OpenID provider, and who is logged in | `login` |
//! | one policy's rules of who may do what | `authorizer` |
//! | how much of it: limits and budgets | `limits` |
//! | what somebody else reads or fetches, and renews | `held` |
//!
//! Nothing here does I/O, waits or knows a server: what files and identity providers say is handed in ([`Sources`]), and a
//! decision is made of what is there. An external service that is asked about each request was turned down: it is a hop, and
//! one more thing that can be down.
//!
//! All that a client sends is read as an attacker's. What is ambiguous (a header that is there twice, a member of an object
//! that is there twice, Base64 that is not canonical) is refused, and never read in one of its ways: somebody behind the
//! gateway may read it in the other.

mod authenticator;
mod authorizer;
mod basic;
mod consumers;
mod extract;
mod held;
mod json;
mod jwt;
mod keys;
pub mod limits;
mod line;
mod login;
#[cfg(test)]
mod testing;

pub use authenticator::{Authenticator, By, Edits, Identified, Identity, Outcome, Refused, Sources, Why};
pub use authorizer::{Authorizer, Decision, Facts, Model, may_ask};
pub use basic::Users;
pub use consumers::{ConsumerBook, KeyTable};
pub use extract::{has_cookie, remove_cookie, remove_cookies, remove_query};
pub use held::Held;
pub use jwt::{KeySet, KeySetError};
pub use keys::key_digest;
pub use line::{LineError, LineFault};
pub use login::{
    Ask as TokenAsk, Back, ClientSecret, Code, Door, Expecting, Led, Login, LoginFault, MAX_SESSION_BYTES,
    Provider, ProviderError, RANDOM_BYTES, SecretError, Seen, Session, Visit, keys_url,
};
