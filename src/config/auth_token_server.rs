//! `auth.token.server`: the token server in this program, with defaults for all that `auth.token` otherwise must say.

use std::time::Duration;

use crate::auth::TokenServerConfig;

use super::section::{Field, Section};

/// Whom tokens are for, and who issues them, when nothing is said: the same words for all replicas.
pub(crate) const NAME: &str = "registry";

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Config, RealmConfig, TokenConfig};

    fn token(more: &str) -> TokenConfig {
        let text = format!(
            "version: 0.1\nstorage: inmemory\nhttp: {{addr: ':5000'}}\nauth:\n  htpasswd: {{realm: r, path: /htpasswd}}\n  \
             token:\n    server: {{key: /key.pem{more}\n"
        );
        let (config, warnings) = super::super::from_text(&text, "config.yml", []).unwrap();
        assert_eq!(warnings, [], "{text}");
        let Config::Closed(ways) = config.auth else { panic!("{text}") };
        ways.token.unwrap()
    }

    #[test]
    fn a_key_is_all_that_must_be_said() {
        let least = token("}");
        assert_eq!(least.realm, RealmConfig::Own("/auth/token".to_owned()));
        assert_eq!((&*least.service, &*least.issuer), ("registry", "registry"));
        let server = least.server.unwrap();
        assert_eq!((server.expiration, server.refresh_expiration), (EXPIRATION, REFRESH_EXPIRATION));
        assert_eq!((server.key.to_str(), &*server.path), (Some("/key.pem"), "/auth/token"));
    }

    #[test]
    fn everything_can_be_said() {
        let more = ", expiration: 1h, refreshexpiration: 0s}\n    autoredirect: true\n    autoredirectpath: /t\n    \
                    service: s\n    issuer: i\n    jwks: /j";
        let all = token(more);
        assert_eq!(all.realm, RealmConfig::Own("/t".to_owned()));
        assert_eq!((&*all.service, &*all.issuer, all.jwks.is_some()), ("s", "i", true));
        let server = all.server.unwrap();
        assert_eq!((server.expiration, server.refresh_expiration), (Duration::from_hours(1), Duration::ZERO));
        assert_eq!(server.path, "/t");
        let elsewhere = token("}\n    realm: https://r.example/auth/token");
        assert_eq!(elsewhere.realm, RealmConfig::Fixed("https://r.example/auth/token".to_owned()));
    }
}
