//! What auth is told: the `auth` section of `config.yml`.

/// Which way of proving who one is the registry demands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Config {
    /// `auth` absent or `none`: everybody may do everything.
    #[default]
    Open,
}
