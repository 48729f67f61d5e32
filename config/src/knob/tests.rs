//! Tests of the notations.
