//! OSS against a server that verifies every signature.
