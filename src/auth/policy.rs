//! Access rules: who may do what in which repositories, decided by the first rule that speaks of both.
//!
//! A rule names people and repositories; the first one that fits a person and a repository decides alone, and what it does
//! not list is not allowed. No rule that fits means no. docs/adr/0009 says why.

use std::path::PathBuf;
use std::sync::Arc;

use super::groups::Groups;
use super::identity::{Identity, Way};
use super::watched::Watched;
use super::{Action, Error, Rule, RulesConfig, Who};

/// Rules, ready to be asked.
#[derive(Debug, Default)]
pub(super) struct Policy {
    rules: Vec<Rule>,
    groups: Groups,
    /// Read again when it changes, whether or not the rules do.
    groups_file: Option<Watched<Groups>>,
}

/// What the rules say, and which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: Allowed,
    /// The rule that decided, counted from 1; `None` when none fits.
    pub rule: Option<usize>,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// It may be done.
    Yes,
    /// It may not.
    No,
}

impl Policy {
    /// The rules of `config`, and the file of groups that it names.
    ///
    /// # Errors
    /// When that file cannot be read or makes no sense.
    pub(super) fn open(config: &RulesConfig) -> Result<Self, Error> {
        let open = |path: &PathBuf| Watched::open("auth.groupsfile", path.clone(), Groups::read);
        let groups_file = config.groups_file.as_ref().map(open).transpose()?;
        let policy = Self { rules: config.rules.clone(), groups: Groups::of(&config.groups), groups_file };
        for group in policy.rules.iter().flat_map(|rule| &rule.who).filter_map(Who::group) {
            let in_file = |file: &Watched<Groups>| file.current().knows(group);
            if !policy.groups.knows(group) && !policy.groups_file.as_ref().is_some_and(in_file) {
                tracing::warn!(group, "auth.access speaks of a group that auth.groupsfile does not list: it is empty");
            }
        }
        Ok(policy)
    }

    /// What the rules say about `identity` doing `action` in `repository`.
    pub(super) fn decide(&self, identity: &Identity, repository: &str, action: Action) -> Decision {
        let fits = |rule: &&Rule| {
            rule.who.iter().any(|who| self.is(who, identity))
                && rule.repositories.iter().any(|pattern| matches(pattern, repository, identity.name.as_deref()))
        };
        match (1..).zip(&self.rules).find(|(_, rule)| fits(rule)) {
            Some((number, rule)) => {
                let allowed = if rule.actions.contains(&action) { Allowed::Yes } else { Allowed::No };
                Decision { allowed, rule: Some(number) }
            }
            None => Decision { allowed: Allowed::No, rule: None },
        }
    }

    /// Whether the rules let `identity` do `action` in every repository there is or may be: a rule for all of them says so,
    /// and none above it refuses.
    pub(super) fn allows_everywhere(&self, identity: &Identity, action: Action) -> bool {
        let about = self.rules.iter().filter(|rule| rule.who.iter().any(|who| self.is(who, identity)));
        let allowing = about.take_while(|rule| rule.actions.contains(&action));
        allowing.flat_map(|rule| &rule.repositories).any(|pattern| pattern == "**")
    }

    fn is(&self, who: &Who, identity: &Identity) -> bool {
        let name = identity.name.as_deref();
        match who {
            Who::Everybody => true,
            Who::Anonymous => name.is_none(),
            Who::Authenticated => name.is_some(),
            Who::User(user) => name == Some(user),
            Who::Group(group) => name.is_some_and(|name| {
                let in_file = |file: &Watched<Groups>| file.current().has(group, name);
                self.groups.has(group, name) || self.groups_file.as_ref().is_some_and(in_file)
            }),
            Who::Token(subject) => identity.way == Way::Token && name == Some(subject),
            Who::Certificate(holder) => identity.way == Way::Certificate && name == Some(holder),
        }
    }
}

/// Rules shared by everybody who is asked about.
pub(super) type SharedPolicy = Arc<Policy>;

/// Whether `repository` is one that `pattern` speaks of: part by part, `*` for one part, `**` for any number of them,
/// `$user` for the name of whoever asks. A `*` within a part stands for any letters of it.
fn matches(pattern: &str, repository: &str, user: Option<&str>) -> bool {
    let (pattern, repository): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), repository.split('/').collect());
    parts_match(&pattern, &repository, user)
}

fn parts_match(pattern: &[&str], repository: &[&str], user: Option<&str>) -> bool {
    match (pattern.split_first(), repository.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => {
            // `team/**` is what lies below the team, and one `**` alone is everything.
            let least = usize::from(rest.is_empty());
            (least..=repository.len())
                .any(|taken| repository.get(taken..).is_some_and(|below| parts_match(rest, below, user)))
        }
        (Some((&"$user", rest)), Some((part, below))) => user == Some(part) && parts_match(rest, below, user),
        (Some((wanted, rest)), Some((part, below))) => part_matches(wanted, part) && parts_match(rest, below, user),
        _ => false,
    }
}

