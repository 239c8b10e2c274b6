//! Credentials that machines have.
