//! The writer's steps: publish, then look.

use super::state::*;

/// Every state that one step of the writer `index` may lead to.
pub(crate) fn steps(state: &State, index: usize, rules: &Rules) -> Option<State> {
    let writer = state.writers[index]?;
    let go = |step: Step| state.with_writer(index, |writer| writer.step = step);
    let chain = Chain::of(&writer, rules);
    match writer.step {
        Step::Upload => {
            // A layer that is there is not sent again; the link is written in any case.
            let mut next = state.clone();
            next.exists |= LAYER | LINK;
            Some(next.with_writer(index, |writer| writer.step = Step::ListFirst))
        }
        Step::ListFirst => Some(state.with_writer(index, |writer| {
            writer.retired = state.retired();
            writer.concerned = 0;
            writer.settled = 0;
            writer.subject_stood = writer.kind == Kind::Sign && state.subject_is_promised();
            writer.step = chain.after(Step::ListFirst);
        })),
        Step::Ask => {
            let wanted = if chain.published_before(Step::Ask) { chain.parts } else { chain.parts & !writer.stage };
            if state.exists & wanted != wanted {
                return Some(missing(state, index));
            }
            Some(go(chain.after(Step::Ask)))
        }
        Step::Publish => {
            if state.exists & chain.direct != chain.direct {
                return Some(missing(state, index));
            }
            let mut next = go(chain.after(Step::Publish));
            next.exists |= writer.stage;
            Some(next)
        }
        Step::Tag | Step::TagLate => {
            let mut next = go(chain.after(writer.step));
            if writer.stage == INDEX {
                next.tags[usize::from(writer.kind != Kind::Move)] = true;
            }
            Some(next)
        }
        Step::ListAgain => Some(list_again(state, index, &writer, &chain, rules)),
        Step::Revive => Some(revive(state, index, &writer, &chain, rules)),
        Step::CheckClosed => check_closed(state, index, &writer, &chain, rules),
        Step::Acknowledge => {
            Some(state.with_writer(index, |writer| {
                // A signature of something that no tag reaches is garbage itself.
                writer.acknowledged = writer.kind != Kind::Sign || writer.subject_stood;
                writer.step = if writer.kind == Kind::Move { Step::DeleteOldTag } else { Step::End };
                forget(writer);
            }))
        }
        Step::DeleteOldTag => {
            let mut next = go(Step::End);
            next.tags[1] = false;
            for other in next.writers.iter_mut().flatten() {
                // What others were promised of this tag has ended with it.
                other.acknowledged &= matches!(other.kind, Kind::Move | Kind::Sign);
            }
            Some(next)
        }
        Step::End => None,
    }
}

/// The order of the steps for what is being put.
struct Chain {
    steps: Vec<Step>,
    /// What must exist, itself included.
    parts: Mask,
    /// What the rules of push look for before anything is written.
    direct: Mask,
}

impl Chain {
    fn of(writer: &Writer, rules: &Rules) -> Self {
        let deep = if rules.has(Mutant::OneLevelOnly) { 0 } else { LAYER | LINK };
        let (parts, direct) = match writer.stage {
            CHILD => (CHILD | LAYER | LINK, LAYER | LINK),
            INDEX => (INDEX | CHILD | deep, CHILD),
            _ => (SIGNATURE, 0),
        };
        let tagged = writer.stage == INDEX;
        let tag = (tagged && !rules.has(Mutant::TagAfterVerification)).then_some(Step::Tag);
        let late = (tagged && rules.has(Mutant::TagAfterVerification)).then_some(Step::TagLate);
        let mut steps = vec![Step::ListFirst];
        match (rules.has(Mutant::VerifyBeforePublishing), rules.order) {
            (true, _) => steps.extend([Step::Ask, Step::ListAgain, Step::Publish]),
            (false, Order::AskPublishList) => steps.extend([Step::Ask, Step::Publish]),
            (false, Order::PublishAskList | Order::PublishListAsk) => steps.push(Step::Publish),
        }
        steps.extend(tag);
        match (rules.has(Mutant::VerifyBeforePublishing), rules.order) {
            (true, _) => {}
            (false, Order::PublishAskList) => steps.extend([Step::Ask, Step::ListAgain]),
            (false, Order::AskPublishList) => steps.push(Step::ListAgain),
            (false, Order::PublishListAsk) => steps.extend([Step::ListAgain, Step::Ask]),
        }
        steps.extend(late);
        Self { steps, parts, direct }
    }

