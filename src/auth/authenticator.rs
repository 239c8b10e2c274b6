//! The one question that is asked of every request.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::oci::RepositoryName;

use super::access::{Access, Action, Grant};
use super::authorization::Presented;
use super::challenge::{Challenge, Realm, Refusal, Unproven};
use super::htpasswd::{Htpasswd, Verdict};
use super::identity::{Identity, Standing, Way};
use super::policy::{Allowed, Decision, Policy};
use super::token::{AccessList, Tokens};
use super::{Config, Error, RealmConfig, Scope, Ways};

/// Decides who may do what, by the configured ways of proving who one is. The default lets everybody do everything.
#[derive(Debug, Default)]
pub struct Authenticator {
    ways: Option<OpenWays>,
}

#[derive(Debug)]
struct OpenWays {
    silly: Option<(Arc<str>, Arc<str>)>,
    htpasswd: Option<Htpasswd>,
    token: Option<TokenWay>,
    /// Changes while requests are served.
    policy: ArcSwapOption<Policy>,
}

#[derive(Debug)]
struct TokenWay {
    realm: Realm,
    service: Arc<str>,
    tokens: Tokens,
}

/// What a request brings along to prove whose it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// What `Authorization` says.
    pub authorization: Authorization<'a>,
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
    /// Its rules are in force.
    Rules,
    /// There were no rules and there are none.
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
        let Ways { silly, htpasswd, token, rules } = *ways;
        let token = token
            .map(|token| {
                let tokens = Tokens::open(&token)?;
                let realm = match token.realm {
                    RealmConfig::Fixed(address) => Realm::Fixed(address.into()),
                    RealmConfig::Here(path) => Realm::Here { path: path.into() },
                };
                Ok(TokenWay { realm, service: token.service.into(), tokens })
            })
            .transpose()?;
        let htpasswd = htpasswd.map(Htpasswd::open).transpose()?;
        let silly = silly.map(|silly| (silly.realm.into(), silly.service.into()));
        let policy = ArcSwapOption::from(rules.map(|rules| Arc::new(Policy::new(&rules))));
        Ok(Self { ways: Some(OpenWays { silly, htpasswd, token, policy }) })
    }

    /// Takes over the access rules of `config`, and nothing else of it: from the next request on they are in force.
    /// Rules in force are never replaced by none, so that a file read half written opens nothing: that needs a restart,
    /// and so does a change between open and closed.
    pub fn adopt_rules(&self, config: &Config) -> Adopted {
        match (&self.ways, config) {
            (Some(ways), Config::Closed(new)) => match &new.rules {
                Some(rules) => {
                    ways.policy.store(Some(Arc::new(Policy::new(rules))));
                    Adopted::Rules
                }
                None if ways.policy.load().is_none() => Adopted::Nothing,
                None => Adopted::Kept,
            },
            (None, Config::Open) => Adopted::Nothing,
            _ => Adopted::Kept,
        }
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
        Err(refusal) => {
            let user = if let Refusal::Denied { user, .. } = refusal { Some(&**user) } else { None };
            tracing::info!(target: "berth::audit", user, action, repository, address, reason = %refusal, "refused");
        }
        Ok(grant) if access.changes() => {
            tracing::info!(target: "berth::audit", user = grant.user(), action, repository, address, "allowed");
        }
        Ok(_) => {}
    }
}

