//! Access rules as people write them, in `config.yml`: what they do to pulls, mounts, the catalog and referrers, and how
//! they change while the registry serves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod process;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use berth::auth::{Adopted, Authenticator};
use berth::config::{Config, Source};
use http::{Method, StatusCode};
use support::{Answer, Berth, Driver, OCI_MANIFEST, image, to};

pub(crate) const RULES: &str = "
  groups:
    team: [alice, bob]
  access:
    - {who: ['user:bob'], repositories: ['team/secret/**'], actions: []}
    - {who: ['group:team'], repositories: ['team/**'], actions: ['*']}
    - {who: [everybody], repositories: ['public/**'], actions: [pull]}
    - {who: [authenticated], repositories: ['$user/**'], actions: [pull, push]}
";

/// Writes an htpasswd file for alice, bob and carol, whose passwords are their names, and a configuration with `rules`.
pub(crate) fn write(directory: &Path, rules: &str) -> std::path::PathBuf {
    let htpasswd = directory.join("htpasswd");
    if !htpasswd.exists() {
        let line = |user: &str| format!("{user}:{}\n", bcrypt::hash(user, 4).unwrap());
        std::fs::write(&htpasswd, ["alice", "bob", "carol"].map(line).concat()).unwrap();
    }
    let config = directory.join("config.yml");
    let text = format!(
        "version: 0.1\nhttp: {{addr: '127.0.0.1:0', secret: not-a-secret}}\nstorage: {{inmemory: {{}}}}\n\
         log: {{level: info}}\nauth:\n  htpasswd: {{realm: registry, path: {}}}\n{rules}",
        htpasswd.display()
    );
    // In its place at once, as editors and Kubernetes do it.
    let beside = directory.join("config.new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, &config).unwrap();
    config
}

fn auth_of(config: &Path) -> berth::auth::Config {
    Config::load(Source::File(config.to_owned()), []).unwrap_or_else(|error| panic!("{error}")).config.auth
}

/// A registry under rules, and the same content in the open for making it.
struct House {
    directory: tempfile::TempDir,
    authenticator: Arc<Authenticator>,
    open: Berth,
    guarded: Berth,
}

fn house(rules: &str) -> House {
    let directory = tempfile::tempdir().unwrap();
    let authenticator = Arc::new(Authenticator::open(auth_of(&write(directory.path(), rules))).unwrap());
    let open = Berth::new(Driver::Memory);
    let guarded = open.guarded_by(&authenticator);
    House { directory, authenticator, open, guarded }
}

impl House {
    /// `user`'s request; an empty name shows no credentials.
    async fn ask(&self, user: &str, method: Method, target: &str) -> Answer {
        let mut request = to(method, target);
        if !user.is_empty() {
            request = request.header("authorization", basic(user));
        }
        self.guarded.send(request.body(Body::empty()).unwrap()).await
    }

    async fn status(&self, user: &str, method: Method, target: &str) -> u16 {
        self.ask(user, method, target).await.status.as_u16()
    }

    fn adopt(&self, rules: &str) -> Adopted {
        self.authenticator.adopt_rules(&auth_of(&write(self.directory.path(), rules))).unwrap()
    }
}

pub(crate) fn basic(user: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{user}")))
}

#[tokio::test]
async fn rules_mean_what_their_yaml_says() {
    let house = house(RULES);
    for repository in ["team/app", "team/secret/app", "public/app", "carol/app", "other/app"] {
        house.open.push_image(repository, "v1", b"layer").await;
    }
    let rights = [
        ("", "team/app", 401, 401),
        ("", "public/app", 200, 401),
        ("", "other/app", 401, 401),
        ("alice", "team/app", 200, 202),
        ("alice", "team/secret/app", 200, 202),
        ("bob", "team/app", 200, 202),
        ("bob", "team/secret/app", 403, 403),
        ("carol", "team/app", 403, 403),
        ("carol", "public/app", 200, 403),
        ("carol", "carol/app", 200, 202),
        ("alice", "carol/app", 403, 403),
        ("alice", "other/app", 403, 403),
    ];
    for (user, repository, pull, push) in rights {
        let about = format!("{user} in {repository}");
        let manifest = format!("/v2/{repository}/manifests/v1");
        assert_eq!(house.status(user, Method::GET, &manifest).await, pull, "{about}");
        let uploads = format!("/v2/{repository}/blobs/uploads/");
        assert_eq!(house.status(user, Method::POST, &uploads).await, push, "{about}");
    }
    assert_eq!(house.status("carol", Method::DELETE, "/v2/carol/app/manifests/v1").await, 403, "not listed");
    assert_eq!(house.status("alice", Method::DELETE, "/v2/team/app/manifests/v1").await, 202);
}

#[tokio::test]
async fn a_refusal_names_who_may_not_do_what_where() {
    let answer = house(RULES).ask("carol", Method::GET, "/v2/team/app/tags/list").await;
    let answer = answer.refuses(StatusCode::FORBIDDEN, "DENIED");
    let said = answer.errors()[0]["message"].as_str().unwrap().to_owned();
    assert!(said.contains("carol may not pull team/app"), "{said}");
}

#[tokio::test]
async fn a_mount_needs_the_right_to_pull_from_its_source() {
    let house = house(RULES);
    let layer = house.open.push_image("team/app", "v1", b"layer").await.layer;
    let mount = |user: &'static str, into: &str, from: &str| {
        let target = format!("/v2/{into}/blobs/uploads/?mount={layer}{from}");
        let house = &house;
        async move { house.ask(user, Method::POST, &target).await }
    };
    mount("alice", "alice/app", "&from=team/app").await.is(StatusCode::CREATED);
    // What may not be read and what is not there look the same, so that a mount tells nobody what exists.
    let shape = |answer: &Answer| {
        let names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        (answer.status, answer.body.clone(), names)
    };
    let forbidden = mount("carol", "carol/app", "&from=team/app").await.is(StatusCode::ACCEPTED);
    for from in ["&from=team/none", "&from=nowhere/app", "&from=carol/app", ""] {
        let other = mount("carol", "carol/app", from).await;
        assert_eq!(shape(&other), shape(&forbidden), "from {from:?}");
    }
    assert_eq!(house.status("carol", Method::GET, &format!("/v2/carol/app/blobs/{layer}")).await, 404);
    // Without the right to push nothing is mounted, wherever it comes from.
    mount("carol", "public/app", "&from=carol/app").await.refuses(StatusCode::FORBIDDEN, "DENIED");
    mount("", "public/app", "&from=public/app").await.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
}

