//! `auth.access` and `auth.groups`: who may do what in which repositories.

use crate::auth::{Action, Rule, RulesConfig, Who};

use super::section::{Field, Section};

/// Reads the access rules; `None` when there are none.
pub(super) fn rules(section: &Section<'_>) -> Option<RulesConfig> {
    let groups = section.section("groups").map(|groups| groups.rest()).unwrap_or_default();
    let groups = groups.iter().filter_map(|group| Some((group.key.to_owned(), group.words()?))).collect();
    // A key with nothing behind it is a mistake, and must not mean that there are no rules.
    let rules = section.present("access")?.list()?;
    let config = RulesConfig { rules: rules.iter().filter_map(rule).collect(), groups };
    for (rule, field) in config.rules.iter().zip(&rules) {
        for who in &rule.who {
            if let Who::Group(group) = who
                && !config.groups.contains_key(group)
            {
                field.problem(format_args!("no group is called {group}"), "list its members in auth.groups");
            }
        }
    }
    Some(config)
}

fn rule(field: &Field<'_>) -> Option<Rule> {
    let section = field.section()?;
    let who = listed(&section, "who");
    let repositories = listed(&section, "repositories");
    let actions = section.get("actions", Field::list).unwrap_or_default();
    let actions = actions.iter().filter_map(actions_of).flatten().collect();
    section.finish();
    let who: Option<Vec<Who>> = who.iter().map(person).collect();
    let repositories: Option<Vec<String>> = repositories.iter().map(pattern).collect();
    Some(Rule { who: who?, repositories: repositories?, actions })
}

/// A list that must be there.
fn listed<'a>(section: &Section<'a>, key: &'static str) -> Vec<Field<'a>> {
    let items = section.get(key, Field::list).unwrap_or_default();
    if items.is_empty() {
        section.problem(key, "is missing or empty", "a rule needs who and repositories; see docs/adr/0009");
    }
    items
}

fn person(field: &Field<'_>) -> Option<Who> {
    let text = field.word()?;
    let hint = "known are everybody, anonymous, authenticated, user:NAME, group:NAME and token:SUBJECT";
    Who::parse(&text).or_else(|| field.expected("somebody", hint))
}

fn pattern(field: &Field<'_>) -> Option<String> {
    let text = field.word()?;
    let part = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-*".contains(&byte);
        part == "**"
            || part == "$user"
            || !part.is_empty() && part.matches('*').count() <= 1 && part.bytes().all(allowed)
    };
    if text.split('/').all(part) {
        return Some(text);
    }
    field.expected("a pattern of repository names", "write for example team/*, team/** or $user/**")
}

fn actions_of(field: &Field<'_>) -> Option<Vec<Action>> {
    field.choice(&[
        ("pull", vec![Action::Pull]),
        ("push", vec![Action::Push]),
        ("delete", vec![Action::Delete]),
        ("*", Action::ALL.to_vec()),
    ])
}
