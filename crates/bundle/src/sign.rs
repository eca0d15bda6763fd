//! Keys, signatures and trust. A bundle's signature is ed25519 over the exact bytes of its manifest, checked
//! strictly (no malleable forms); who is trusted, and from which version on, is configuration.

use crate::error::BundleError;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// A text is not a usable key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not 64 hexadecimal digits.
    #[error("a key has 64 hexadecimal digits")]
    Form,
    /// Not a point that can have signed anything.
    #[error("`{0}` is not a usable ed25519 public key")]
    Point(String),
}

/// A public key: 32 bytes, shown as hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Checks and wraps 32 bytes.
    ///
    /// # Errors
    /// When they are no point, or a weak one (small order), under which anything would verify.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let refuse = || KeyError::Point(hex::encode(bytes));
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| refuse())?;
        if key.is_weak() {
            Err(refuse())
        } else {
            Ok(Self(key))
        }
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(&key_bytes(text)?)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

fn key_bytes(text: &str) -> Result<[u8; 32], KeyError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| KeyError::Form)?;
    Ok(bytes)
}

/// A signing key. Its text is 64 hexadecimal digits (the seed); `Debug` shows only the public half.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key of a seed of 32 random bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs the exact bytes of a manifest.
    #[must_use]
    pub fn sign(&self, manifest: &[u8]) -> Signature {
        Signature {
            key: self.0.verifying_key().to_bytes(),
            signature: self.0.sign(manifest).to_bytes(),
        }
    }
}

impl FromStr for SecretKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        Ok(Self::from_seed(&key_bytes(text)?))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

/// The content of a signature file: one line, `ed25519 KEY SIGNATURE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    key: [u8; 32],
    signature: [u8; 64],
}

impl Signature {
    /// Checks that a trusted key signed exactly these bytes.
    ///
    /// # Errors
    /// [`BundleError::UntrustedKey`] or [`BundleError::BadSignature`].
    pub fn verify(&self, manifest: &[u8], trust: &Trust) -> Result<(), BundleError> {
        let untrusted = || BundleError::UntrustedKey {
            key: hex::encode(self.key),
        };
        if !trust.keys.contains(&self.key) {
            return Err(untrusted());
        }
        let key = PublicKey::from_bytes(&self.key).map_err(|_| untrusted())?;
        let signature = ed25519_dalek::Signature::from_bytes(&self.signature);
        key.0
            .verify_strict(manifest, &signature)
            .map_err(|_| BundleError::BadSignature)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "ed25519 {} {}",
            hex::encode(self.key),
            hex::encode(self.signature)
        )
    }
}

impl FromStr for Signature {
    type Err = BundleError;
    fn from_str(text: &str) -> Result<Self, BundleError> {
        let mut words = text.split_ascii_whitespace();
        let mut read = Self {
            key: [0; 32],
            signature: [0; 64],
        };
        let three = [words.next(), words.next(), words.next(), words.next()];
        let [Some("ed25519"), Some(key), Some(signature), None] = three else {
            return Err(BundleError::SignatureFormat);
        };
        hex::decode_to_slice(key, &mut read.key).map_err(|_| BundleError::SignatureFormat)?;
        hex::decode_to_slice(signature, &mut read.signature)
            .map_err(|_| BundleError::SignatureFormat)?;
        Ok(read)
    }
}

/// What stands in the configuration is neither a key nor a bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// A bound on versions is not `NAME=VERSION`.
    #[error("setting `min-bundle`: `{0}` is not NAME=VERSION with a whole number")]
    Bound(String),
    /// A key is none.
    #[error("setting `trusted-key`: `{text}`")]
    Key {
        /// As configured.
        text: String,
        /// What is wrong with it.
        source: KeyError,
    },
}

/// Whose bundles are accepted, and from which version on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    keys: BTreeSet<[u8; 32]>,
    lowest: BTreeMap<String, u64>,
}

impl Trust {
    /// Trust in these keys, with no bound on versions yet.
    pub fn new(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        Self {
            keys: keys.into_iter().map(|key| key.0.to_bytes()).collect(),
            lowest: BTreeMap::new(),
        }
    }

