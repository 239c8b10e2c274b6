//! `auth.robots`: names and password hashes of programs, each with the day on which it ends.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::auth::{PasswordHash, Robot};

use super::section::Field;

/// Reads the list. An empty one is a list too: robots may be added to it while the registry serves.
pub(super) fn read(field: &Field<'_>) -> Option<Vec<Robot>> {
    let mut robots: Vec<Robot> = Vec::new();
    for item in field.list()? {
        let Some(robot) = robot(&item) else { continue };
        if robots.iter().any(|known| known.name == robot.name) {
            item.problem(format_args!("a second robot is called {}", robot.name), "give each a name of its own");
        }
        robots.push(robot);
    }
    Some(robots)
}

fn robot(field: &Field<'_>) -> Option<Robot> {
    let section = field.section()?;
    for (key, hint) in [
        ("name", "it is what the robot logs in with, and what rules call it"),
        ("passwordhash", "htpasswd -nB NAME prints it behind the colon"),
        ("expires", "write a day such as 2030-01-31; who is to stay for good belongs into auth.htpasswd"),
    ] {
        if section.field(key).and_then(|field| field.word()).is_none() {
            section.problem(key, "is missing", hint);
        }
    }
    let name = section.get("name", name);
    let hash = section.get("passwordhash", |field| {
        PasswordHash::parse(&field.word()?).map_err(|wanted| field.problem(format_args!("is not {wanted}"), HASH)).ok()
    });
    let expires = section.get("expires", expires);
    section.finish();
    Some(Robot { name: name?, hash: hash?, expires: expires? })
}

const HASH: &str = "never write the password itself; put the hash in quotes, because of its dollar signs";

/// Basic credentials end a name at its first colon.
fn name(field: &Field<'_>) -> Option<String> {
    let name = field.word()?;
    let good = !name.contains(|letter: char| letter == ':' || letter.is_whitespace() || letter.is_control());
    if good { Some(name) } else { field.expected("a name without colons and blanks", "write for example ci-backend") }
}

/// Unix time. A day alone means its beginning in UTC, so that the robot is refused all of that day.
fn expires(field: &Field<'_>) -> Option<i64> {
    let text = field.word()?;
    let day = Date::parse(&text, format_description!("[year]-[month]-[day]"));
    let day = day.map(|day| day.midnight().assume_utc());
    match day.or_else(|_| OffsetDateTime::parse(&text, &Rfc3339)) {
        Ok(time) => Some(time.unix_timestamp()),
        Err(_) => field.expected("a day or a time", "write for example 2030-01-31 or 2030-01-31T18:00:00Z"),
    }
}

#[cfg(test)]
mod tests {
    use crate::auth::{Config, Ways};
    use crate::config::from_text;

    const HASH: &str = "$2y$04$abcdefghijklmnopqrstuu5Lo0g67CiD3M4RpN1BmBb4Crp5w7dbK";

    fn ways(robots: &str) -> Result<Ways, String> {
        let text =
            format!("version: 0.1\nhttp: {{addr: ':1'}}\nstorage: {{inmemory: {{}}}}\nauth: {{robots: {robots}}}\n");
        match from_text(&text, "config.yml", []).map_err(|error| error.to_string())?.0.auth {
            Config::Closed(ways) => Ok(*ways),
            Config::Open => Err("open".to_owned()),
        }
    }

    #[test]
    fn robots_end_when_their_line_says() {
        let lines = format!(
            "[{{name: a, passwordhash: '{HASH}', expires: 2027-01-15}}, {{name: b, passwordhash: '{HASH}', expires: \
             2027-01-15T08:00:00+01:00}}]"
        );
        let robots = ways(&lines).unwrap().robots.unwrap();
        let read: Vec<_> = robots.iter().map(|robot| (robot.name.as_str(), robot.expires)).collect();
        assert_eq!(read, [("a", 1_799_971_200), ("b", 1_799_996_400)]);
        assert!(!format!("{robots:?}").contains("$2y"), "hashes are not shown");
    }

    #[test]
    fn an_empty_list_closes_the_registry_too() {
        assert_eq!(ways("[]").unwrap().robots, Some(Vec::new()));
    }

    #[test]
    fn mistakes_are_told_with_their_way_out() {
        let hash = format!("passwordhash: '{HASH}'");
        for (line, told) in [
            (format!("name: a, {hash}"), "auth.robots[0].expires: is missing"),
            ("name: a, expires: 2027-01-15".to_owned(), "passwordhash: is missing"),
            ("name: a, passwordhash: secret, expires: 2027-01-15".to_owned(), "is not a bcrypt hash"),
            (format!("name: 'a:b', {hash}, expires: 2027-01-15"), "a name without colons"),
            (format!("name: a, {hash}, expires: tomorrow"), "a day or a time"),
            (format!("name: a, {hash}, expires: 2027-02-30"), "a day or a time"),
        ] {
            let error = ways(&format!("[{{{line}}}]")).unwrap_err();
            assert!(error.contains(told) && !error.contains("secret"), "{line}: {error}");
        }
        let twice = format!("[{{name: a, {hash}, expires: 2027-01-15}}, {{name: a, {hash}, expires: 2028-01-15}}]");
        assert!(ways(&twice).unwrap_err().contains("a second robot is called a"));
    }
}