/// Whether `part` is `wanted`, where one `*` stands for any letters.
fn part_matches(wanted: &str, part: &str) -> bool {
    match wanted.split_once('*') {
        None => wanted == part,
        Some((before, after)) => part.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(way: Way, name: Option<&str>) -> Identity {
        Identity { name: name.map(Arc::from), way }
    }

    fn rule(who: Who, repositories: &[&str], actions: &[Action]) -> Rule {
        let repositories = repositories.iter().map(|pattern| (*pattern).to_owned()).collect();
        Rule { who: vec![who], repositories, actions: actions.to_vec() }
    }

    #[test]
    fn patterns_go_part_by_part() {
        let cases = [
            ("**", "a", true),
            ("**", "a/b/c", true),
            ("team/*", "team/a", true),
            ("team/*", "team/a/b", false),
            ("team/*", "team", false),
            ("team/*", "teams/a", false),
            ("team/**", "team/a/b", true),
            ("team/**", "team", false),
            ("**/base", "a/b/base", true),
            ("**/base", "base", true),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("team/app-*", "team/app-1", true),
            ("team/app-*", "team/application", false),
            ("*", "a", true),
            ("*", "a/b", false),
            ("$user/**", "alice/x", true),
            ("$user/**", "bob/x", false),
            ("$user/**", "alice", false),
            ("$user", "alice", true),
            ("a", "a", true),
            ("a", "b", false),
        ];
        for (pattern, repository, expected) in cases {
            assert_eq!(matches(pattern, repository, Some("alice")), expected, "{pattern} {repository}");
        }
        assert!(!matches("$user/**", "/x", None) && !matches("$user/**", "/x", Some("alice")));
    }

    #[test]
    fn everywhere_means_without_any_exception() {
        let alice = identity(Way::Password, Some("alice"));
        let me = || Who::User("alice".to_owned());
        let all = || rule(me(), &["**"], &[Action::Pull]);
        let everywhere = |rules: Vec<Rule>, action| {
            Policy::open(&RulesConfig { rules, ..RulesConfig::default() }).unwrap().allows_everywhere(&alice, action)
        };
        assert!(everywhere(vec![all()], Action::Pull));
        assert!(!everywhere(vec![all()], Action::Push));
        assert!(everywhere(vec![rule(me(), &["a/**"], &Action::ALL), all()], Action::Pull));
        assert!(everywhere(vec![rule(Who::User("bob".to_owned()), &["**"], &[]), all()], Action::Pull));
        assert!(!everywhere(vec![rule(Who::Everybody, &["secret"], &[]), all()], Action::Pull));
        assert!(!everywhere(vec![rule(me(), &["a/**", "b/**"], &Action::ALL)], Action::Pull));
        assert!(!everywhere(Vec::new(), Action::Pull));
    }

    #[test]
    fn the_first_rule_that_fits_decides_alone() {
        let policy = Policy::open(&RulesConfig {
            rules: vec![
                rule(Who::User("mallory".to_owned()), &["**"], &[]),
                rule(Who::Everybody, &["public/**"], &[Action::Pull]),
                rule(Who::Group("ops".to_owned()), &["**"], &Action::ALL),
                rule(Who::Authenticated, &["$user/**"], &[Action::Pull, Action::Push]),
                rule(Who::Token("ci".to_owned()), &["build/*"], &[Action::Push]),
                rule(Who::Certificate("ci".to_owned()), &["build/*"], &[Action::Pull]),
            ],
            groups: [("ops".to_owned(), vec!["olga".to_owned()])].into(),
            groups_file: None,
        })
        .unwrap();
        let says = |who: &Identity, repository: &str, action| {
            let decision = policy.decide(who, repository, action);
            (decision.allowed == Allowed::Yes, decision.rule)
        };
        let (nobody, alice) = (identity(Way::Anonymous, None), identity(Way::Password, Some("alice")));
        let (olga, mallory) = (identity(Way::Password, Some("olga")), identity(Way::Password, Some("mallory")));
        assert_eq!(says(&nobody, "public/a", Action::Pull), (true, Some(2)));
        assert_eq!(says(&nobody, "public/a", Action::Push), (false, Some(2)));
        assert_eq!(says(&nobody, "alice/a", Action::Pull), (false, None));
        assert_eq!(says(&alice, "alice/a", Action::Push), (true, Some(4)));
        assert_eq!(says(&alice, "alice/a", Action::Delete), (false, Some(4)));
        assert_eq!(says(&alice, "bob/a", Action::Pull), (false, None));
        assert_eq!(says(&olga, "bob/a", Action::Delete), (true, Some(3)));
        assert_eq!(says(&olga, "public/a", Action::Push), (false, Some(2)), "an earlier rule decides for her too");
        assert_eq!(says(&mallory, "public/a", Action::Pull), (false, Some(1)));
        assert_eq!(says(&identity(Way::Token, Some("ci")), "build/x", Action::Push), (true, Some(5)));
        assert_eq!(says(&identity(Way::Password, Some("ci")), "build/x", Action::Push), (false, None));
        assert_eq!(says(&identity(Way::Certificate, Some("ci")), "build/x", Action::Pull), (true, Some(6)));
    }
}
