//! Where a configuration comes from: a file somebody named, a file at a known place, or the built-in defaults.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::ConfigError;

/// Files larger than this are not configurations.
const MAX_BYTES: u64 = 1024 * 1024;

/// Where the images of distribution 3.x and 2.8 keep their file.
const KNOWN_PATHS: [&str; 2] = ["/etc/distribution/config.yml", "/etc/docker/registry/config.yml"];

/// Read like a file, so that variables can change any of it.
const BUILT_IN: &str = "\
version: 0.1
storage:
  filesystem:
    rootdirectory: ./registry-data
http:
  addr: 127.0.0.1:5000
";

/// Where a configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// No file was named or found: content in `./registry-data`, listening on loopback only.
    BuiltIn,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::BuiltIn => f.write_str("built-in defaults"),
        }
    }
}

impl Source {
    /// The text. A file is read up to a limit that no configuration reaches.
    pub(super) fn read(&self) -> Result<String, ConfigError> {
        let Self::File(path) = self else { return Ok(BUILT_IN.to_owned()) };
        let read = || {
            let mut bytes = Vec::new();
            File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|source| ConfigError::Read { path: path.clone(), source })?;
        if u64::try_from(bytes.len()).map_or(true, |length| length > MAX_BYTES) {
            return Err(ConfigError::TooLarge { path: path.clone(), limit: MAX_BYTES });
        }
        String::from_utf8(bytes).map_err(|error| {
            let offset = error.utf8_error().valid_up_to();
            ConfigError::NotText { path: path.clone(), offset }
        })
    }
}

/// Which configuration to load: the one named on the command line, the one in `REGISTRY_CONFIGURATION_PATH`,
/// `/etc/distribution/config.yml`, `/etc/docker/registry/config.yml`, or else the built-in defaults.
///
/// A file that somebody named is not looked for here, so that loading it says when it is missing.
pub fn find_path(argument: Option<PathBuf>, environment: impl IntoIterator<Item = (String, String)>) -> Source {
    find_among(&KNOWN_PATHS.map(Path::new), argument, environment)
}

fn find_among(
    known: &[&Path],
    argument: Option<PathBuf>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Source {
    let from_variable = || {
        let named = |(name, path): &(String, String)| name == "REGISTRY_CONFIGURATION_PATH" && !path.is_empty();
        environment.into_iter().find(named).map(|(_, path)| PathBuf::from(path))
    };
    let at_known_place = || known.iter().find(|path| path.is_file()).map(|path| path.to_path_buf());
    argument.or_else(from_variable).or_else(at_known_place).map_or(Source::BuiltIn, Source::File)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_naming_wins() {
        let directory = tempfile::tempdir().unwrap();
        let existing = directory.path().join("config.yml");
        std::fs::write(&existing, "").unwrap();
        let missing = directory.path().join("missing.yml");
        let known = [missing.as_path(), existing.as_path()];
        let variable = |value: &str| [("REGISTRY_CONFIGURATION_PATH".to_owned(), value.to_owned())];
        let file = |path: &str| Source::File(PathBuf::from(path));

        assert_eq!(find_among(&known, Some("a.yml".into()), variable("b.yml")), file("a.yml"));
        assert_eq!(find_among(&known, None, variable("b.yml")), file("b.yml"));
        assert_eq!(find_among(&known, None, variable("")), Source::File(existing.clone()));
        assert_eq!(find_among(&known[..1], None, []), Source::BuiltIn);
    }

    #[test]
    fn what_is_no_configuration_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let source = |name: &str, bytes: &[u8]| {
            let path = directory.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            Source::File(path)
        };
        let large = source("large", &vec![b'#'; 1024 * 1024 + 1]).read();
        assert!(matches!(large, Err(ConfigError::TooLarge { .. })), "{large:?}");
        let latin = source("latin", b"a: \xe9\n").read();
        assert!(matches!(latin, Err(ConfigError::NotText { offset: 3, .. })), "{latin:?}");
        let folder = Source::File(directory.path().to_owned()).read();
        assert!(matches!(folder, Err(ConfigError::Read { .. })), "{folder:?}");
        assert!(source("largest", &vec![b'#'; 1024 * 1024]).read().is_ok());
    }
}