    /// Refuses versions of `name` below `version`; the highest of several bounds holds.
    #[must_use]
    pub fn with_lowest(mut self, name: impl Into<String>, version: u64) -> Self {
        let bound = self.lowest.entry(name.into()).or_insert(version);
        *bound = version.max(*bound);
        self
    }

    /// Reads keys (hex) and bounds (`NAME=VERSION`) as they stand in configuration.
    ///
    /// # Errors
    /// When one is not of its form.
    pub fn configured(keys: &[String], bounds: &[String]) -> Result<Self, TrustError> {
        let key = |text: &String| {
            text.parse::<PublicKey>().map_err(|source| TrustError::Key {
                text: text.clone(),
                source,
            })
        };
        let keys = keys.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        Self::new(keys).with_bounds(bounds)
    }

    /// Reads bounds (`NAME=VERSION`) as they stand in configuration.
    ///
    /// # Errors
    /// When one is not of that form.
    pub fn with_bounds(self, bounds: &[String]) -> Result<Self, TrustError> {
        bounds
            .iter()
            .try_fold(self, |trust, text| trust.with_bound(text))
    }

    fn with_bound(self, text: &str) -> Result<Self, TrustError> {
        let refuse = || TrustError::Bound(text.to_owned());
        let (name, version) = text.split_once('=').ok_or_else(refuse)?;
        let version = version.parse().map_err(|_| refuse())?;
        if name.is_empty() {
            return Err(refuse());
        }
        Ok(self.with_lowest(name, version))
    }

    /// Whether a key, in hex as signatures and configuration have it, is trusted.
    #[must_use]
    pub fn trusts(&self, key: &str) -> bool {
        key.parse::<PublicKey>()
            .is_ok_and(|key| self.keys.contains(&key.0.to_bytes()))
    }

    /// The lowest accepted version of a name; 0 where none is configured.
    #[must_use]
    pub fn lowest(&self, name: &str) -> u64 {
        self.lowest.get(name).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trusted_key_over_the_exact_bytes_verifies() {
        let key = SecretKey::from_seed(&[7; 32]);
        let other = SecretKey::from_seed(&[8; 32]);
        let trust = Trust::new([key.public()]);
        let signature = key.sign(b"manifest");
        assert!(signature.verify(b"manifest", &trust).is_ok());
        assert!(matches!(
            signature.verify(b"manifesT", &trust),
            Err(BundleError::BadSignature)
        ));
        let foreign = other.sign(b"manifest");
        assert!(matches!(
            foreign.verify(b"manifest", &trust),
            Err(BundleError::UntrustedKey { .. })
        ));
        let forged = Signature {
            key: signature.key,
            signature: foreign.signature,
        };
        assert!(matches!(
            forged.verify(b"manifest", &trust),
            Err(BundleError::BadSignature)
        ));
    }

    #[test]
    fn a_signature_survives_its_text_and_nothing_else_is_read_as_one() {
        let signature = SecretKey::from_seed(&[7; 32]).sign(b"manifest");
        assert_eq!(
            signature.to_string().parse::<Signature>().unwrap(),
            signature
        );
        for bad in [
            "",
            "ed25519",
            "rsa 00 00",
            "ed25519 00 00",
            &format!("{signature} more"),
        ] {
            assert!(
                matches!(bad.parse::<Signature>(), Err(BundleError::SignatureFormat)),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_weak_key_is_not_a_key() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert!(matches!(
            PublicKey::from_bytes(&identity),
            Err(KeyError::Point(_))
        ));
    }

    #[test]
    fn the_highest_bound_on_a_name_holds_and_other_names_are_free() {
        let configured = |bounds: &[&str]| {
            let bounds: Vec<String> = bounds.iter().map(ToString::to_string).collect();
            Trust::default().with_bounds(&bounds)
        };
        let trust = configured(&["demo=3", "demo=2"]).unwrap();
        assert_eq!((trust.lowest("demo"), trust.lowest("other")), (3, 0));
        for bad in ["demo", "=3", "demo=x", "demo=-1"] {
            assert!(configured(&[bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_key_does_not_show_itself() {
        let key = SecretKey::from_seed(&[7; 32]);
        assert!(!format!("{key:?}").contains(&hex::encode([7; 32])));
    }
}
