//! `registry user`: the users of an htpasswd file. Passwords are read from stdin, so that no list of processes shows them.

use std::io::{BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

/// What to do with the file.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a user, or change a user's password; the password is the first line of stdin
    Add {
        /// The htpasswd file; made when it does not exist
        file: PathBuf,
        /// The user's name
        user: String,
    },
    /// Remove a user
    Remove {
        /// The htpasswd file
        file: PathBuf,
        /// The user's name
        user: String,
    },
    /// List the users
    List {
        /// The htpasswd file
        file: PathBuf,
    },
}

/// Carries out `command`.
pub(super) fn run(command: Command) -> ExitCode {
    match carry_out(command) {
        Ok(said) => {
            print!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => super::failed(&error),
    }
}

fn carry_out(command: Command) -> Result<String, String> {
    match command {
        Command::Add { file, user } => {
            let name_is_good = !user.is_empty() && !user.starts_with('#') && !user.contains([':', '\n', '\r']);
            if !name_is_good || user.trim() != user {
                return Err("a user's name is not empty, does not begin with # and has no colon in it".to_owned());
            }
            let hash = crate::auth::hash_password(&password()?)?;
            let text = read(&file).or_else(|error| if file.exists() { Err(error) } else { Ok(String::new()) })?;
            write(&file, &(without(&text, &user) + &format!("{user}:{hash}\n")))?;
            Ok(format!("{user} can log in now\n"))
        }
        Command::Remove { file, user } => {
            let text = read(&file)?;
            let rest = without(&text, &user);
            if rest.len() == text.len() {
                return Err(format!("{} has no user {user}; registry user list shows who is there", file.display()));
            }
            write(&file, &rest)?;
            Ok(format!("{user} can no longer log in\n"))
        }
        Command::List { file } => {
            let text = read(&file)?;
            let names = text.lines().filter_map(name_on).fold(String::new(), |list, name| list + name + "\n");
            Ok(names)
        }
    }
}

fn password() -> Result<String, String> {
    eprintln!("Password (read from stdin, shown as typed):");
    let mut line = String::new();
    // bcrypt takes 72 bytes; what is longer is refused below rather than read to its end.
    let mut input = std::io::stdin().lock().take(1024);
    input.read_line(&mut line).map_err(|error| format!("the password cannot be read from stdin: {error}"))?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        Err("the password is empty; write it as the first line of stdin".to_owned())
    } else {
        Ok(password.to_owned())
    }
}

fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

/// Puts the new content in the old one's place at once, so that a registry never reads half of it.
fn write(file: &Path, text: &str) -> Result<(), String> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let failed = |error: std::io::Error| format!("{}: {error}", file.display());
    let _ = std::fs::remove_file(&beside);
    let mut new = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(failed)?;
    if let Ok(old) = std::fs::metadata(file) {
        new.set_permissions(old.permissions()).map_err(failed)?;
    }
    new.write_all(text.as_bytes()).and_then(|()| new.sync_all()).map_err(failed)?;
    std::fs::rename(&beside, file).map_err(failed)
}

/// The lines that are not about `user`.
fn without(text: &str, user: &str) -> String {
    let mut rest = String::new();
    for line in text.lines().filter(|line| name_on(line) != Some(user)) {
        rest.push_str(line);
        rest.push('\n');
    }
    rest
}

/// The user that a line is about.
fn name_on(line: &str) -> Option<&str> {
    let line = line.trim();
    line.split_once(':').map(|(name, _)| name).filter(|_| !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_listed_and_removed_and_the_rest_stays() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("htpasswd");
        write(&file, "# people\nalice:x\nbob:y\n\nalice:z\n").unwrap();
        assert_eq!(carry_out(Command::List { file: file.clone() }).unwrap(), "alice\nbob\nalice\n");
        carry_out(Command::Remove { file: file.clone(), user: "alice".to_owned() }).unwrap();
        assert_eq!(read(&file).unwrap(), "# people\nbob:y\n\n");
        let error = carry_out(Command::Remove { file: file.clone(), user: "alice".to_owned() }).unwrap_err();
        assert!(error.contains("no user alice"), "{error}");
    }

    #[test]
    fn names_that_the_file_cannot_hold_are_refused() {
        for user in ["", "a:b", "#a", " a", "a\nb"] {
            let command = Command::Add { file: "/nonexistent".into(), user: user.to_owned() };
            assert!(carry_out(command).unwrap_err().contains("name"), "{user}");
        }
    }
}
