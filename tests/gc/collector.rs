//! The collector's steps: announce, then look; and what a successor does about an epoch whose collector died.

use super::state::*;

/// Every state that one step of the collector `index` may lead to.
pub(crate) fn steps(state: &State, index: usize, rules: &Rules, next: &mut Vec<State>) {
    let Some(collector) = state.collectors[index] else { return };
    let epoch = state.epochs[index];
    let walk = Walk { state, index, rules, collector, epoch };
    next.extend(match collector.phase {
        Phase::Idle => walk.begin(),
        Phase::Recover => Some(walk.recover()),
        _ => walk.work(),
    });
    if rules.crashes && !matches!(collector.phase, Phase::Idle | Phase::Recover) {
        next.push(walk.to(Phase::Recover, 0, 0));
    }
}

struct Walk<'a> {
    state: &'a State,
    index: usize,
    rules: &'a Rules,
    collector: Collector,
    epoch: Epoch,
}

impl Walk<'_> {
    fn to(&self, phase: Phase, live: Mask, seen: Mask) -> State {
        let mut next = self.state.clone();
        next.collectors[self.index] = Some(Collector { phase, live, seen, ..self.collector });
        next
    }

    fn announce(&self, phase: Phase, live: Mask, seen: Mask, epoch: Epoch) -> State {
        let mut next = self.to(phase, live, seen);
        next.epochs[self.index] = epoch;
        next
    }

    fn begin(&self) -> Option<State> {
        let runs = self.collector.runs.checked_sub(1)?;
        let mut next = self.state.clone();
        let begun = Collector { phase: Phase::FirstMarkTag1, live: 0, seen: self.state.exists, runs };
        next.collectors[self.index] = Some(begun);
        Some(next)
    }

    /// What the tag in `slot` keeps.
    fn tagged(&self, slot: usize) -> Mask {
        if self.state.tags[slot] { closure(INDEX, self.state.exists, self.rules) } else { 0 }
    }

    /// What `thing` keeps because this epoch did not condemn it.
    fn not_condemned(&self, thing: Mask) -> Mask {
        if self.rules.has(Mutant::OnlyTagsAreRoots) || self.epoch.condemned & thing != 0 {
            return 0;
        }
        closure(thing, self.state.exists, self.rules)
    }

    fn work(&self) -> Option<State> {
        let Collector { live, seen, .. } = self.collector;
        let epoch = self.epoch;
        Some(match self.collector.phase {
            Phase::FirstMarkTag1 => self.to(Phase::FirstMarkTag2, self.tagged(0), seen),
            Phase::FirstMarkTag2 => self.to(Phase::Announce, live | self.tagged(1), seen),
            Phase::Announce => self.condemn(seen & !live),
            Phase::SecondMarkTag1 => self.to(Phase::SecondMarkTag2, self.tagged(0), 0),
            Phase::SecondMarkTag2 => self.to(Phase::SecondMarkChild, live | self.tagged(1), 0),
            Phase::SecondMarkChild => self.to(Phase::SecondMarkIndex, live | self.not_condemned(CHILD), 0),
            Phase::SecondMarkIndex => self.to(Phase::SecondMarkSignature, live | self.not_condemned(INDEX), 0),
            Phase::SecondMarkSignature => self.to(Phase::SecondMarkLink, live | self.not_condemned(SIGNATURE), 0),
            Phase::SecondMarkLink => {
                let early = self.rules.has(Mutant::RevivesListedBeforeClosing);
                let phase = if early { Phase::ListRevivesEarly } else { Phase::Close };
                self.to(phase, live | self.not_condemned(LINK), 0)
            }
            Phase::ListRevivesEarly => self.to(Phase::Close, live, epoch.revived),
            Phase::Close => {
                let early = self.rules.has(Mutant::RevivesListedBeforeClosing);
                let phase = if early { Phase::Verdict } else { Phase::ListRevives };
                self.announce(phase, live, seen, Epoch { closed: true, ..epoch })
            }
            Phase::ListRevives => self.to(Phase::Verdict, live, epoch.revived),
            Phase::Verdict => {
                let direct = self.rules.has(Mutant::NoClosureOverRevived);
                let revived = if direct { seen } else { closure(seen, self.state.exists, self.rules) };
                let doomed = epoch.condemned & !(live | revived);
                self.announce(Phase::Delete, 0, doomed, Epoch { verdict: doomed, ..epoch })
            }
            Phase::Delete => self.delete(),
            Phase::Confirm => {
                let mine = if epoch.verdict == UNDECIDED { 0 } else { epoch.verdict };
                let careless =
                    self.rules.has(Mutant::LateDeletesNotWaitedOut) || self.rules.has(Mutant::OneMarkThenDelete);
                if !careless && self.state.pending & mine != 0 {
                    return None;
                }
                self.to(Phase::Retire, 0, 0)
            }
            Phase::Retire => self.announce(Phase::Idle, 0, 0, epoch.after_retirement()),
            Phase::Idle | Phase::Recover => return None,
        })
    }

    fn condemn(&self, condemned: Mask) -> State {
        let (kept, swept) = if self.rules.has(Mutant::LinksNotCondemned) { (LINK, condemned & LINK) } else { (0, 0) };
        let condemned = condemned & !kept;
        if condemned == 0 && swept == 0 {
            return self.to(Phase::Idle, 0, 0);
        }
        if self.rules.has(Mutant::OneMarkThenDelete) {
            return self.to(Phase::Delete, 0, condemned);
        }
        let skip = self.rules.has(Mutant::NoSecondMark);
        let phase = if skip { Phase::Close } else { Phase::SecondMarkTag1 };
        let mut next = self.announce(phase, 0, 0, Epoch { listed: true, condemned, ..self.epoch });
        // As if links were thought too cheap for the protocol.
        next.pending |= swept;
        next
    }

    /// Asks for the deletion of one more doomed thing, manifests before links before content.
    fn delete(&self) -> State {
        let doomed = self.collector.seen & self.state.exists & !self.state.pending;
        let Some(thing) = [INDEX, SIGNATURE, CHILD, LINK, LAYER].into_iter().find(|thing| doomed & thing != 0) else {
            return self.to(Phase::Confirm, 0, 0);
        };
        let mut next = self.to(Phase::Delete, 0, self.collector.seen & !thing);
        next.pending |= thing;
        next
    }

    fn recover(&self) -> State {
        let epoch = self.epoch;
        match (epoch.listed, epoch.closed, epoch.verdict) {
            (false, ..) => self.to(Phase::Idle, 0, 0),
            (true, false, _) => self.announce(Phase::Idle, 0, 0, epoch.after_retirement()),
            (true, true, UNDECIDED) => self.announce(Phase::Confirm, 0, 0, Epoch { verdict: 0, ..epoch }),
            (true, true, verdict) => self.to(Phase::Delete, 0, verdict),
        }
    }
}
