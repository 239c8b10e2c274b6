//! The words of the OCI specifications, validated and without I/O.
