//! What auth is told: the `auth` section of `config.yml`.

use std::path::PathBuf;
use std::time::Duration;

use super::PasswordHash;

/// Which ways of proving who one is the registry offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Config {
    /// `auth` absent or `none`: everybody may do everything.
    #[default]
    Open,
    /// Whoever comes must prove who they are by one of the ways that are there.
    Closed(Box<Ways>),
}

impl Config {
    /// Whether rules allow something to those who show nothing while the challenge asks for a password. The engine of
    /// docker takes such a challenge for the end of the matter.
    #[must_use]
    pub fn lets_anonymous_in_by_password_alone(&self) -> bool {
        let Self::Closed(ways) = self else { return false };
        let anonymous = |who: &Who| matches!(who, Who::Everybody | Who::Anonymous);
        let allows = |rule: &Rule| !rule.actions.is_empty() && rule.who.iter().any(anonymous);
        ways.token.is_none() && ways.rules.as_ref().is_some_and(|rules| rules.rules.iter().any(allows))
    }
}

/// The ways that are offered, at least one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ways {
    /// `auth.silly`.
    pub silly: Option<SillyConfig>,
    /// `auth.htpasswd`.
    pub htpasswd: Option<HtpasswdConfig>,
    /// `auth.robots`: further names and passwords, which end at a time. Absent when the key is.
    pub robots: Option<Vec<Robot>>,
    /// `auth.certificate`.
    pub certificate: Option<CertificateConfig>,
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

/// A robot account: a name and a password for a program, good until a day that was set when it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Robot {
    /// By which it logs in and rules speak of it. A user of the same name in `auth.htpasswd` is hidden by it.
    pub name: String,
    /// Of its password.
    pub hash: PasswordHash,
    /// Unix time from which it is refused.
    pub expires: i64,
}

/// `auth.certificate`: client certificates that TLS has verified say who somebody is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CertificateConfig {
    /// Which of its names is the user's.
    pub name: CertificateName,
}

/// A name in a certificate (RFC 5280 §4.1.2.6 and §4.2.1.6). Of several of a kind the first counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CertificateName {
    /// The subject's common name.
    #[default]
    CommonName,
    /// A DNS name of the subject's alternative names.
    Dns,
    /// A mail address of the same.
    Email,
    /// An address of the same, as SPIFFE has it.
    Uri,
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
    pub jwks: Option<KeySet>,
    /// The algorithms that may sign.
    pub algorithms: Vec<SigningAlgorithm>,
    /// The token server in this program, if it is to be one.
    pub server: Option<TokenServerConfig>,
}

/// `auth.token.server`: this registry issues tokens itself, to those who have a password and to nobody in particular.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenServerConfig {
    /// A private key in PEM, which signs; made when it does not exist. Replicas share it.
    pub key: PathBuf,
    /// Where tokens are fetched, below `http.prefix`; absolute.
    pub path: String,
    /// How long a token is good, at least a minute.
    pub expiration: Duration,
    /// How long a refresh token is good; zero gives out none.
    pub refresh_expiration: Duration,
}

/// Where a key set is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySet {
    /// A file, read again when it changes.
    File(PathBuf),
    /// An `https` address, or an `http` one on this machine, fetched again now and then.
    Address(String),
}

impl KeySet {
    /// Whether the host of `address` is this machine by its name or number, so that nobody stands between.
    #[must_use]
    pub fn is_this_machine(address: &str) -> bool {
        let address = address.parse::<http::Uri>().ok();
        let host = address.as_ref().and_then(http::Uri::host).unwrap_or_default();
        let number = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        host == "localhost" || number.is_ok_and(|number| number.is_loopback())
    }
}

/// Where clients are sent for tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RealmConfig {
    /// `realm`: an address.
    Fixed(String),
    /// `autoredirect`: `autoredirectpath` on the host that the client called.
    Here(String),
    /// `server` without `realm`: this path on the address by which clients know this registry, prefix included.
    Own(String),
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

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }

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
    /// `auth.groupsfile`: lines `group: member member`, which add to those.
    pub groups_file: Option<PathBuf>,
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
    /// `certificate:NAME`, by a client certificate alone.
    Certificate(String),
}

impl Who {
    /// The group, when it is one.
    pub(super) fn group(&self) -> Option<&str> {
        if let Self::Group(group) = self { Some(group) } else { None }
    }

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
            Some(("certificate", name)) => Some(Self::Certificate(name.to_owned())),
            Some(_) => None,
        }
    }
}
