//! Who works on an epoch, and whether it is certain that they have died.
//!
//! Certain is only what this machine can see of a process of its own: the same start of the machine, the same view of
//! processes, and no such process any more. Of others it is known that they live only as long as their sign changes.

use serde::{Deserialize, Serialize};

/// A collector, as it signs its epochs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    process: Process,
    /// Tells collectors of one process apart.
    instance: String,
    /// Counts the signs of life.
    pub(super) beat: u64,
}

/// A process, as far as it can be told apart from every other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Process {
    /// The running of the machine; empty where that cannot be known.
    boot: String,
    /// The view of processes that its number belongs to.
    namespace: String,
    number: u32,
    /// When it was started, in ticks since the machine was.
    started: String,
}

/// What is known of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// It is the one that asks.
    Mine,
    /// Its process is gone.
    Over,
    /// It lives, or nobody here can tell.
    Unknown,
}

impl Owner {
    /// This process, under a name of its own.
    pub(super) fn new() -> Self {
        let number = std::process::id();
        let namespace = std::fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string());
        let process = Process {
            boot: boot(),
            namespace: namespace.unwrap_or_default(),
            number,
            started: started(number).unwrap_or_default(),
        };
        Self { process, instance: uuid::Uuid::new_v4().to_string(), beat: 0 }
    }

    /// What is known of the owner that signed with `sign`.
    pub(super) fn life_of(&self, sign: &[u8]) -> Life {
        let Ok(other) = serde_json::from_slice::<Self>(sign) else { return Life::Unknown };
        if other.process == self.process {
            return if other.instance == self.instance { Life::Mine } else { Life::Unknown };
        }
        let (mine, theirs) = (&self.process, &other.process);
        let visible = !mine.boot.is_empty() && mine.boot == theirs.boot && mine.namespace == theirs.namespace;
        if !visible || mine.namespace.is_empty() || theirs.started.is_empty() {
            return Life::Unknown;
        }
        if started(theirs.number).as_ref() == Some(&theirs.started) { Life::Unknown } else { Life::Over }
    }

    /// The sign to leave.
    pub(super) fn sign(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// When the process `number` was started; `None` when there is none, or it has ended and only waits to be noticed.
fn started(number: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    // The name of the program stands in parentheses and may contain anything.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18).map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_knows_itself_and_not_its_neighbour_in_the_same_process() {
        let (one, two) = (Owner::new(), Owner::new());
        assert_eq!(one.life_of(&one.sign()), Life::Mine);
        assert_eq!(one.life_of(&two.sign()), Life::Unknown);
        assert_eq!(one.life_of(b""), Life::Unknown);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_that_ended_is_known_to_be_over_and_only_here() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let mut gone = Owner::new();
        gone.process.number = child.id();
        gone.process.started = "1".to_owned();
        child.wait().unwrap();
        let me = Owner::new();
        assert_eq!(me.life_of(&gone.sign()), Life::Over);
        gone.process.boot = "another machine".to_owned();
        assert_eq!(me.life_of(&gone.sign()), Life::Unknown);
    }
}
