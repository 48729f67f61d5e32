//! Why a token is not accepted.

/// Why a token is not accepted, in the order in which it is looked at: of several providers that refuse a token, the one
/// that came furthest knows best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// It is longer than any token.
    TooLong,
    /// It is not three parts of canonical Base64, of which two are JSON objects without members that are there twice.
    NotAToken,
    /// Its algorithm is none that is accepted; `none` and those with shared secrets are not.
    Algorithm,
    /// It has extensions that have to be understood.
    Critical,
    /// It is of another issuer.
    Issuer,
    /// It is for somebody else.
    Audience,
    /// Its times are no numbers.
    Times,
    /// It has expired.
    Expired,
    /// It is not valid yet.
    NotYet,
    /// Its key is not in the set.
    UnknownKey,
    /// Its key verifies other algorithms.
    OtherAlgorithm,
    /// Its signature is not that of the key.
    Signature,
    /// What should name its bearer does not.
    Consumer,
}

impl Fault {
    /// The fault in a few words, for the client.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::TooLong => "the token is too long",
            Self::NotAToken => "the token is malformed",
            Self::Algorithm => "the token's algorithm is not accepted",
            Self::Critical => "the token has critical extensions",
            Self::Issuer => "the token is of another issuer",
            Self::Audience => "the token is for another audience",
            Self::Times => "the token's times are malformed",
            Self::Expired => "the token has expired",
            Self::NotYet => "the token is not valid yet",
            Self::UnknownKey => "the token's key is not known",
            Self::OtherAlgorithm => "the token's key is not for its algorithm",
            Self::Signature => "the token's signature is not valid",
            Self::Consumer => "the token does not name its bearer",
        }
    }
}
