//! One request for a token: who asks, what of it they may do, the answer.

use std::net::IpAddr;
use std::sync::Arc;

use crate::oci::RepositoryName;

use super::{IssuedToken, Offline, TokenProof, TokenRefusal, TokenRequest, TokenServer};
use crate::auth::authenticator::{Authenticator, OpenWays};
use crate::auth::authorization::{Presented, fits};
use crate::auth::identity::{Standing, Way};
use crate::auth::token::SigningFailed;
use crate::auth::{Access, Action, Authorization, Challenge, Refusal, Scope, Unproven, unix_time};

/// Longest name of another service that is said back.
const LONGEST_SAID: usize = 80;

/// The token server of an [`Authenticator`] that has one.
#[derive(Debug, Clone, Copy)]
pub struct TokenIssuer<'a> {
    ways: &'a OpenWays,
    server: &'a TokenServer,
}

/// Who has been found to ask.
struct Asker {
    standing: Standing,
    /// What comes back where a refresh token is wanted: the one that was shown, or one for who has a password.
    refresh: Refresh,
}

enum Refresh {
    None,
    /// The hash that a new one is bound to.
    New(String),
    Same(String),
}

impl Authenticator {
    /// The token server, where one is configured.
    #[must_use]
    pub fn token_issuer(&self) -> Option<TokenIssuer<'_>> {
        let ways = self.ways()?;
        Some(TokenIssuer { ways, server: ways.token_server()? })
    }
}

impl TokenIssuer<'_> {
    /// Where it is asked: an absolute path below the registry's prefix.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.server.path
    }

    /// Issues a token that lists what `request` asks for as far as the asker may have it, which can be nothing.
    ///
    /// # Errors
    /// [`TokenRefusal`]; each refusal is told to the audit log.
    pub async fn issue(&self, request: TokenRequest<'_>) -> Result<IssuedToken, TokenRefusal> {
        let address = request.address;
        let issued = self.issue_at(request, unix_time()).await;
        if let Err(reason) = &issued {
            audit(reason, address);
        }
        issued
    }

    pub(super) async fn issue_at(&self, request: TokenRequest<'_>, now: i64) -> Result<IssuedToken, TokenRefusal> {
        let known = &self.server.service;
        if let Some(asked) = request.service.filter(|asked| *asked != &**known) {
            let asked = asked.chars().take(LONGEST_SAID).collect();
            return Err(TokenRefusal::Service { asked, known: Arc::clone(known) });
        }
        let Asker { standing, refresh } = self.asker(request.proof, now).await.map_err(TokenRefusal::Refused)?;
        let scopes = granted(&standing, &request.scopes);
        let subject = standing.name().unwrap_or_default();
        let sign = || {
            let token = self.server.access_token(subject, &scopes, now)?;
            let refresh_token = match (request.offline, refresh) {
                (Offline::Wanted, Refresh::New(hash)) => self.server.refresh_token(subject, &hash, now)?,
                (Offline::Wanted, Refresh::Same(token)) => Some(token),
                _ => None,
            };
            Ok((token, refresh_token))
        };
        let (token, refresh_token) = sign().map_err(|failed: SigningFailed| TokenRefusal::Failed(failed))?;
        Ok(IssuedToken { token, expires_in: self.server.expiration, issued_at: now, scopes, refresh_token })
    }

    async fn asker(&self, proof: TokenProof<'_>, now: i64) -> Result<Asker, Refusal> {
        match proof {
            TokenProof::Authorization(Authorization::Absent) => Ok(self.nobody()),
            TokenProof::Authorization(Authorization::Unreadable) => Err(self.unproven(Unproven::Malformed)),
            TokenProof::Authorization(Authorization::Text(header)) => {
                match Presented::read(Some(header)).or_nothing() {
                    Presented::Nothing => Ok(self.nobody()),
                    Presented::Basic { user, password } => self.by_password(&user, &password).await,
                    Presented::Bearer(_) => Err(self.unproven(Unproven::Way("Bearer"))),
                    Presented::Malformed => Err(self.unproven(Unproven::Malformed)),
                }
            }
            TokenProof::Password { user, password } if fits(user, password) => self.by_password(user, password).await,
            TokenProof::Password { .. } => Err(self.unproven(Unproven::Password)),
            TokenProof::RefreshToken(token) => {
                let user = self.server.refreshed(token, now, |user| self.ways.password_hash(user));
                let user = user.map_err(|rejection| self.unproven(Unproven::Token(rejection)))?;
                let standing = self.ways.standing(Some(user.into()), Way::Password, None);
                Ok(Asker { standing, refresh: Refresh::Same(token.to_owned()) })
            }
        }
    }

    fn nobody(&self) -> Asker {
        Asker { standing: self.ways.standing(None, Way::Anonymous, None), refresh: Refresh::None }
    }

    async fn by_password(&self, user: &str, password: &str) -> Result<Asker, Refusal> {
        // A token without a subject is for nobody in particular, so nobody can be called so.
        if user.is_empty() {
            return Err(self.unproven(Unproven::Password));
        }
        // Before the password is looked at, so that a refresh token is never bound to a newer one.
        let refresh = self.ways.password_hash(user).map_or(Refresh::None, Refresh::New);
        let standing = self.ways.by_password(user, password).await?.map_err(|reason| self.unproven(reason))?;
        Ok(Asker { standing, refresh })
    }

    fn unproven(&self, reason: Unproven) -> Refusal {
        let challenge = Box::new(Challenge::Basic { realm: Arc::clone(&self.server.service) });
        Refusal::Unauthorized { reason, challenge }
    }
}

/// What of `asked` a token for `standing` may list. Nobody in particular gets only what rules let everybody do.
fn granted(standing: &Standing, asked: &[Scope]) -> Vec<Scope> {
    if standing.identity.way == Way::Anonymous && standing.is_unlimited() {
        return Vec::new();
    }
    asked.iter().filter_map(|scope| granted_of(standing, scope)).collect()
}

fn granted_of(standing: &Standing, scope: &Scope) -> Option<Scope> {
    let asks = |word: &str| scope.actions.iter().any(|action| action == word || action == "*");
    let actions: Vec<&str> = match scope.kind.as_str() {
        "repository" => {
            let name: RepositoryName = scope.name.parse().ok()?;
            let may = |action: Action| asks(action.as_str()) && standing.may(name.as_str(), action);
            // Pushing takes the word pull too; where the rules allow pushing alone they refuse the pull when it comes.
            let pull = may(Action::Pull) || asks("pull") && may(Action::Push);
            let words = [(pull, "pull"), (may(Action::Push), "push"), (may(Action::Delete), "delete")];
            words.into_iter().filter_map(|(granted, word)| granted.then_some(word)).collect()
        }
        "registry" if scope.name == "catalog" && asks("*") && standing.allows(Access::Catalog) => vec!["*"],
        // Ours: to mount blobs from wherever they lie.
        "registry" if scope.name == "content" && asks("pull") && standing.may_pull_everything() => vec!["pull"],
        _ => return None,
    };
    let actions: Vec<String> = actions.into_iter().map(str::to_owned).collect();
    (!actions.is_empty()).then(|| Scope { kind: scope.kind.clone(), class: None, name: scope.name.clone(), actions })
}

fn audit(reason: &TokenRefusal, address: Option<IpAddr>) {
    let address = address.map(tracing::field::display);
    tracing::info!(target: "berth::audit", action = "token", address, %reason, "refused");
}
