//! `auth.token.server`: the token server in this program, with defaults for all that `auth.token` otherwise must say.

use std::time::Duration;

use crate::auth::TokenServerConfig;

use super::section::{Field, Section};

/// Whom tokens are for, and who issues them, when nothing is said: the same words for all replicas.
pub(super) const NAME: &str = "registry";

/// How long a token is good.
const EXPIRATION: Duration = Duration::from_mins(5);

/// How long a refresh token is good.
const REFRESH_EXPIRATION: Duration = Duration::from_hours(90 * 24);

/// Below this clients take a token for good that is not: they assume a minute at least.
const SHORTEST: Duration = Duration::from_mins(1);

/// Above this a token outlives its user's right to it by too long; `registry token mint` makes such on purpose.
const LONGEST: Duration = Duration::from_hours(24);

/// Reads the section, whose server answers at `path`.
pub(super) fn read(section: &Section<'_>, path: String) -> Option<TokenServerConfig> {
    let server = section.present("server")?.section()?;
    let key = server.get("key", Field::path);
    if key.is_none() {
        let hint = "name a file for the key that signs; it is made when it does not exist, and replicas share it";
        server.problem("key", "is missing", hint);
    }
    let expiration = server.get("expiration", expiration).unwrap_or(EXPIRATION);
    let refresh_expiration = server.get("refreshexpiration", Field::duration).unwrap_or(REFRESH_EXPIRATION);
    server.finish();
    Some(TokenServerConfig { key: key?, path, expiration, refresh_expiration })
}

fn expiration(field: &Field<'_>) -> Option<Duration> {
    let duration = field.duration()?;
    if (SHORTEST..=LONGEST).contains(&duration) {
        return Some(duration);
    }
    field.expected(
        "a duration from 1m to 24h",
        "leave the key out for 5m; registry token mint makes longer ones by hand",
    )
}
