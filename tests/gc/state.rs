//! What the model knows: which things exist, what the writers and collectors have announced, and where each of them is.
//!
//! Things are bits of a mask. `LAYER` is a layer's content, `LINK` its link in the repository, `CHILD` a manifest that
//! refers to it, `INDEX` an index of that manifest, `SIGNATURE` a manifest whose subject is the index.

/// A set of things.
pub(crate) type Mask = u8;
pub(crate) const LAYER: Mask = 1;
pub(crate) const CHILD: Mask = 2;
pub(crate) const INDEX: Mask = 4;
pub(crate) const LINK: Mask = 8;
pub(crate) const SIGNATURE: Mask = 16;
/// What an image consists of.
pub(crate) const IMAGE: Mask = LAYER | CHILD | INDEX | LINK;

/// No verdict was published yet.
pub(crate) const UNDECIDED: Mask = 0x80;

/// One deviation from the protocol. Each must lead to a loss somewhere, or the model would prove nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mutant {
    OneMarkThenDelete,
    NoSecondMark,
    OnlyTagsAreRoots,
    OneLevelOnly,
    VerifyBeforePublishing,
    RevivesListedBeforeClosing,
    NoClosureOverRevived,
    WriterDoesNotWait,
    LateDeletesNotWaitedOut,
    TagAfterVerification,
    RetiredEpochsUnnoticed,
    ReferrersNotMarked,
    LinksNotCondemned,
}

/// A correct variant of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Order {
    /// Publish, ask whether the parts exist, list the epochs.
    #[default]
    PublishAskList,
    /// Ask, publish, list the epochs: what the code does, because it asks before it publishes anyway.
    AskPublishList,
    /// Publish, list, ask.
    PublishListAsk,
}

/// The rules of one run.
#[derive(Clone, Default, Debug)]
pub(crate) struct Rules {
    pub(crate) mutants: Vec<Mutant>,
    pub(crate) order: Order,
    /// A collector may die at any step and be succeeded.
    pub(crate) crashes: bool,
}

impl Rules {
    pub(crate) fn has(&self, mutant: Mutant) -> bool {
        self.mutants.contains(&mutant)
    }
}

/// What one collector has announced.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Epoch {
    pub(crate) listed: bool,
    pub(crate) condemned: Mask,
    pub(crate) revived: Mask,
    pub(crate) closed: bool,
    pub(crate) verdict: Mask,
    /// Epochs that this collector has retired; writers see them in the same listing.
    pub(crate) retired: u8,
    /// What the last of them removed; their ends say so.
    pub(crate) swept: Mask,
}

impl Epoch {
    pub(crate) const NONE: Self =
        Self { listed: false, condemned: 0, revived: 0, closed: false, verdict: UNDECIDED, retired: 0, swept: 0 };

    pub(crate) fn after_retirement(self) -> Self {
        let swept = if self.verdict == UNDECIDED { 0 } else { self.verdict };
        Self { retired: self.retired + 1, swept, ..Self::NONE }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Kind {
    /// Everything lies there untagged; the index is put again under a tag.
    Retag,
    /// The index moves from the tag that is read last to the one that is read first.
    Move,
    /// The layer lies there as garbage; layer, child and index are pushed.
    Push,
    /// A signature of the index is pushed.
    Sign,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Step {
    Upload,
    ListFirst,
    Ask,
    Publish,
    Tag,
    ListAgain,
    Revive,
    CheckClosed,
    TagLate,
    Acknowledge,
    DeleteOldTag,
    End,
}

/// A client that pushes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Writer {
    pub(crate) kind: Kind,
    /// What is being put: `CHILD`, `INDEX` or `SIGNATURE`.
    pub(crate) stage: Mask,
    pub(crate) step: Step,
    /// How many epochs each collector had retired at the first listing.
    pub(crate) retired: [u8; 2],
    /// Collectors whose epochs concern this push, and those of them that are settled.
    pub(crate) concerned: u8,
    pub(crate) settled: u8,
    pub(crate) retries: u8,
    /// The subject was promised to somebody before the signature was put.
    pub(crate) subject_stood: bool,
    pub(crate) acknowledged: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Phase {
    Idle,
    FirstMarkTag1,
    FirstMarkTag2,
    Announce,
    SecondMarkTag1,
    SecondMarkTag2,
    SecondMarkChild,
    SecondMarkIndex,
    SecondMarkSignature,
    SecondMarkLink,
    ListRevivesEarly,
    Close,
    ListRevives,
    Verdict,
    Delete,
    Confirm,
    Retire,
    Recover,
}

/// A run of garbage collection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Collector {
    pub(crate) phase: Phase,
    pub(crate) live: Mask,
    pub(crate) seen: Mask,
    pub(crate) runs: u8,
}

/// Everything.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct State {
    pub(crate) exists: Mask,
    pub(crate) tags: [bool; 2],
    /// Deletes on their way, which take effect at any later time.
    pub(crate) pending: Mask,
    pub(crate) epochs: [Epoch; 2],
    pub(crate) writers: [Option<Writer>; 2],
    pub(crate) collectors: [Option<Collector>; 2],
}

/// `mask` and everything that its members need, as far as it exists; the signature is needed by its subject.
pub(crate) fn closure(mask: Mask, exists: Mask, rules: &Rules) -> Mask {
    let mut reached = mask & exists;
    loop {
        let mut next = reached;
        if reached & CHILD != 0 {
            next |= LAYER | LINK;
        }
        if reached & INDEX != 0 {
            next |= CHILD;
            if !rules.has(Mutant::ReferrersNotMarked) {
                next |= SIGNATURE;
            }
        }
        if reached & SIGNATURE != 0 {
            // The subject's digest stands in the signature's bytes.
            next |= INDEX;
        }
        if reached & LINK != 0 {
            next |= LAYER;
        }
        next &= exists;
        if next == reached {
            return reached;
        }
        reached = next;
    }
}

impl State {
    pub(crate) fn retired(&self) -> [u8; 2] {
        self.epochs.map(|epoch| epoch.retired)
    }

    pub(crate) fn with_writer(&self, index: usize, change: impl FnOnce(&mut Writer)) -> Self {
        let mut state = self.clone();
        if let Some(writer) = &mut state.writers[index] {
            change(writer);
        }
        state
    }

    /// Somebody was told that a tag points to the index: an acknowledged push, or whoever tagged what is moved here.
    pub(crate) fn subject_is_promised(&self) -> bool {
        self.writers.iter().flatten().any(|writer| match writer.kind {
            Kind::Move => true,
            Kind::Retag | Kind::Push => writer.acknowledged,
            Kind::Sign => false,
        })
    }

    /// An acknowledged push whose tag stands and that is not whole.
    pub(crate) fn is_lost(&self) -> bool {
        self.writers.iter().flatten().any(|writer| {
            writer.acknowledged
                && match writer.kind {
                    Kind::Move => self.tags[0] && self.exists & IMAGE != IMAGE,
                    Kind::Retag | Kind::Push => self.tags[1] && self.exists & IMAGE != IMAGE,
                    Kind::Sign => self.tags != [false; 2] && self.exists & SIGNATURE == 0,
                }
        })
    }
}
