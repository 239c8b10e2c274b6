//! What the steps to come can still read of a state. States that differ only in the rest are one: whatever follows one of
//! them follows the other, so that a search visits them once.

use super::state::*;

/// `state` with everything forgotten that no later step and no verdict of the search reads.
pub(crate) fn essence(mut state: State) -> State {
    state.writers.iter_mut().flatten().for_each(forget_what_was_done);
    for index in 0..2 {
        forget_ends(&mut state, index);
        let epoch = &mut state.epochs[index];
        let Some(collector) = &mut state.collectors[index] else { continue };
        match collector.phase {
            Phase::FirstMarkTag1 | Phase::FirstMarkTag2 | Phase::Announce => collector.live &= collector.seen,
            // The marks of an epoch decide about what it condemned and nothing else.
            _ => collector.live &= epoch.condemned,
        }
        if matches!(collector.phase, Phase::Verdict | Phase::Delete | Phase::Confirm | Phase::Retire | Phase::Recover) {
            // It was listed, or whoever succeeds decides without it.
            epoch.revived = 0;
        }
    }
    state
}

/// Whether the writer compares ends of epochs with those of its first listing later on.
fn compares_ends(writer: &Writer) -> bool {
    !matches!(writer.step, Step::Upload | Step::ListFirst | Step::Acknowledge | Step::DeleteOldTag | Step::End)
}

fn forget_what_was_done(writer: &mut Writer) {
    if !compares_ends(writer) {
        writer.retired = [0; 2];
    }
    if writer.step == Step::End {
        // Only what it was told counts.
        *writer = Writer { stage: 0, concerned: 0, settled: 0, retries: 0, subject_stood: false, ..*writer };
    }
}

/// How many epochs ended counts only since the listing of the writer that listed first; what the last of them removed, only
/// for a writer that saw all but that one.
fn forget_ends(state: &mut State, index: usize) {
    let ended = state.epochs[index].retired;
    let listings = || state.writers.iter().flatten().filter(|writer| compares_ends(writer));
    let first = listings().map(|writer| writer.retired[index]).min().unwrap_or(ended);
    let one_missed = listings().any(|writer| ended - writer.retired[index] == 1);
    let epoch = &mut state.epochs[index];
    epoch.retired -= first;
    if !one_missed {
        epoch.swept = 0;
    }
    for writer in state.writers.iter_mut().flatten().filter(|writer| compares_ends(writer)) {
        writer.retired[index] -= first;
    }
}
