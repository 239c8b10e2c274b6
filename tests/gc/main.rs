//! The protocol of collection as a model, every state of which is visited: no acknowledged push is ever incomplete, no
//! writer waits for ever, garbage does go; and each deviation from the protocol that we could think of loses something.
//!
//! Storage is atomic here, nothing has an age, a collector dies at any step and a delete takes effect at any later time.
//! `BERTH_MODEL=full cargo test --release --test gc` visits more.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::wildcard_imports)]

mod collector;
mod essence;
mod search;
mod state;
mod writer;

use search::{Outcome, Scenario, compare_with_essence, search};
use state::{Kind, Mutant, Order, Rules};

use Kind::{Move, Push, Retag, Sign};

fn thorough() -> bool {
    std::env::var_os("BERTH_MODEL").is_some_and(|bound| bound == "full")
}

fn scenario(writers: &[Kind], collectors: usize, runs: u8) -> Scenario {
    Scenario { writers: writers.to_vec(), collectors, runs }
}

fn with_crashes(order: Order) -> Rules {
    Rules { order, crashes: true, ..Rules::default() }
}

fn without_crashes(order: Order) -> Rules {
    Rules { order, ..Rules::default() }
}

/// Visits every state and says how many there were.
fn assert_safe(scenario: &Scenario, rules: &Rules) -> usize {
    match search(scenario, rules) {
        Outcome::Safe { states, acknowledged, collected, stuck } => {
            println!("{scenario:?} {rules:?}: {states} states");
            assert!(acknowledged > 0, "nothing was ever acknowledged: {scenario:?}");
            // What a tag reaches all the time is no garbage.
            assert!(collected > 0 || scenario.writers.contains(&Move), "garbage never went: {scenario:?}");
            assert_eq!(stuck, 0, "a writer waits for ever: {scenario:?}");
            states
        }
        Outcome::Lost(trace) => panic!("{scenario:?} {rules:?} loses an acknowledged push:\n{}", trace.join("\n")),
    }
}

#[test]
fn no_acknowledged_push_is_lost() {
    let order = Order::AskPublishList;
    let mut states = 0;
    for writer in [Retag, Move, Push] {
        states += assert_safe(&scenario(&[writer], 1, 2), &with_crashes(order));
    }
    for writer in [Retag, Move] {
        states += assert_safe(&scenario(&[writer], 2, 1), &without_crashes(order));
    }
    states += assert_safe(&scenario(&[Retag, Move], 1, 1), &with_crashes(order));
    states += assert_safe(&scenario(&[Sign, Retag], 1, 1), &without_crashes(order));
    println!("{states} states");
}

#[test]
fn the_moment_of_asking_makes_no_difference() {
    for order in [Order::PublishAskList, Order::PublishListAsk] {
        for writer in [Retag, Push] {
            assert_safe(&scenario(&[writer], 1, 1), &with_crashes(order));
        }
    }
}

#[test]
fn what_the_search_forgets_is_never_read() {
    use Mutant::*;
    let order = Order::AskPublishList;
    let mut rules = vec![with_crashes(order), with_crashes(Order::PublishAskList)];
    for mutant in [OneMarkThenDelete, RevivesListedBeforeClosing, LinksNotCondemned] {
        rules.push(Rules { mutants: vec![mutant], order, crashes: false });
    }
    let mut scenarios = vec![scenario(&[Retag], 1, 2), scenario(&[Sign, Retag], 1, 1), scenario(&[Move], 2, 2)];
    if thorough() {
        scenarios.extend([scenario(&[Push], 1, 2), scenario(&[Retag], 2, 1), scenario(&[Push, Retag], 1, 1)]);
    }
    for rules in &rules {
        for scenario in &scenarios {
            let compared = compare_with_essence(scenario, rules);
            assert!(compared.as_ref().is_ok_and(|states| *states > 100), "{scenario:?} {rules:?}: {compared:?}");
        }
    }
}

#[test]
fn many_more_states_when_there_is_time() {
    if !thorough() {
        return;
    }
    let mut states = 0;
    for order in [Order::AskPublishList, Order::PublishAskList] {
        for pair in
            [[Retag, Move], [Push, Retag], [Push, Move], [Push, Push], [Sign, Move], [Sign, Retag], [Sign, Push]]
        {
            states += assert_safe(&scenario(&pair, 1, 1), &with_crashes(order));
            states += assert_safe(&scenario(&pair, 1, 2), &without_crashes(order));
        }
        for writer in [Retag, Move, Push] {
            states += assert_safe(&scenario(&[writer], 2, 2), &without_crashes(order));
            states += assert_safe(&scenario(&[writer], 2, 1), &with_crashes(order));
        }
    }
    println!("{states} states");
    assert!(states >= 10_000_000, "only {states} states were visited");
}

#[test]
fn every_deviation_loses_an_acknowledged_push() {
    use Mutant::*;
    let one = scenario;
    let mutants: [(&[Mutant], &[Scenario]); 13] = [
        (&[OneMarkThenDelete], &[one(&[Retag], 1, 1)]),
        (&[NoSecondMark], &[one(&[Retag], 1, 1), one(&[Push], 1, 1)]),
        (&[OnlyTagsAreRoots, OneLevelOnly], &[one(&[Push], 1, 1)]),
        (&[VerifyBeforePublishing], &[one(&[Retag], 1, 1)]),
        (&[RevivesListedBeforeClosing], &[one(&[Retag], 1, 1), one(&[Push], 1, 1)]),
        (&[NoClosureOverRevived, OneLevelOnly], &[one(&[Retag], 1, 1), one(&[Push], 1, 1)]),
        (&[OneLevelOnly], &[one(&[Push, Push], 1, 1)]),
        (&[WriterDoesNotWait], &[one(&[Retag], 1, 1)]),
        (&[LateDeletesNotWaitedOut], &[one(&[Push], 1, 2)]),
        (&[TagAfterVerification], &[one(&[Retag], 1, 1)]),
        (&[RetiredEpochsUnnoticed], &[one(&[Retag], 1, 2), one(&[Push], 1, 2), one(&[Push, Retag], 1, 1)]),
        (&[ReferrersNotMarked], &[one(&[Sign, Move], 1, 1)]),
        (&[LinksNotCondemned], &[one(&[Push], 1, 1), one(&[Retag], 1, 1)]),
    ];
    for order in [Order::AskPublishList, Order::PublishAskList] {
        for (mutants, scenarios) in &mutants {
            let rules = Rules { mutants: mutants.to_vec(), order, crashes: false };
            let lost = scenarios.iter().any(|scenario| matches!(search(scenario, &rules), Outcome::Lost(_)));
            assert!(lost, "{mutants:?} with {order:?} was not noticed: the model proves nothing about it");
        }
    }
}