#[tokio::test]
async fn the_catalog_shows_what_its_reader_may_pull_and_tells_of_nothing_else() {
    let house = house(RULES);
    let all = ["carol/app", "other/app", "public/a", "public/b", "team/app", "team/secret/app", "zz/last"];
    for repository in all {
        house.open.push_image(repository, "v1", b"layer").await;
    }
    let visible = [
        ("alice", &["public/a", "public/b", "team/app", "team/secret/app"][..]),
        ("bob", &["public/a", "public/b", "team/app"]),
        ("carol", &["carol/app", "public/a", "public/b"]),
    ];
    for (user, expected) in visible {
        for size in ["1", "2", "3", "100"] {
            let (mut found, mut next) = (Vec::new(), Some(format!("/v2/_catalog?n={size}")));
            while let Some(target) = next.take() {
                let answer = house.ask(user, Method::GET, &target).await.is(StatusCode::OK);
                for name in answer.json()["repositories"].as_array().unwrap() {
                    found.push(name.as_str().unwrap().to_owned());
                }
                next = answer.headers.get("link").map(|link| {
                    let link = link.to_str().unwrap();
                    let hidden =
                        all.iter().find(|name| !expected.contains(name) && link.contains(&name.replace('/', "%2F")));
                    assert_eq!(hidden, None, "{user}: {link}");
                    link.trim_start_matches('<').split_once('>').unwrap().0.to_owned()
                });
            }
            assert_eq!(found, expected, "{user} by {size}");
        }
    }
    house.ask("", Method::GET, "/v2/_catalog").await.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
}

#[tokio::test]
async fn referrers_are_shown_to_those_who_may_pull_and_only_those_of_the_repository() {
    let house = house(RULES);
    let subject = house.open.push_image("public/app", "v1", b"layer").await;
    house.open.push_image("team/app", "v1", b"layer").await;
    let signature = image(&subject.config, &[(&subject.layer, 5)], Some((&subject.digest, subject.manifest.len())));
    house.open.put_manifest("team/app", "sig", OCI_MANIFEST, signature).await.is(StatusCode::CREATED);
    let at = |repository: &str| format!("/v2/{repository}/referrers/{}", subject.digest);
    let listed = |answer: Answer| answer.is(StatusCode::OK).json()["manifests"].as_array().unwrap().len();
    assert_eq!(listed(house.ask("alice", Method::GET, &at("team/app")).await), 1);
    assert_eq!(listed(house.ask("", Method::GET, &at("public/app")).await), 0, "it lies in another repository");
    house.ask("carol", Method::GET, &at("team/app")).await.refuses(StatusCode::FORBIDDEN, "DENIED");
    house.ask("", Method::GET, &at("team/app")).await.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
}

