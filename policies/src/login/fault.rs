//! Why nobody is logged in.

use crate::jwt::Fault;

/// Why nobody is logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginFault {
    /// The browser did not begin the login, or too long ago.
    NotBegun,
    /// A parameter of where the provider led to is missing, or there twice.
    Malformed,
    /// The provider says that the person did not let it, or that it may not.
    Refused,
    /// The provider says that it could not.
    Failed,
    /// The provider does not take the code, or not any more.
    Code,
    /// Another provider answered.
    OtherProvider,
    /// The provider's answer has no ID token, or none for this login.
    NoIdToken,
    /// The ID token is of another login.
    Nonce,
    /// The ID token is of somebody else than the session was.
    OtherSubject,
    /// The ID token is not to be believed, in a few words for people.
    Token(&'static str),
    /// The ID token's key is not in the provider's set, as far as that is known.
    UnknownKey,
    /// The host is another than that where the provider leads to, and has no cookies in common with it.
    OtherHost,
    /// The session has more bytes than browsers keep.
    TooLarge,
    /// What is needed of the provider, or the client's secret, was never had.
    Unavailable,
}

impl LoginFault {
    /// The fault in a few words, for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::NotBegun => {
                "the login was not begun in this browser, or took too long: open the page again"
            }
            Self::Malformed => "the provider led here with parameters that are missing or there twice",
            Self::Refused => "the provider did not let you in",
            Self::Failed => "the provider could not log you in: open the page again",
            Self::Code => "the provider does not take the code of this login: open the page again",
            Self::OtherProvider => "another provider answered than was asked",
            Self::NoIdToken => "the provider gave no ID token",
            Self::Nonce => "the ID token is of another login: open the page again",
            Self::OtherSubject => "the ID token is of somebody else than the session",
            Self::Token(text) => text,
            Self::UnknownKey => Fault::UnknownKey.text(),
            Self::OtherHost => {
                "nobody can log in at this host: it is another than that of redirectUrl, and cookieDomain has not both"
            }
            Self::TooLarge => "the provider's tokens have more bytes than a browser keeps",
            Self::Unavailable => "the provider cannot be asked yet",
        }
    }
}

impl From<Fault> for LoginFault {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::UnknownKey => Self::UnknownKey,
            other => Self::Token(other.text()),
        }
    }
}
