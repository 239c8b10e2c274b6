//! `REGISTRY_*` variables laid over the tree, in the order of their names, as distribution does.
//!
//! Forms that distribution gets wrong work here: keys with an underscore, items of lists of words, single keys below
//! `storage.maintenance`, and the names of the file where distribution wants the names of its source code.

use std::sync::Arc;

use super::error::{Place, Problem, Warning};
use super::scalar::nearest;
use super::section::{Report, describe};
use super::shape::{self, Shape};
use super::shape_table::ROOT;
use super::tree::{Entry, Node, Value};
use super::yaml;

/// What every variable's name begins with.
const PREFIX: &str = "REGISTRY_";

/// Keys of `storage` that are not drivers, and that a new driver should not take away unnoticed.
const KEPT_BESIDE_THE_DRIVER: [&str; 5] = ["delete", "redirect", "cache", "tag", "maintenance"];

/// One level on the way to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Item(usize),
}

/// Lays the variables that begin with `REGISTRY_` over `root`. What is unknown is a warning, as in distribution.
pub(super) fn apply(root: &mut Node, variables: &[(String, String)], report: &Report) {
    let mut ours: Vec<_> = variables.iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    ours.sort();
    promote_bare_words(root);
    for (name, text) in ours {
        if !is_of_others(name) && !is_service_link(name) {
            apply_one(root, name, text, report);
            promote_bare_words(root);
        }
    }
}

/// `storage: inmemory` and `auth: none` become sections, so that variables can reach below them.
fn promote_bare_words(root: &mut Node) {
    let Value::Mapping(entries) = &mut root.value else { return };
    for entry in entries.iter_mut().filter(|entry| entry.key == "storage" || entry.key == "auth") {
        entry.node.bare_word_to_section();
    }
}

/// The path of the file itself, and where podman and skopeo keep their credentials, which is no way called `file`.
fn is_of_others(name: &str) -> bool {
    name == "REGISTRY_CONFIGURATION_PATH" || name == "REGISTRY_AUTH_FILE"
}

/// Kubernetes and Docker links describe a service called `registry` in variables of this form; they are not for us.
fn is_service_link(name: &str) -> bool {
    name == "REGISTRY_PORT"
        || name == "REGISTRY_NAME"
        || name.starts_with("REGISTRY_PORT_")
        || name.starts_with("REGISTRY_SERVICE_")
        || name.starts_with("REGISTRY_ENV_")
}

fn apply_one(root: &mut Node, name: &str, text: &str, report: &Report) {
    let place = Place::Environment(Arc::from(name));
    let parts: Vec<&str> = name.strip_prefix(PREFIX).unwrap_or(name).split('_').collect();
    let Some((steps, shape)) = resolve(&ROOT, Some(root), &parts) else {
        report.warning(Warning { place, path: String::new(), message: unknown(name) });
        return;
    };
    let path = path_of(&steps);
    let value = match value_from(text, shape, &place) {
        Ok(value) => value,
        Err(problems) => {
            let located = |problem| Problem { path: path.clone(), ..problem };
            problems.into_iter().map(located).for_each(|problem| report.problem(problem));
            return;
        }
    };
    warn_of_what_is_replaced(root, &path, &value, &place, report);
    if let Err(message) = set(root, &steps, value, &place) {
        let hint = Some("write the section in the file as keys and values, or leave it to the variables".to_owned());
        report.problem(Problem { place, path, message, hint });
    }
}

fn unknown(name: &str) -> String {
    let variables = shape::variables();
    match nearest(name, variables.iter().map(String::as_str)) {
        Some(meant) => format!("sets nothing that is known here; did you mean {meant}?"),
        None => "sets nothing that is known here and is ignored".to_owned(),
    }
}

/// A driver set by a variable replaces the section with all that stands beside the driver.
fn warn_of_what_is_replaced(root: &Node, path: &str, value: &Node, place: &Place, report: &Report) {
    let Some(section) = root.get("storage").filter(|_| path == "storage") else { return };
    let lost: Vec<&str> =
        section.keys().filter(|key| KEPT_BESIDE_THE_DRIVER.contains(key) && value.get(key).is_none()).collect();
    if !lost.is_empty() {
        let message = format!("replaces the whole section, so what the file says of {} is lost", lost.join(" and "));
        report.warning(Warning { place: place.clone(), path: path.to_owned(), message });
    }
}

/// The value in a variable is YAML. Where one word belongs, text that YAML reads otherwise is taken as it is.
fn value_from(text: &str, shape: &Shape, place: &Place) -> Result<Node, Vec<Problem>> {
    let as_it_is = || Node { place: place.clone(), value: Value::Scalar(text.to_owned()) };
    match (shape, yaml::parse(text, &|_, _| place.clone())) {
        (Shape::Value, Ok(Node { value: Value::Sequence(_) | Value::Mapping(_), .. }) | Err(_))
        | (Shape::Any, Err(_)) => Ok(as_it_is()),
        (_, parsed) => parsed,
    }
}

