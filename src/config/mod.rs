//! `config.yml`: composes the rooms own configuration types from a file and the environment.
