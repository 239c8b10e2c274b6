//! Public keys as JSON (RFC 7517, 7518 §6, 8037 §2). Pure.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::key::{Curve, Material};

/// A key as written. Keys of kinds that are not known here are read too, and give no [`Material`].
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Jwk {
    pub(super) kty: String,
    #[serde(default)]
    pub(super) kid: Option<String>,
    #[serde(default)]
    pub(super) x5c: Option<Vec<String>>,
    /// `sig` when it may verify; `enc` when it may not.
    #[serde(default, rename = "use")]
    pub(super) usage: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
}

/// A list of keys.
#[derive(Debug, Deserialize)]
pub(super) struct JwkSet {
    pub(super) keys: Vec<Jwk>,
}

impl Jwk {
    /// The key itself, if it is one that can verify.
    pub(super) fn material(&self) -> Option<Material> {
        let part = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
        match self.kty.as_str() {
            "RSA" => Some(Material::rsa(&part(&self.n)?, &part(&self.e)?)),
            "EC" => {
                let curve = Curve::named(self.crv.as_deref()?)?;
                Material::ec(curve, &part(&self.x)?, &part(&self.y)?)
            }
            "OKP" if self.crv.as_deref() == Some("Ed25519") => Material::ed25519(&part(&self.x)?),
            _ => None,
        }
    }
}