/// Finds the key that the parts of a name mean; the longest key wins wherever keys contain an underscore.
fn resolve<'a>(shape: &'a Shape, node: Option<&Node>, parts: &[&str]) -> Option<(Vec<Step>, &'a Shape)> {
    if parts.is_empty() {
        return Some((Vec::new(), shape));
    }
    match shape {
        Shape::Value | Shape::Any | Shape::Inline => None,
        Shape::List(item) => {
            let (index, rest) = parts.split_first()?;
            let index = index.parse().ok()?;
            let below = match node.map(|node| &node.value) {
                Some(Value::Sequence(items)) => items.get(index),
                _ => None,
            };
            prepend(Step::Item(index), resolve(item, below, rest)?)
        }
        Shape::Names => prepend(Step::Key(chosen_name(node, &parts.join("_"))), (Vec::new(), &Shape::Any)),
        Shape::Section(_) => resolve_known(shape, node, parts),
        Shape::Open(keys) => resolve_known(shape, node, parts).or_else(|| {
            let (name, rest) = parts.split_first().filter(|(name, _)| !keys.iter().any(|key| key.is_named(name)))?;
            let name = chosen_name(node, name);
            let below = node.and_then(|node| node.get(&name));
            let found = if rest.is_empty() { (Vec::new(), &Shape::Any) } else { resolve(&Shape::Names, below, rest)? };
            prepend(Step::Key(name), found)
        }),
    }
}

fn resolve_known<'a>(shape: &'a Shape, node: Option<&Node>, parts: &[&str]) -> Option<(Vec<Step>, &'a Shape)> {
    (1..=parts.len()).rev().find_map(|length| {
        let (name, rest) = parts.split_at_checked(length)?;
        let name = name.join("_");
        let key = shape.keys().iter().find(|key| key.is_named(&name))?;
        if matches!(key.shape, Shape::Inline) {
            return resolve(shape, node, rest);
        }
        let below = node.and_then(|node| node.get(key.name));
        prepend(Step::Key(key.name.to_owned()), resolve(&key.shape, below, rest)?)
    })
}

/// A key that is not in the table: the one in the file that is spelled so whatever the case, or else in lower case.
fn chosen_name(node: Option<&Node>, name: &str) -> String {
    let written = node.and_then(|node| node.keys().find(|key| key.to_uppercase() == name));
    written.map_or_else(|| name.to_lowercase(), str::to_owned)
}

#[expect(clippy::unnecessary_wraps, reason = "it ends functions that give an Option")]
fn prepend(step: Step, (mut steps, shape): (Vec<Step>, &Shape)) -> Option<(Vec<Step>, &Shape)> {
    steps.insert(0, step);
    Some((steps, shape))
}

fn path_of(steps: &[Step]) -> String {
    steps.iter().fold(String::new(), |path, step| match step {
        Step::Key(key) if path.is_empty() => key.clone(),
        Step::Key(key) => format!("{path}.{key}"),
        Step::Item(index) => format!("{path}[{index}]"),
    })
}

/// Puts `value` at the end of `steps`, making what is missing on the way.
fn set(node: &mut Node, steps: &[Step], value: Node, place: &Place) -> Result<(), String> {
    let Some((step, rest)) = steps.split_first() else {
        *node = value;
        return Ok(());
    };
    if node.value == Value::Null {
        let empty = match step {
            Step::Key(_) => Value::Mapping(Vec::new()),
            Step::Item(_) => Value::Sequence(Vec::new()),
        };
        *node = Node { place: place.clone(), value: empty };
    }
    let nothing = || Node { place: place.clone(), value: Value::Null };
    let below = match (step, &mut node.value) {
        (Step::Key(key), Value::Mapping(entries)) => {
            let at = entries.iter().position(|entry| entry.key == *key).unwrap_or(entries.len());
            if at == entries.len() {
                entries.push(Entry { key: key.clone(), place: place.clone(), node: nothing() });
            }
            entries.get_mut(at).map(|entry| {
                if rest.is_empty() {
                    entry.place = place.clone();
                }
                &mut entry.node
            })
        }
        (Step::Item(index), Value::Sequence(items)) => {
            if *index > items.len() {
                return Err(format!("there is no item {index}; the next free one is {}", items.len()));
            }
            if *index == items.len() {
                items.push(nothing());
            }
            items.get_mut(*index)
        }
        (Step::Key(_), _) => return Err(format!("belongs in a section, but the file has {}", describe(node))),
        (Step::Item(_), _) => return Err(format!("belongs in a list, but the file has {}", describe(node))),
    };
    below.map_or(Ok(()), |below| set(below, rest, value, place))
}

#[cfg(test)]
mod tests;
