//! What the token server issues and refuses, at times that the tests choose.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::auth::htpasswd::TEST_COST;
use crate::auth::token::unverified;
use crate::auth::{
    Action, Authenticator, Config, HtpasswdConfig, PasswordHash, RealmConfig, Robot, Rule, RulesConfig,
    SigningAlgorithm, Unproven, Ways, Who,
};

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 24 * 60 * 60;

struct World {
    directory: tempfile::TempDir,
    config: Ways,
}

impl World {
    /// A registry whose users are alice (wonderland) and bob (builder).
    fn new(rules: Option<Vec<Rule>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("htpasswd");
        let line = |user, password| format!("{user}:{}\n", bcrypt::hash(password, TEST_COST).unwrap());
        std::fs::write(&path, line("alice", "wonderland") + &line("bob", "builder")).unwrap();
        let token = TokenConfig {
            realm: RealmConfig::Own("/auth/token".to_owned()),
            service: "service".to_owned(),
            issuer: "issuer".to_owned(),
            root_cert_bundle: None,
            jwks: None,
            algorithms: SigningAlgorithm::ALL.map(|(_, algorithm)| algorithm).to_vec(),
            server: Some(TokenServerConfig {
                key: directory.path().join("key.pem"),
                path: "/auth/token".to_owned(),
                expiration: Duration::from_mins(5),
                refresh_expiration: Duration::from_hours(24),
            }),
        };
        let htpasswd = Some(HtpasswdConfig { realm: "r".to_owned(), path });
        let rules = rules.map(|rules| RulesConfig { rules, ..RulesConfig::default() });
        Self { directory, config: Ways { htpasswd, token: Some(token), rules, ..Ways::default() } }
    }

    fn open(&self) -> Authenticator {
        Authenticator::open(Config::Closed(Box::new(self.config.clone()))).unwrap()
    }

    fn key(&self) -> PathBuf {
        self.directory.path().join("key.pem")
    }
}

fn rule(who: Who, repositories: &str, actions: &[Action]) -> Rule {
    Rule { who: vec![who], repositories: vec![repositories.to_owned()], actions: actions.to_vec() }
}

fn request<'a>(proof: TokenProof<'a>, scopes: &str) -> TokenRequest<'a> {
    let scopes = Scope::parse_list(scopes).unwrap();
    TokenRequest { proof, service: Some("service"), scopes, offline: Offline::Wanted, address: None }
}

fn alice<'a>() -> TokenProof<'a> {
    TokenProof::Password { user: "alice", password: "wonderland" }
}

const NOBODY: TokenProof<'_> = TokenProof::Authorization(Authorization::Absent);

async fn issue(registry: &Authenticator, request: TokenRequest<'_>, now: i64) -> Result<IssuedToken, TokenRefusal> {
    registry.token_issuer().unwrap().issue_at(request, now).await
}

