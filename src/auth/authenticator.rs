//! The one question that is asked of every request.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::oci::RepositoryName;

use super::access::{Access, Action, Grant};
use super::authorization::Presented;
use super::certificate::CertificateProblem;
use super::challenge::{Challenge, Realm, Refusal, Unproven};
use super::htpasswd::{Htpasswd, Verdict};
use super::identity::{Identity, Standing, Way};
use super::policy::{Allowed, Decision, Policy};
use super::token::{AccessList, Rejection, Renewed, Tokens};
use super::token_server::TokenServer;
use super::{CertificateConfig, Config, Error, KeySet, RealmConfig, Scope, Ways, unix_time};

/// Decides who may do what, by the configured ways of proving who one is. The default lets everybody do everything.
#[derive(Debug, Default)]
pub struct Authenticator {
    ways: Option<OpenWays>,
}

#[derive(Debug)]
pub(super) struct OpenWays {
    silly: Option<(Arc<str>, Arc<str>)>,
    htpasswd: Option<Htpasswd>,
    token: Option<TokenWay>,
    certificate: Option<CertificateConfig>,
    /// Changes while requests are served.
    policy: ArcSwapOption<Policy>,
}

#[derive(Debug)]
struct TokenWay {
    realm: Realm,
    service: Arc<str>,
    tokens: Tokens,
    server: Option<TokenServer>,
}

/// What a request brings along to prove whose it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// What `Authorization` says.
    pub authorization: Authorization<'a>,
    /// The client certificate of the request's connection, DER, if TLS has verified one.
    pub certificate: Option<&'a [u8]>,
    /// Where the request's connection comes from, for the audit line; absent on a unix socket.
    pub address: Option<IpAddr>,
}

/// The `Authorization` headers of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Authorization<'a> {
    /// There is none.
    #[default]
    Absent,
    /// There is one.
    Text(&'a str),
    /// There are several, or it is not text: nothing can be made of it, and it is not the same as none.
    Unreadable,
}

/// What became of a changed configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopted {
    /// Its rules and robots are in force.
    Rules,
    /// There were none and there are none.
    Nothing,
    /// It would open or close the registry, or take all rules away: everything stays as it was until a restart.
    Kept,
}

impl Authenticator {
    /// An authenticator by `config`. Reads, and for htpasswd may make, the files that it names.
    ///
    /// # Errors
    /// [`Error`] when a file is missing or wrong.
    pub fn open(config: Config) -> Result<Self, Error> {
        let Config::Closed(ways) = config else { return Ok(Self::default()) };
        let Ways { silly, htpasswd, robots, certificate, token, rules } = *ways;
        let token = token
            .map(|token| {
                let server = token.server.as_ref().map(|server| TokenServer::open(&token, server)).transpose()?;
                let tokens = Tokens::open(&token, server.as_ref().map(TokenServer::key))?;
                let realm = match token.realm {
                    RealmConfig::Fixed(address) => Realm::Fixed(address.into()),
                    RealmConfig::Here(path) => Realm::Here { path: path.into() },
                    RealmConfig::Own(path) => Realm::Own { path: path.into() },
                };
                Ok(TokenWay { realm, service: token.service.into(), tokens, server })
            })
            .transpose()?;
        let passwords = htpasswd.is_some() || robots.is_some();
        let htpasswd = passwords.then(|| Htpasswd::open(htpasswd, &robots.unwrap_or_default())).transpose()?;
        let silly = silly.map(|silly| (silly.realm.into(), silly.service.into()));
        let policy = rules.map(|rules| Policy::open(&rules).map(Arc::new)).transpose()?;
        let policy = ArcSwapOption::from(policy);
        Ok(Self { ways: Some(OpenWays { silly, htpasswd, token, certificate, policy }) })
    }

    /// The ways that are offered; `None` where everybody may do everything.
    pub(super) fn ways(&self) -> Option<&OpenWays> {
        self.ways.as_ref()
    }

    /// Fetches keys that have an address, and goes on to do so for as long as `self` lives; waits for the first time a few
    /// seconds at most. Call once, when requests are about to be served.
    pub async fn start(&self) {
        if let Some(way) = self.ways.as_ref().and_then(|ways| ways.token.as_ref()) {
            way.tokens.start().await;
        }
    }

