//! The token server's requests: GET with its words in the query and Basic or nothing, and POST with a form, as
//! distribution's token documentation and RFC 6749 have them. The only route outside `/v2/`.
//!
//! Nothing of an answer may be stored, and no word that is secret is said back.

use std::borrow::Cow;
use std::net::IpAddr;

use axum::body::Body;
use http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Response};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::auth::{
    Authorization, IssuedToken, Offline, Refusal, Scope, TokenIssuer, TokenProof, TokenRefusal, TokenRequest,
};
use crate::telemetry::Handler;

use super::body::RequestBody;
use super::query::Query;
use super::{Error, answer};

/// Largest form, in bytes.
const LARGEST_FORM: usize = 64 * 1024;

/// The methods that mean something here, for `Allow`.
const METHODS: &str = "GET, HEAD, OPTIONS, POST";

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// A request for a token, as far as line and headers tell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) query: Query<'a>,
    pub(super) authorization: Authorization<'a>,
    pub(super) address: Option<IpAddr>,
}

/// Whether `path`, below the prefix, is where `issuer` answers. Distribution's documentation ends it with a slash, its
/// code does not.
pub(super) fn serves(issuer: TokenIssuer<'_>, path: &str) -> bool {
    path.strip_suffix('/').unwrap_or(path) == issuer.path().trim_matches('/')
}

/// Answers a request for a token.
pub(super) async fn answer(issuer: TokenIssuer<'_>, asked: Asked<'_>, body: &mut RequestBody) -> Response<Body> {
    let result = match *asked.method {
        Method::GET | Method::HEAD => by_query(issuer, asked).await,
        Method::POST => by_form(issuer, asked.address, body).await,
        Method::OPTIONS => return finished(answer::options(METHODS)),
        _ => Err(Error::MethodUnknown { allow: METHODS }),
    };
    finished(match result {
        Ok(token) => answer::json(document(&token)),
        Err(error) => refusal(&error),
    })
}

fn finished(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response.extensions_mut().insert(Handler::Token);
    response
}

async fn by_query(issuer: TokenIssuer<'_>, asked: Asked<'_>) -> Result<IssuedToken, Error> {
    let words = Words::read(asked.query)?;
    let request = words.request(TokenProof::Authorization(asked.authorization), asked.address);
    issuer.issue(request).await.map_err(Error::TokenRefused)
}

async fn by_form(
    issuer: TokenIssuer<'_>,
    address: Option<IpAddr>,
    body: &mut RequestBody,
) -> Result<IssuedToken, Error> {
    let form = body.read_form(LARGEST_FORM).await?;
    let form = Query::new(Some(std::str::from_utf8(&form).map_err(|_| Error::FormNotText)?));
    let words = Words::read(form)?;
    let word = |name| form.value(name).ok_or(Error::FormWordMissing(name));
    let (first, second);
    let proof = match &*word("grant_type")? {
        "password" => {
            // A password may be empty, as in Basic.
            (first, second) = (word("username")?, form.values("password").next());
            let password = second.as_deref().ok_or(Error::FormWordMissing("password"))?;
            TokenProof::Password { user: &first, password }
        }
        "refresh_token" => {
            first = word("refresh_token")?;
            TokenProof::RefreshToken(&first)
        }
        _ => return Err(Error::GrantTypeUnknown),
    };
    issuer.issue(words.request(proof, address)).await.map_err(Error::TokenRefused)
}

/// What a query and a form have in common. `account` and `client_id` are for logs of other servers and change nothing.
#[derive(Debug)]
struct Words<'a> {
    service: Option<Cow<'a, str>>,
    scopes: Vec<Scope>,
    offline: Offline,
}

impl<'a> Words<'a> {
    fn read(words: Query<'a>) -> Result<Self, Error> {
        let scopes: Vec<Cow<'_, str>> = words.values("scope").collect();
        let says = |name, wanted| words.value(name).is_some_and(|value| value == wanted);
        let offline = says("offline_token", "true") || says("access_type", "offline");
        Ok(Self {
            service: words.value("service"),
            scopes: Scope::parse_list(&scopes.join(" ")).map_err(Error::Scope)?,
            offline: if offline { Offline::Wanted } else { Offline::Unwanted },
        })
    }

    fn request<'r>(&'r self, proof: TokenProof<'r>, address: Option<IpAddr>) -> TokenRequest<'r> {
        let Self { service, scopes, offline } = self;
        TokenRequest { proof, service: service.as_deref(), scopes: scopes.clone(), offline: *offline, address }
    }
}

/// The answer's document: `token` for those who follow distribution, `access_token` for those who follow RFC 6749.
fn document(issued: &IssuedToken) -> Vec<u8> {
    let at = OffsetDateTime::from_unix_timestamp(issued.issued_at).ok();
    let scopes: Vec<String> = issued.scopes.iter().map(ToString::to_string).collect();
    let mut document = json!({
        "token": issued.token,
        "access_token": issued.token,
        "token_type": "Bearer",
        "expires_in": issued.expires_in,
        "issued_at": at.and_then(|at| at.format(&Rfc3339).ok()),
        "scope": scopes.join(" "),
    });
    if let (Some(refresh), Some(document)) = (&issued.refresh_token, document.as_object_mut()) {
        document.insert("refresh_token".to_owned(), json!(refresh));
    }
    document.to_string().into_bytes()
}

fn refusal(error: &Error) -> Response<Body> {
    let mut response = answer::failure(error);
    match error {
        Error::TokenRefused(TokenRefusal::Refused(Refusal::Unauthorized { challenge, .. })) => {
            answer::set(response.headers_mut(), WWW_AUTHENTICATE, challenge.header(None));
        }
        _ if response.status().is_server_error() => tracing::error!(%error, "no token could be issued"),
        _ => {}
    }
    response
}
