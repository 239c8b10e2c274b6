//! Visits every state that a scenario can reach, breadth first, so that the first loss found is the shortest.

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};

use super::essence::essence;
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

/// What a state is remembered by. Of a thousand million states, two are taken for one with a chance of less than 10^-20.
type Fingerprint = (u64, u64);

fn fingerprint(state: &State) -> Fingerprint {
    let half = |which: u8| {
        let mut hasher = DefaultHasher::new();
        (which, state).hash(&mut hasher);
        hasher.finish()
    };
    (half(0), half(1))
}

/// Visits everything.
pub(crate) fn search(scenario: &Scenario, rules: &Rules) -> Outcome {
    let first = essence(beginning(scenario));
    let mut seen = HashMap::from([(fingerprint(&first), 0u32)]);
    // Where each state was first reached from, by number.
    let mut parents: Vec<u32> = vec![0];
    let mut queue = VecDeque::from([(first, 0u32)]);
    let (mut acknowledged, mut collected, mut stuck) = (0, 0, 0);
    while let Some((state, number)) = queue.pop_front() {
        if state.is_lost() {
            return Outcome::Lost(trace(scenario, rules, &seen, &parents, number));
        }
        acknowledged += usize::from(state.writers.iter().flatten().any(|writer| writer.acknowledged));
        collected += usize::from(state.exists & IMAGE == 0);
        let next = successors(&state, rules);
        let waiting = state.writers.iter().flatten().any(|writer| writer.step != Step::End);
        stuck += usize::from(next.is_empty() && waiting);
        for state in next {
            if let Entry::Vacant(place) = seen.entry(fingerprint(&state)) {
                let fresh = u32::try_from(parents.len()).expect("more states than can be numbered");
                place.insert(fresh);
                parents.push(number);
                queue.push_back((state, fresh));
            }
        }
    }
    Outcome::Safe { states: seen.len(), acknowledged, collected, stuck }
}

/// What is left of every state that follows `state`.
fn successors(state: &State, rules: &Rules) -> Vec<State> {
    steps(state, rules).into_iter().map(essence).collect()
}

/// Every state that follows `state`, whole.
fn steps(state: &State, rules: &Rules) -> Vec<State> {
    let mut next: Vec<State> = (0..2).filter_map(|index| writer::steps(state, index, rules)).collect();
    (0..2).for_each(|index| collector::steps(state, index, rules, &mut next));
    next.extend(arriving_deletes(state));
    next
}

/// Visits every state without forgetting anything and compares what follows it with what follows its essence. Returns how many
/// there are, or one that forgot what a later step reads.
pub(crate) fn compare_with_essence(scenario: &Scenario, rules: &Rules) -> Result<usize, State> {
    let mut seen = HashSet::from([beginning(scenario)]);
    let mut queue = VecDeque::from([beginning(scenario)]);
    while let Some(state) = queue.pop_front() {
        let next = steps(&state, rules);
        let left: HashSet<State> = next.iter().cloned().map(essence).collect();
        let of_essence: HashSet<State> = successors(&essence(state.clone()), rules).into_iter().collect();
        if left != of_essence || state.is_lost() != essence(state.clone()).is_lost() {
            return Err(state);
        }
        queue.extend(next.into_iter().filter(|next| seen.insert(next.clone())));
    }
    Ok(seen.len())
}

/// The states from the beginning to number `last`, walked once more because only their fingerprints were kept.
fn trace(
    scenario: &Scenario,
    rules: &Rules,
    seen: &HashMap<Fingerprint, u32>,
    parents: &[u32],
    last: u32,
) -> Vec<String> {
    let mut numbers = vec![last];
    let mut at = last;
    while at != 0 {
        at = parents[at as usize];
        numbers.push(at);
    }
    let mut state = essence(beginning(scenario));
    let mut told = vec![format!("{state:?}")];
    for number in numbers.iter().rev().skip(1) {
        let mut next = successors(&state, rules).into_iter();
        state = next.find(|next| seen.get(&fingerprint(next)) == Some(number)).expect("a step that was taken before");
        told.push(format!("{state:?}"));
    }
    told
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
