//! JSON of tokens and key sets.
