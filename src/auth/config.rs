//! What auth is told: the `auth` section of `config.yml`.

use std::path::PathBuf;

/// Which ways of proving who one is the registry offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Config {
    /// `auth` absent or `none`: everybody may do everything.
    #[default]
    Open,
    /// Whoever comes must prove who they are by one of the ways that are there.
    Closed(Box<Ways>),
}

/// The ways that are offered, at least one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ways {
    /// `auth.silly`.
    pub silly: Option<SillyConfig>,
    /// `auth.htpasswd`.
    pub htpasswd: Option<HtpasswdConfig>,
    /// `auth.token`.
    pub token: Option<TokenConfig>,
    /// `auth.access`; without it whoever is known may do everything, or what their token lists.
    pub rules: Option<RulesConfig>,
}

/// `auth.silly`: whoever says anything is let in. For trying out clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SillyConfig {
    /// Of the challenge.
    pub realm: String,
    /// Of the challenge.
    pub service: String,
}

/// `auth.htpasswd`: users in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HtpasswdConfig {
    /// Of the challenge.
    pub realm: String,
    /// Lines `user:bcrypt`. Made with one user and a random password when it does not exist.
    pub path: PathBuf,
}

/// `auth.token`: tokens signed by a token server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenConfig {
    /// Where clients get tokens.
    pub realm: RealmConfig,
    /// What `aud` must hold.
    pub service: String,
    /// What `iss` must be.
    pub issuer: String,
    /// PEM certificates whose keys, and whose chains, are trusted.
    pub root_cert_bundle: Option<PathBuf>,
    /// A JSON Web Key Set whose keys are trusted.
    pub jwks: Option<PathBuf>,
    /// The algorithms that may sign.
    pub algorithms: Vec<SigningAlgorithm>,
}

/// Where clients are sent for tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RealmConfig {
    /// `realm`: an address.
    Fixed(String),
    /// `autoredirect`: `autoredirectpath` on the host that the client called.
    Here(String),
}

/// An algorithm with which tokens are signed (RFC 7518 §3.1). Symmetric ones and `none` have no variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are RFC 7518's")]
pub enum SigningAlgorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDSA,
}

impl SigningAlgorithm {
    /// Every algorithm, with its name.
    pub const ALL: [(&'static str, Self); 10] = [
        ("RS256", Self::RS256),
        ("RS384", Self::RS384),
        ("RS512", Self::RS512),
        ("PS256", Self::PS256),
        ("PS384", Self::PS384),
        ("PS512", Self::PS512),
        ("ES256", Self::ES256),
        ("ES384", Self::ES384),
        ("ES512", Self::ES512),
        ("EdDSA", Self::EdDSA),
    ];

    /// By its name, which is compared exactly.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }
}

/// `auth.access` and `auth.groups`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RulesConfig {
    /// In the order in which they are asked.
    pub rules: Vec<Rule>,
    /// The members of each group.
    pub groups: std::collections::BTreeMap<String, Vec<String>>,
}

/// Who may do what where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whom it speaks of: any of these.
    pub who: Vec<Who>,
    /// Patterns of repository names, any of which fits.
    pub repositories: Vec<String>,
    /// What is allowed; nothing else is, and nothing at all when it is empty.
    pub actions: Vec<super::Action>,
}

/// Somebody that a rule speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// `everybody`.
    Everybody,
    /// `anonymous`: who shows no credentials, or a token for nobody in particular.
    Anonymous,
    /// `authenticated`: who has proven some name.
    Authenticated,
    /// `user:NAME`, by whichever way proven.
    User(String),
    /// `group:NAME`.
    Group(String),
    /// `token:SUBJECT`, by a token alone.
    Token(String),
}

impl Who {
    /// Reads one; `None` when it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None => match text {
                "everybody" => Some(Self::Everybody),
                "anonymous" => Some(Self::Anonymous),
                "authenticated" => Some(Self::Authenticated),
                _ => None,
            },
            Some((_, "")) => None,
            Some(("user", name)) => Some(Self::User(name.to_owned())),
            Some(("group", name)) => Some(Self::Group(name.to_owned())),
            Some(("token", name)) => Some(Self::Token(name.to_owned())),
            Some(_) => None,
        }
    }
}