#[tokio::test]
async fn who_loses_a_right_loses_it_at_once_and_a_mistake_opens_nothing() {
    let house = house(RULES);
    let pull = "/v2/team/app/tags/list";
    let alice = async || house.status("alice", Method::GET, pull).await;
    let nobody = async || house.status("", Method::GET, pull).await;
    assert_eq!(alice().await, 404);
    let without_alice = RULES.replace("[alice, bob]", "[bob]");
    assert_eq!(house.adopt(&without_alice), Adopted::Rules);
    assert_eq!(alice().await, 403);
    assert_eq!(house.adopt(""), Adopted::Kept, "no rules is not what replaces rules");
    assert_eq!((alice().await, nobody().await), (403, 401));
    assert_eq!(house.adopt(RULES), Adopted::Rules);
    assert_eq!(alice().await, 404);
    assert_eq!(house.authenticator.adopt_rules(&berth::auth::Config::Open).unwrap(), Adopted::Kept);
    assert_eq!(nobody().await, 401);
}

#[tokio::test]
async fn robots_and_groups_in_a_file_come_and_go_with_their_lines() {
    let directory = tempfile::tempdir().unwrap();
    let groups = directory.path().join("groups");
    std::fs::write(&groups, "team: carol\n").unwrap();
    let robots = |expires: &str| {
        let hash = bcrypt::hash("ci", 4).unwrap();
        format!(
            "{RULES}  groupsfile: {}\n  robots: [{{name: ci, passwordhash: '{hash}', expires: {expires}}}]\n",
            groups.display()
        )
    };
    let house = house(&robots("2999-01-01").replace("[alice, bob]", "[alice, ci]"));
    let pull = "/v2/team/app/tags/list";
    for (user, status) in [("alice", 404), ("carol", 404), ("ci", 404), ("bob", 403)] {
        assert_eq!(house.status(user, Method::GET, pull).await, status, "{user}");
    }
    assert_eq!(house.adopt(&robots("2001-01-01")), Adopted::Rules);
    let late = house.ask("ci", Method::GET, pull).await.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    let said = late.errors()[0]["message"].as_str().unwrap().to_owned();
    assert!(said.contains("the robot account ci expired on 2001-01-01T00:00:00Z"), "{said}");
    assert_eq!(house.adopt(RULES), Adopted::Rules);
    let gone = house.ask("ci", Method::GET, pull).await.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    assert!(gone.errors()[0]["message"].as_str().unwrap().contains("password is wrong"));
    assert_eq!(house.status("carol", Method::GET, pull).await, 403, "the file of groups went with its key");
    let unreadable = format!("{RULES}  groupsfile: /nonexistent/groups\n");
    let config = auth_of(&write(house.directory.path(), &unreadable));
    let error = house.authenticator.adopt_rules(&config).unwrap_err().to_string();
    assert!(error.contains("auth.groupsfile: /nonexistent/groups"), "{error}");
    assert_eq!(house.status("bob", Method::GET, pull).await, 404, "what was in force still is");
}

#[test]
fn rules_that_make_no_sense_stop_at_the_door() {
    let directory = tempfile::tempdir().unwrap();
    let wrong = [
        ("access: [{who: [everyone], repositories: ['**'], actions: [pull]}]", "everybody"),
        ("access: [{who: ['group:none'], repositories: ['**']}]", "no group is called none"),
        ("access: [{who: [everybody], repositories: ['**'], actions: [read]}]", "pull"),
        ("access: [{who: [everybody], repositories: ['A/**']}]", "pattern"),
        ("access: [{who: [everybody]}]", "repositories"),
        ("access:", "list"),
    ];
    for (rules, hint) in wrong {
        let path = write(directory.path(), &format!("  {rules}\n"));
        let error = Config::load(Source::File(path), []).expect_err(rules).to_string();
        assert!(error.contains("auth.access") && error.contains(hint), "{rules}: {error}");
    }
}