/// What the rules of `config` say about a user, or about whoever shows nothing, in `repository`.
#[must_use]
pub fn explain(config: &Config, user: Option<&str>, repository: &RepositoryName) -> Vec<(Action, Decision)> {
    let policy = match config {
        Config::Open => None,
        Config::Closed(ways) => ways.rules.as_ref().map(Policy::new),
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
    Action::ALL.into_iter().map(|action| (action, decide(action))).collect()
}

/// Reads what `config` names and changes nothing: an htpasswd file that is yet to be made is no error.
///
/// # Errors
/// As [`Authenticator::open`].
pub fn check(config: &Config) -> Result<(), Error> {
    let Config::Closed(ways) = config else { return Ok(()) };
    let mut ways = ways.clone();
    ways.htpasswd = ways.htpasswd.filter(|htpasswd| htpasswd.path.exists());
    Authenticator::open(Config::Closed(ways)).map(|_| ())
}

impl OpenWays {
    async fn authorize(&self, credentials: Credentials<'_>, access: Access<'_>) -> Result<Grant, Refusal> {
        let presented = match credentials.authorization {
            Authorization::Absent => Presented::Nothing,
            Authorization::Text(header) => Presented::read(Some(header)),
            Authorization::Unreadable => Presented::Malformed,
        };
        let standing = match presented {
            // Only rules can let somebody in who shows nothing.
            Presented::Nothing if self.policy.load().is_some() => {
                let nobody = self.standing(None, Way::Anonymous, None);
                if nobody.allows(access) { Ok(nobody) } else { Err(Unproven::Missing) }
            }
            Presented::Nothing => Err(Unproven::Missing),
            _ if self.silly.is_some() && credentials.authorization != Authorization::Text("") => {
                // Whoever says anything, as distribution has it.
                Ok(self.standing(Some("silly".into()), Way::Password, None))
            }
            Presented::Basic { user, password } => self.by_password(&user, &password).await?,
            Presented::Bearer(token) => self.by_token(token),
            Presented::Malformed => Err(Unproven::Malformed),
        };
        match standing {
            Ok(standing) if standing.allows(access) => Ok(Grant::of(standing)),
            Ok(standing) => Err(self.not_allowed(&standing, access)),
            Err(reason) => Err(self.challenge(reason, access)),
        }
    }

    async fn by_password(&self, user: &str, password: &str) -> Result<Result<Standing, Unproven>, Refusal> {
        let Some(htpasswd) = &self.htpasswd else { return Ok(Err(Unproven::Way("Basic"))) };
        match htpasswd.verify(user, password).await {
            Verdict::Right => Ok(Ok(self.standing(Some(user.into()), Way::Password, None))),
            Verdict::Wrong => Ok(Err(Unproven::Password)),
            Verdict::Busy => Err(Refusal::Busy),
        }
    }

    fn by_token(&self, token: &str) -> Result<Standing, Unproven> {
        let way = self.token.as_ref().ok_or(Unproven::Way("Bearer"))?;
        let verified = way.tokens.verify(token).map_err(Unproven::Token)?;
        Ok(self.standing(verified.subject, Way::Token, Some(verified.listed)))
    }

    fn standing(&self, name: Option<Arc<str>>, way: Way, listed: Option<Arc<AccessList>>) -> Standing {
        Standing { identity: Identity { name, way }, listed, policy: self.policy.load_full() }
    }

    /// Somebody known asks for too much. A token can be exchanged for a wider one; a password cannot.
    fn not_allowed(&self, standing: &Standing, access: Access<'_>) -> Refusal {
        if standing.lacks_scope(access) {
            let needed: Vec<String> = Scope::needed(access).iter().map(ToString::to_string).collect();
            return self.challenge(Unproven::Scope(needed.join(" ")), access);
        }
        let place = access.repository().map_or_else(|| "the list of repositories".to_owned(), ToString::to_string);
        Refusal::Denied { user: standing.name().unwrap_or("nobody").into(), action: access.action(), place }
    }

    /// One challenge, because some clients read one only: for tokens where they are taken, unless a password was shown.
    fn challenge(&self, reason: Unproven, access: Access<'_>) -> Refusal {
        let bearer = |realm, service, error| Challenge::Bearer { realm, service, scopes: Scope::needed(access), error };
        let challenge = match (&self.token, &self.htpasswd, &self.silly) {
            (_, Some(htpasswd), _) if reason == Unproven::Password || self.token.is_none() => {
                Challenge::Basic { realm: Arc::clone(&htpasswd.realm) }
            }
            (Some(token), ..) => {
                let error = match reason {
                    Unproven::Scope(_) => Some("insufficient_scope"),
                    Unproven::Token(_) => Some("invalid_token"),
                    _ => None,
                };
                bearer(token.realm.clone(), Arc::clone(&token.service), error)
            }
            (None, _, Some((realm, service))) => bearer(Realm::Fixed(Arc::clone(realm)), Arc::clone(service), None),
            (None, _, None) => Challenge::Basic { realm: "registry".into() },
        };
        Refusal::Unauthorized { reason, challenge: Box::new(challenge) }
    }
}