    /// Takes over the access rules and robots of `config`, and nothing else of it: from the next request on they are in
    /// force. Rules in force are never replaced by none, so that a file read half written opens nothing: that needs a
    /// restart, and so does a change between open and closed, or the first robot where nobody had a password.
    ///
    /// # Errors
    /// [`Error`] when the file of groups cannot be read; nothing has changed then.
    pub fn adopt_rules(&self, config: &Config) -> Result<Adopted, Error> {
        let (ways, new) = match (&self.ways, config) {
            (Some(ways), Config::Closed(new)) => (ways, new),
            (None, Config::Open) => return Ok(Adopted::Nothing),
            _ => return Ok(Adopted::Kept),
        };
        let robots = new.robots.as_deref().unwrap_or_default();
        if new.rules.is_none() && ways.policy.load().is_some() || ways.htpasswd.is_none() && !robots.is_empty() {
            return Ok(Adopted::Kept);
        }
        let policy = new.rules.as_ref().map(Policy::open).transpose()?;
        let nothing = policy.is_none() && new.robots.is_none();
        if let Some(policy) = policy {
            ways.policy.store(Some(Arc::new(policy)));
        }
        if let Some(htpasswd) = &ways.htpasswd {
            htpasswd.adopt_robots(robots);
        }
        Ok(if nothing { Adopted::Nothing } else { Adopted::Rules })
    }

    /// Whether whoever shows `credentials` has `access`.
    ///
    /// # Errors
    /// [`Refusal`] when not.
    #[must_use = "a request is carried out only with the grant in hand"]
    pub async fn authorize(&self, credentials: Credentials<'_>, access: Access<'_>) -> Result<Grant, Refusal> {
        let Some(ways) = &self.ways else { return Ok(Grant::everything()) };
        let result = ways.authorize(credentials, access).await;
        audit(&result, credentials.address, access);
        result
    }
}

/// One line for each decision that refuses something or lets something be changed. Never a password or a token.
fn audit(result: &Result<Grant, Refusal>, address: Option<IpAddr>, access: Access<'_>) {
    let address = address.map(tracing::field::display);
    let (action, repository) = (access.action(), access.repository().map(RepositoryName::as_str));
    match result {
        // Clients ask like this first of all, to be told how to log in.
        Err(Refusal::Unauthorized { reason: Unproven::Missing, .. }) if access == Access::Ping => {}
        Err(refusal) => {
            let (user, rule) = (refusal.user(), refusal.rule());
            tracing::info!(target: "berth::audit", user, action, repository, address, rule, reason = %refusal, "refused");
        }
        Ok(grant) if access.changes() => {
            let (user, rule) = (grant.user(), grant.rule(access));
            tracing::info!(target: "berth::audit", user, action, repository, address, rule, "allowed");
        }
        Ok(_) => {}
    }
}

/// What the rules of `config` say about a user, or about whoever shows nothing, in `repository`.
///
/// # Errors
/// [`Error`] when the file of groups cannot be read.
pub fn explain(
    config: &Config,
    user: Option<&str>,
    repository: &RepositoryName,
) -> Result<Vec<(Action, Decision)>, Error> {
    let policy = match config {
        Config::Open => None,
        Config::Closed(ways) => ways.rules.as_ref().map(Policy::open).transpose()?,
    };
    let way = if user.is_some() { Way::Password } else { Way::Anonymous };
    let identity = Identity { name: user.map(Arc::from), way };
    let unruled = match (config, way) {
        (Config::Closed(_), Way::Anonymous) => Allowed::No,
        _ => Allowed::Yes,
    };
    let decide = |action| match &policy {
        Some(policy) => policy.decide(&identity, repository.as_str(), action),
        None => Decision { allowed: unruled, rule: None },
    };
    Ok(Action::ALL.into_iter().map(|action| (action, decide(action))).collect())
}

