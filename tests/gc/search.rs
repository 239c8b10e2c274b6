//! Visits every state that a scenario can reach, breadth first, so that the first loss found is the shortest.

use std::collections::HashMap;
use std::collections::VecDeque;

use super::state::*;
use super::{collector, writer};

/// Who takes part.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) writers: Vec<Kind>,
    pub(crate) collectors: usize,
    /// Rounds of each collector.
    pub(crate) runs: u8,
}

/// What was found.
pub(crate) enum Outcome {
    Safe {
        states: usize,
        acknowledged: usize,
        collected: usize,
        stuck: usize,
    },
    /// The states on the way to the loss.
    Lost(Vec<String>),
}

/// Visits everything.
pub(crate) fn search(scenario: &Scenario, rules: &Rules) -> Outcome {
    let first = beginning(scenario);
    let mut seen: HashMap<State, u32> = HashMap::from([(first.clone(), 0)]);
    // Where each state was first reached from, by number.
    let mut parents: Vec<u32> = vec![0];
    let mut queue = VecDeque::from([(first, 0u32)]);
    let (mut acknowledged, mut collected, mut stuck) = (0, 0, 0);
    let mut next = Vec::new();
    while let Some((state, number)) = queue.pop_front() {
        if state.is_lost() {
            return Outcome::Lost(trace(&seen, &parents, number));
        }
        acknowledged += usize::from(state.writers.iter().flatten().any(|writer| writer.acknowledged));
        collected += usize::from(state.exists & IMAGE == 0);
        next.clear();
        next.extend((0..2).filter_map(|index| writer::steps(&state, index, rules)));
        (0..2).for_each(|index| collector::steps(&state, index, rules, &mut next));
        next.extend(arriving_deletes(&state));
        let waiting = state.writers.iter().flatten().any(|writer| writer.step != Step::End);
        stuck += usize::from(next.is_empty() && waiting);
        for state in next.drain(..) {
            let fresh = u32::try_from(parents.len()).unwrap_or(u32::MAX);
            if !seen.contains_key(&state) {
                seen.insert(state.clone(), fresh);
                parents.push(number);
                queue.push_back((state, fresh));
            }
        }
    }
    Outcome::Safe { states: seen.len(), acknowledged, collected, stuck }
}

fn trace(seen: &HashMap<State, u32>, parents: &[u32], last: u32) -> Vec<String> {
    let by_number: HashMap<u32, &State> = seen.iter().map(|(state, number)| (*number, state)).collect();
    let mut numbers = vec![last];
    let mut at = last;
    while at != 0 {
        at = parents[at as usize];
        numbers.push(at);
    }
    numbers.iter().rev().map(|number| format!("{:?}", by_number[number])).collect()
}

/// A delete takes effect at any time after it was asked for.
fn arriving_deletes(state: &State) -> impl Iterator<Item = State> {
    [LAYER, CHILD, INDEX, LINK, SIGNATURE].into_iter().filter(|thing| state.pending & thing != 0).map(|thing| {
        let mut next = state.clone();
        next.exists &= !thing;
        next.pending &= !thing;
        next
    })
}

fn beginning(scenario: &Scenario) -> State {
    let only_pushes = scenario.writers.iter().all(|kind| matches!(kind, Kind::Push));
    // A layer whose manifests are gone, or a whole image without a tag.
    let exists = if only_pushes { LAYER } else { IMAGE };
    let writer = |kind: Kind| Writer {
        kind,
        stage: match kind {
            Kind::Push => CHILD,
            Kind::Sign => SIGNATURE,
            Kind::Retag | Kind::Move => INDEX,
        },
        step: if kind == Kind::Push { Step::Upload } else { Step::ListFirst },
        retired: [0; 2],
        concerned: 0,
        settled: 0,
        retries: u8::from(kind == Kind::Push),
        subject_stood: false,
        acknowledged: false,
    };
    let collector = |index: usize| {
        (index < scenario.collectors).then_some(Collector { phase: Phase::Idle, live: 0, seen: 0, runs: scenario.runs })
    };
    State {
        exists,
        tags: [false, scenario.writers.contains(&Kind::Move)],
        pending: 0,
        epochs: [Epoch::NONE; 2],
        writers: [0, 1].map(|index| scenario.writers.get(index).copied().map(writer)),
        collectors: [0, 1].map(collector),
    }
}