    fn position(&self, step: Step) -> usize {
        self.steps.iter().position(|other| *other == step).unwrap_or(self.steps.len())
    }

    fn published_before(&self, step: Step) -> bool {
        self.position(Step::Publish) < self.position(step)
    }

    /// The step after `step`; after the last one the next thing is put, or the push is acknowledged.
    fn after(&self, step: Step) -> Step {
        self.steps.get(self.position(step) + 1).copied().unwrap_or(Step::Acknowledge)
    }
}

fn forget(writer: &mut Writer) {
    writer.retired = [0; 2];
    writer.concerned = 0;
    writer.settled = 0;
}

/// Goes on after the last look at the epochs.
fn settled(state: &State, index: usize, chain: &Chain) -> State {
    let next = chain.after(Step::ListAgain);
    state.with_writer(index, |writer| {
        writer.concerned = 0;
        writer.settled = 0;
        writer.step = next;
        if next == Step::Acknowledge {
            forget(writer);
            if writer.stage == CHILD {
                writer.stage = INDEX;
                writer.step = Step::ListFirst;
            }
        }
    })
}

/// The client is told what is missing; one that has the bytes sends them again.
fn missing(state: &State, index: usize) -> State {
    state.with_writer(index, |writer| {
        forget(writer);
        if writer.kind == Kind::Push && writer.retries > 0 {
            writer.retries -= 1;
            writer.stage = CHILD;
            writer.step = Step::Upload;
        } else {
            writer.step = Step::End;
        }
    })
}

fn start_over(state: &State, index: usize) -> State {
    state.with_writer(index, |writer| {
        forget(writer);
        writer.step = Step::ListFirst;
    })
}

/// What the writer asks the collectors to spare.
fn keys(state: &State, writer: &Writer, chain: &Chain) -> Mask {
    let referrers = if writer.stage == INDEX { state.exists & SIGNATURE } else { 0 };
    chain.parts | referrers
}

fn list_again(state: &State, index: usize, writer: &Writer, chain: &Chain, rules: &Rules) -> State {
    let keys = keys(state, writer, chain);
    // Of two that ended meanwhile the model remembers what the last one removed, so it starts over.
    let harmless = |at: usize| match state.epochs[at].retired - writer.retired[at] {
        0 => true,
        1 => state.epochs[at].swept & keys == 0,
        _ => false,
    };
    if !rules.has(Mutant::RetiredEpochsUnnoticed) && !(0..2).all(harmless) {
        return start_over(state, index);
    }
    let concerned = (0..2).filter(|at| state.epochs[*at].listed && state.epochs[*at].condemned & keys != 0);
    let concerned = concerned.fold(0, |mask, at| mask | 1 << at);
    if concerned == 0 {
        return settled(state, index, chain);
    }
    state.with_writer(index, |writer| {
        writer.retired = state.retired();
        writer.concerned = concerned;
        writer.settled = 0;
        writer.step = Step::Revive;
    })
}

fn next_open(writer: &Writer) -> Option<usize> {
    (0..2).find(|at| (writer.concerned & !writer.settled) & (1 << at) != 0)
}

fn revive(state: &State, index: usize, writer: &Writer, chain: &Chain, rules: &Rules) -> State {
    let Some(at) = next_open(writer) else {
        return state.with_writer(index, |writer| {
            writer.settled = 0;
            writer.step = Step::CheckClosed;
        });
    };
    let epoch = state.epochs[at];
    let unchanged = rules.has(Mutant::RetiredEpochsUnnoticed) || epoch.retired == writer.retired[at];
    if !epoch.listed || !unchanged {
        return start_over(state, index);
    }
    let mut next = state.with_writer(index, |writer| writer.settled |= 1 << at);
    next.epochs[at].revived |= epoch.condemned & keys(state, writer, chain);
    next
}

/// `None` while the collector has to be waited for.
fn check_closed(state: &State, index: usize, writer: &Writer, chain: &Chain, rules: &Rules) -> Option<State> {
    let Some(at) = next_open(writer) else { return Some(settled(state, index, chain)) };
    let epoch = state.epochs[at];
    if !epoch.listed || epoch.retired != writer.retired[at] {
        return Some(start_over(state, index));
    }
    let spared = !epoch.closed
        || (epoch.verdict != UNDECIDED
            && (epoch.verdict & keys(state, writer, chain) == 0 || rules.has(Mutant::WriterDoesNotWait)));
    spared.then(|| state.with_writer(index, |writer| writer.settled |= 1 << at))
}