/// Reads what `config` names and changes nothing: an htpasswd file that is yet to be made is no error.
///
/// # Errors
/// As [`Authenticator::open`].
pub fn check(config: &Config) -> Result<(), Error> {
    let Config::Closed(ways) = config else { return Ok(()) };
    let mut ways = ways.clone();
    ways.htpasswd = ways.htpasswd.filter(|htpasswd| htpasswd.path.exists());
    if let Some(token) = &mut ways.token
        && token.server.as_ref().is_some_and(|server| !server.key.exists())
    {
        token.server = None;
        let others = token.jwks.is_some() || token.root_cert_bundle.is_some();
        ways.token = ways.token.filter(|_| others);
    }
    Authenticator::open(Config::Closed(ways)).map(|_| ())
}

/// Fetches, once, the key set that `config` gives an address for.
///
/// # Errors
/// [`Error::Fetch`].
pub async fn check_key_set(config: &Config) -> Result<(), Error> {
    let Config::Closed(ways) = config else { return Ok(()) };
    match ways.token.as_ref().filter(|token| matches!(token.jwks, Some(KeySet::Address(_)))) {
        Some(token) => Tokens::open(token, None)?.fetch().await,
        None => Ok(()),
    }
}

impl OpenWays {
    async fn authorize(&self, credentials: Credentials<'_>, access: Access<'_>) -> Result<Grant, Refusal> {
        let presented = match credentials.authorization {
            Authorization::Absent => Presented::Nothing,
            Authorization::Text(header) if self.silly.is_some() => Presented::read(Some(header)),
            Authorization::Text(header) => Presented::read(Some(header)).or_nothing(),
            Authorization::Unreadable => Presented::Malformed,
        };
        let standing = match presented {
            Presented::Nothing if let Some((names, certificate)) = self.certificate.zip(credentials.certificate) => {
                match names.holder(certificate, unix_time()) {
                    Ok(name) => Ok(self.standing(Some(name), Way::Certificate, None)),
                    Err(problem) => Err(Unproven::Certificate(problem)),
                }
            }
            // Only rules can let somebody in who shows nothing.
            Presented::Nothing if self.policy.load().is_some() => {
                let nobody = self.standing(None, Way::Anonymous, None);
                if nobody.allows(access) { Ok(nobody) } else { Err(self.missing()) }
            }
            Presented::Nothing => Err(self.missing()),
            _ if self.silly.is_some() && credentials.authorization != Authorization::Text("") => {
                // Whoever says anything, as distribution has it.
                Ok(self.standing(Some("silly".into()), Way::Password, None))
            }
            Presented::Basic { user, password } => self.by_password(&user, &password).await?,
            Presented::Bearer(token) => self.by_token(token).await,
            Presented::Malformed => Err(Unproven::Malformed),
        };
        match standing {
            Ok(standing) if standing.allows(access) => match self.wider_for_mount(&standing, access) {
                Some(reason) => Err(self.challenge(reason, access)),
                None => Ok(Grant::of(standing)),
            },
            Ok(standing) => Err(self.not_allowed(&standing, access)),
            Err(reason) => Err(self.challenge(reason, access)),
        }
    }

    /// The token server in this program.
    pub(super) fn token_server(&self) -> Option<&TokenServer> {
        self.token.as_ref()?.server.as_ref()
    }

    /// What the password of `user` hashes to, for users of the file and robots that have not ended.
    pub(super) fn password_hash(&self, user: &str) -> Option<String> {
        self.htpasswd.as_ref()?.hash_of(user)
    }

    pub(super) async fn by_password(&self, user: &str, password: &str) -> Result<Result<Standing, Unproven>, Refusal> {
        let Some(htpasswd) = &self.htpasswd else { return Ok(Err(Unproven::Way("Basic"))) };
        match htpasswd.verify(user, password).await {
            Verdict::Right => Ok(Ok(self.standing(Some(user.into()), Way::Password, None))),
            Verdict::Expired(at) => Ok(Err(Unproven::Expired { robot: user.into(), on: in_words(at) })),
            Verdict::Wrong => Ok(Err(Unproven::Password)),
            Verdict::Busy => Err(Refusal::Busy),
        }
    }