/// What a token lists, as scopes.
fn listed(issued: &IssuedToken) -> String {
    let (_, claims) = unverified(&issued.token);
    let words = |value: &Value| value.as_str().unwrap().to_owned();
    let entry = |entry: &Value| {
        let actions: Vec<String> = entry["actions"].as_array().unwrap().iter().map(words).collect();
        format!("{}:{}:{}", words(&entry["type"]), words(&entry["name"]), actions.join(","))
    };
    claims["access"].as_array().unwrap().iter().map(entry).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_token_lists_what_is_asked_for_and_allowed() {
    let world = World::new(Some(vec![
        rule(Who::User("bob".to_owned()), "secret/**", &[]),
        rule(Who::Everybody, "public/**", &[Action::Pull]),
        rule(Who::User("alice".to_owned()), "drop/*", &[Action::Push]),
        rule(Who::Authenticated, "$user/**", &Action::ALL),
        rule(Who::User("bob".to_owned()), "**", &[Action::Pull, Action::Push]),
    ]));
    let registry = world.open();
    let bob = TokenProof::Password { user: "bob", password: "builder" };
    let cases = [
        (NOBODY, "repository:public/a:pull,push", "repository:public/a:pull"),
        (NOBODY, "repository:alice/a:pull registry:catalog:*", ""),
        (NOBODY, "", ""),
        (alice(), "repository:public/a:pull,push", "repository:public/a:pull"),
        (alice(), "repository:alice/a:push,pull,delete", "repository:alice/a:pull,push,delete"),
        (alice(), "repository:alice/a:*", "repository:alice/a:pull,push,delete"),
        (alice(), "repository:alice/a:pull repository:bob/a:pull", "repository:alice/a:pull"),
        (alice(), "repository:alice/a:fly,pull", "repository:alice/a:pull"),
        (alice(), "repository(plugin):alice/a:pull", "repository:alice/a:pull"),
        // Clients that push ask for both, and a push is accepted with both only.
        (alice(), "repository:drop/a:pull,push", "repository:drop/a:pull,push"),
        (alice(), "repository:drop/a:pull", ""),
        (alice(), "repository:Alice/A:pull unknown:alice/a:pull repository:alice/../bob:pull", ""),
        (alice(), "registry:catalog:* registry:other:*", "registry:catalog:*"),
        (alice(), "registry:catalog:pull", ""),
        (bob, "repository:secret/a:* repository:x:*", "repository:x:pull,push"),
    ];
    for (proof, asked, expected) in cases {
        let issued = issue(&registry, request(proof, asked), NOW).await.unwrap();
        assert_eq!(listed(&issued), expected, "{proof:?} {asked}");
    }
}

#[tokio::test]
async fn without_rules_users_may_do_everything_and_nobody_else_anything() {
    let world = World::new(None);
    let registry = world.open();
    let asked = "repository:a:pull,push,delete registry:catalog:*";
    assert_eq!(listed(&issue(&registry, request(alice(), asked), NOW).await.unwrap()), asked);
    let nobodys = issue(&registry, request(NOBODY, asked), NOW).await.unwrap();
    assert_eq!(listed(&nobodys), "");
    assert!(nobodys.refresh_token.is_none(), "nobody has nothing to come back with");
}

#[tokio::test]
async fn what_is_wrong_gets_no_token() {
    let world = World::new(None);
    let registry = world.open();
    let refused = |reason| move |refusal: TokenRefusal| matches!(refusal, TokenRefusal::Refused(Refusal::Unauthorized { reason: found, .. }) if found == reason);
    let password = |user, password| TokenProof::Password { user, password };
    let long = "a".repeat(5000);
    for proof in [
        password("alice", "wonder"),
        password("carol", "wonderland"),
        password("", ""),
        password("alice", ""),
        password("alice", "wonderland\0"),
        password(&long, "wonderland"),
    ] {
        let refusal = issue(&registry, request(proof, ""), NOW).await.err().unwrap();
        assert!(refused(Unproven::Password)(refusal));
    }
    for header in ["Basic !", "", "Digest x"] {
        let proof = TokenProof::Authorization(Authorization::Text(header));
        let refusal = issue(&registry, request(proof, ""), NOW).await.err().unwrap();
        assert!(refused(Unproven::Malformed)(refusal), "{header}");
    }
    let service = TokenRequest { service: Some("other"), ..request(alice(), "") };
    assert!(matches!(issue(&registry, service, NOW).await, Err(TokenRefusal::Service { .. })));
    let service = TokenRequest { service: None, ..request(alice(), "") };
    assert!(issue(&registry, service, NOW).await.is_ok());
}

#[tokio::test]
async fn a_refresh_token_is_good_until_it_expires_or_the_password_changes() {
    let world = World::new(None);
    let registry = world.open();
    let first = issue(&registry, request(alice(), "repository:a:pull"), NOW).await.unwrap();
    let refresh = first.refresh_token.clone().unwrap();
    let again = |token: &str, now| {
        let (registry, token) = (&registry, token.to_owned());
        async move { issue(registry, request(TokenProof::RefreshToken(&token), "repository:b:push"), now).await }
    };
    let rejection = |issued: Result<IssuedToken, TokenRefusal>| match issued {
        Err(TokenRefusal::Refused(Refusal::Unauthorized { reason: Unproven::Token(rejection), .. })) => rejection,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("a token was issued"),
    };
    let second = again(&refresh, NOW + DAY).await.unwrap();
    assert_eq!(listed(&second), "repository:b:push");
    assert_eq!(unverified(&second.token).1["sub"], "alice");
    assert_eq!(second.refresh_token.as_deref(), Some(&*refresh), "it is not prolonged by being used");
    assert_eq!(rejection(again(&refresh, NOW + DAY + 1).await), Rejection::Expired);
    // The two kinds cannot stand in for each other.
    assert_eq!(rejection(again(&first.token, NOW).await), Rejection::Audience);
    let tokens = crate::auth::token::Tokens::open(
        world.config.token.as_ref().unwrap(),
        Some(Arc::new(SigningKey::open(&world.key()).unwrap())),
    );
    assert_eq!(tokens.unwrap().verify(&refresh).unwrap_err(), Rejection::Audience);
    let (tampered, _) = refresh.rsplit_once('.').unwrap();
    let (_, signature) = first.token.rsplit_once('.').unwrap();
    assert_eq!(rejection(again(&format!("{tampered}.{signature}"), NOW).await), Rejection::Signature);
    assert_eq!(rejection(again("a.b.c", NOW).await), Rejection::Malformed);
    // Another registry with another key.
    let stranger = World::new(None).open();
    let foreign = issue(&stranger, request(alice(), ""), NOW).await.unwrap().refresh_token.unwrap();
    assert_eq!(rejection(again(&foreign, NOW).await), Rejection::KeyUnknown);

    // A replica, or this one later, with the same key and a changed file of users.
    let users = world.directory.path().join("htpasswd");
    let kept = std::fs::read_to_string(&users).unwrap();
    let changed = format!("alice:{}\n", bcrypt::hash("wonderland", TEST_COST).unwrap());
    for content in [changed, "bob:x\n".to_owned(), String::new()] {
        std::fs::write(&users, content).unwrap();
        let later = issue(&world.open(), request(TokenProof::RefreshToken(&refresh), ""), NOW).await;
        assert_eq!(rejection(later), Rejection::Outdated);
    }
    std::fs::write(&users, kept).unwrap();
    assert!(issue(&world.open(), request(TokenProof::RefreshToken(&refresh), ""), NOW).await.is_ok());
}

#[tokio::test]
async fn a_robot_gets_tokens_until_its_end() {
    let hash = PasswordHash::parse(&bcrypt::hash("oil", TEST_COST).unwrap()).unwrap();
    let robot = |expires| Some(vec![Robot { name: "robot".to_owned(), hash: hash.clone(), expires }]);
    let mut world = World::new(None);
    let password = TokenProof::Password { user: "robot", password: "oil" };
    world.config.robots = robot(i64::MAX);
    let issued = issue(&world.open(), request(password, "repository:a:pull"), NOW).await.unwrap();
    assert_eq!(listed(&issued), "repository:a:pull");
    world.config.robots = robot(1);
    let ended = world.open();
    let refresh_token = issued.refresh_token.unwrap();
    for proof in [password, TokenProof::RefreshToken(&refresh_token)] {
        let refusal = issue(&ended, request(proof, ""), NOW).await.err().unwrap();
        let TokenRefusal::Refused(Refusal::Unauthorized { reason, .. }) = refusal else { panic!("{refusal}") };
        let expected = matches!(reason, Unproven::Expired { .. } | Unproven::Token(Rejection::Outdated));
        assert!(expected, "{proof:?}: {reason}");
    }
}

#[tokio::test]
async fn refresh_tokens_are_given_to_those_who_want_them_where_there_are_any() {
    let mut world = World::new(None);
    let unwanted = TokenRequest { offline: Offline::Unwanted, ..request(alice(), "") };
    assert!(issue(&world.open(), unwanted, NOW).await.unwrap().refresh_token.is_none());
    world.config.token.as_mut().unwrap().server.as_mut().unwrap().refresh_expiration = Duration::ZERO;
    assert!(issue(&world.open(), request(alice(), ""), NOW).await.unwrap().refresh_token.is_none());
}

#[tokio::test]
async fn an_rsa_key_signs_too_and_must_be_an_algorithm_that_is_taken() {
    let mut world = World::new(None);
    std::fs::write(world.key(), crate::auth::token::new_rsa_key()).unwrap();
    let issued = issue(&world.open(), request(alice(), ""), NOW).await.unwrap();
    assert_eq!(unverified(&issued.token).0["alg"], "RS256");
    world.config.token.as_mut().unwrap().algorithms = vec![SigningAlgorithm::ES256];
    let error = Authenticator::open(Config::Closed(Box::new(world.config.clone()))).unwrap_err().to_string();
    assert!(error.contains("RS256") && error.contains("signingalgorithms"), "{error}");
}

#[test]
fn checking_a_configuration_makes_no_key() {
    let world = World::new(None);
    crate::auth::check(&Config::Closed(Box::new(world.config.clone()))).unwrap();
    assert!(!world.key().exists());
    std::fs::write(world.key(), "no key").unwrap();
    assert!(crate::auth::check(&Config::Closed(Box::new(world.config.clone()))).is_err());
}

#[test]
fn what_is_minted_by_hand_is_taken_and_told_why_not() {
    let world = World::new(None);
    let config = Config::Closed(Box::new(world.config.clone()));
    let mut order = Mint {
        key: world.key(),
        issuer: "issuer".to_owned(),
        service: "service".to_owned(),
        subject: "ci".to_owned(),
        scopes: Scope::parse_list("repository:a/b:pull,push").unwrap(),
        expiration: 3600,
    };
    assert!(matches!(mint(&order), Err(MintError::Read { .. })), "a key is not made in passing");
    drop(world.open());
    let token = mint(&order).unwrap();
    let seen = inspect(&config, &token).unwrap();
    assert_eq!(seen.verdict, Some(Ok(())));
    assert_eq!(seen.claims["sub"], "ci");
    assert_eq!(seen.header["kid"].as_str(), Some(SigningKey::open(&world.key()).unwrap().current().id()));
    order.service = "elsewhere".to_owned();
    let elsewhere = inspect(&config, &mint(&order).unwrap()).unwrap();
    assert_eq!(elsewhere.verdict, Some(Err(Rejection::Audience)));
    let nonsense = inspect(&config, "nonsense").unwrap();
    assert_eq!((nonsense.header, nonsense.verdict), (Value::Null, Some(Err(Rejection::Malformed))));
    assert_eq!(inspect(&Config::Open, &token).unwrap().verdict, None);
}