    async fn by_token(&self, token: &str) -> Result<Standing, Unproven> {
        let way = self.token.as_ref().ok_or(Unproven::Way("Bearer"))?;
        let verified = match way.tokens.verify(token) {
            Err(Rejection::KeyUnknown) if way.tokens.renew_keys().await == Renewed::Yes => way.tokens.verify(token),
            verified => verified,
        };
        let verified = verified.map_err(Unproven::Token)?;
        Ok(self.standing(verified.subject, Way::Token, Some(verified.listed)))
    }

    pub(super) fn standing(&self, name: Option<Arc<str>>, way: Way, listed: Option<Arc<AccessList>>) -> Standing {
        Standing { identity: Identity { name, way }, listed, policy: self.policy.load_full() }
    }

    /// A mount that its token does not reach becomes an upload, unless one's own token server gives a wider token for sure:
    /// then the client is asked to fetch that, as distribution asks for it always.
    fn wider_for_mount(&self, standing: &Standing, access: Access<'_>) -> Option<Unproven> {
        let user = standing.name().filter(|_| standing.listed.is_some() && self.token_server().is_some())?;
        if standing.reaches_source(access) || self.password_hash(user).is_none() {
            return None;
        }
        // As the token server would find the user, and as the wider token would then be found.
        let asker = self.standing(Some(user.into()), Way::Password, None);
        let helps = asker.reaches_source(access) && standing.unlisted().reaches_source(access);
        helps.then(|| Unproven::Scope(needed(access)))
    }

    /// What whoever shows nothing is to show.
    fn missing(&self) -> Unproven {
        match (&self.htpasswd, &self.token, &self.silly) {
            (None, None, None) => Unproven::Certificate(CertificateProblem::Absent),
            _ => Unproven::Missing,
        }
    }

    /// Somebody known asks for too much. A token can be exchanged for a wider one; a password cannot.
    fn not_allowed(&self, standing: &Standing, access: Access<'_>) -> Refusal {
        // One's own token server would ask the same rules again, so their no is final for whoever is known.
        let final_no = standing.name().is_some() && self.token_server().is_some() && !standing.is_ruled_in_for(access);
        if standing.lacks_scope(access) && !final_no {
            let needed = needed(access);
            let reason = if standing.name().is_some() { Unproven::Scope(needed) } else { Unproven::Anonymous(needed) };
            return self.challenge(reason, access);
        }
        let place = access.repository().map_or_else(|| "the list of repositories".to_owned(), ToString::to_string);
        let user = standing.name().unwrap_or("nobody").into();
        Refusal::Denied { user, action: access.action(), place, rule: standing.rule_for(access) }
    }

    /// One challenge, because some clients read one only: for tokens where they are taken, unless a password was shown.
    fn challenge(&self, reason: Unproven, access: Access<'_>) -> Refusal {
        let bearer = |realm, service, error| Challenge::Bearer { realm, service, scopes: Scope::needed(access), error };
        let challenge = match (&self.token, &self.htpasswd, &self.silly) {
            (_, Some(htpasswd), _)
                if self.token.is_none() || matches!(reason, Unproven::Password | Unproven::Expired { .. }) =>
            {
                Challenge::Basic { realm: Arc::clone(&htpasswd.realm) }
            }
            (Some(token), ..) => {
                let error = match reason {
                    Unproven::Scope(_) | Unproven::Anonymous(_) => Some("insufficient_scope"),
                    Unproven::Token(_) => Some("invalid_token"),
                    _ => None,
                };
                bearer(token.realm.clone(), Arc::clone(&token.service), error)
            }
            (None, _, Some((realm, service))) => bearer(Realm::Fixed(Arc::clone(realm)), Arc::clone(service), None),
            // HTTP has no challenge for certificates, and one there must be (RFC 9110 §15.5.2).
            (None, _, None) => Challenge::Basic { realm: "registry".into() },
        };
        Refusal::Unauthorized { reason, challenge: Box::new(challenge) }
    }
}

/// The scopes that `access` needs, in words.
fn needed(access: Access<'_>) -> String {
    let scopes: Vec<String> = Scope::needed(access).iter().map(ToString::to_string).collect();
    scopes.join(" ")
}

/// A time for people, RFC 3339.
fn in_words(unix_time: i64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(unix_time).ok();
    time.and_then(|time| time.format(&time::format_description::well_known::Rfc3339).ok()).unwrap_or_default()
}
