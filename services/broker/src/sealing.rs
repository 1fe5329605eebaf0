//! Sealing: values that pass through streams and that only their recipient can read.
//!
//! Owns the one way to seal and to open. Each sealing has a key pair of its own, so that not even the sender can open it
//! again. Invariant: a value in the clear is never printed, is wiped from memory when it is dropped, and opens only under the
//! purpose that it was sealed for.

use std::fmt;

use data_encoding::BASE64;
use events::secret::Sealed;
use nkeys::XKey;
use zeroize::Zeroizing;

/// A value in the clear.
#[derive(Clone, PartialEq, Eq)]
pub struct Plain(Zeroizing<String>);

impl Plain {
    /// Wraps a value.
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself, for whoever uses it and shows it to nobody.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why a value cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    /// The text is no key of the kind that is needed.
    #[error("this is not a curve key: a public one begins with `X`, a private one with `SX`")]
    Key,
    /// The value was sealed to another key.
    #[error("it is sealed to {recipient}, of which the private half is not here")]
    Recipient {
        /// The public key that it is sealed to.
        recipient: String,
    },
    /// Somebody changed it, or it was sealed for another purpose.
    #[error("it was changed, or sealed for something else")]
    Broken,
}

/// A key pair: whoever has it can open what is sealed to its public half.
#[derive(Clone)]
pub struct KeyPair(XKey);

impl KeyPair {
    /// Makes a new one.
    pub fn generate() -> Self {
        Self(XKey::new())
    }

    /// Reads the private half.
    ///
    /// # Errors
    /// When the text is none.
    pub fn from_seed(seed: &str) -> Result<Self, SealingError> {
        XKey::from_seed(seed).map(Self).map_err(|_| SealingError::Key)
    }

    /// The private half, to be kept where nobody else reads it.
    ///
    /// # Errors
    /// Never for a pair that was made here.
    pub fn seed(&self) -> Result<Zeroizing<String>, SealingError> {
        self.0.seed().map(Zeroizing::new).map_err(|_| SealingError::Key)
    }

    /// The public half, which everybody may know.
    pub fn public_key(&self) -> String {
        self.0.public_key()
    }

    /// Opens a value.
    ///
    /// # Errors
    /// When it is sealed to another key, for another purpose, or was changed.
    pub fn open(&self, sealed: &Sealed, purpose: &str) -> Result<Plain, SealingError> {
        if sealed.recipient != self.public_key() {
            return Err(SealingError::Recipient { recipient: sealed.recipient.clone() });
        }
        let sender = XKey::from_public_key(&sealed.sender).map_err(|_| SealingError::Broken)?;
        let bytes = BASE64.decode(sealed.sealed.as_bytes()).map_err(|_| SealingError::Broken)?;
        let opened = Zeroizing::new(self.0.open(&bytes, &sender).map_err(|_| SealingError::Broken)?);
        let value = opened.strip_prefix(prefix(purpose).as_slice()).ok_or(SealingError::Broken)?;
        let value = std::str::from_utf8(value).map_err(|_| SealingError::Broken)?;
        Ok(Plain::new(value.to_owned()))
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyPair").field(&self.public_key()).finish()
    }
}

/// Seals a value to a public key. The purpose says what it is for, and has to be said again when it is opened: a sealed value
/// that somebody puts in another's place does not open there.
///
/// # Errors
/// When the text is no public key.
pub fn seal(value: &Plain, purpose: &str, recipient: &str) -> Result<Sealed, SealingError> {
    let to = XKey::from_public_key(recipient).map_err(|_| SealingError::Key)?;
    let mut bytes = Zeroizing::new(prefix(purpose));
    bytes.extend_from_slice(value.reveal().as_bytes());
    let once = XKey::new();
    let sealed = once.seal(&bytes, &to).map_err(|_| SealingError::Key)?;
    Ok(Sealed { recipient: recipient.to_owned(), sender: once.public_key(), sealed: BASE64.encode(&sealed) })
}

/// What stands before a value. Its length comes first, so that no value can look like the end of a purpose.
fn prefix(purpose: &str) -> Vec<u8> {
    [&(purpose.len() as u64).to_be_bytes(), purpose.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use proptest::prelude::*;

    use super::*;

    /// A pair of the Go implementation's.
    const SEED: &str = "SXAKIYZX2POLIHZ5W5YZEWVTH24NLEUETBW3TKIVYRSS3GNHFXO5D4JJZM";
    const PUBLIC: &str = "XBUJMZHVOPQ2SK5VD3TY4VNBPVU2YFGRLK6EFPEPSMVDUYEBSROWZCEA";

    proptest! {
        #[test]
        fn what_is_sealed_opens_for_its_recipient_and_purpose_alone(value: String, purpose in ".{0,20}", other in ".{0,20}") {
            let (pair, stranger) = (KeyPair::generate(), KeyPair::generate());
            let sealed = seal(&Plain::new(value.clone()), &purpose, &pair.public_key()).unwrap();
            let opened = pair.open(&sealed, &purpose).unwrap();
            prop_assert_eq!(opened.reveal(), value);
            let unopened = matches!(stranger.open(&sealed, &purpose), Err(SealingError::Recipient { .. }));
            prop_assert!(unopened, "it is not the stranger's");
            let stolen = Sealed { recipient: stranger.public_key(), ..sealed.clone() };
            prop_assert!(matches!(stranger.open(&stolen, &purpose), Err(SealingError::Broken)));
            if other != purpose {
                prop_assert!(matches!(pair.open(&sealed, &other), Err(SealingError::Broken)));
            }
        }

        #[test]
        fn a_changed_byte_is_noticed(at: proptest::sample::Index, change in 1..=255u8) {
            let pair = KeyPair::from_seed(SEED).unwrap();
            let mut sealed = seal(&Plain::new("hunter22".to_owned()), "p", PUBLIC).unwrap();
            let mut bytes = BASE64.decode(sealed.sealed.as_bytes()).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            sealed.sealed = BASE64.encode(&bytes);
            prop_assert!(matches!(pair.open(&sealed, "p"), Err(SealingError::Broken)));
        }
    }

    #[test]
    fn what_another_implementation_sealed_opens() {
        // Made by another implementation of NaCl's box. Sealed values stand in the log for ever: this one must always open.
        let sealed = Sealed {
            recipient: PUBLIC.to_owned(),
            sender: "XAD2G7F4CQQJHSFXKXOBWEHINS2CMN2K2FVKQU7NBPP4BMVYNUOHZWPX".to_owned(),
            sealed: "eGt2MWRlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e6PbKLFwsU+xwOQcrOsEZCNkvFWjFXqic2Ps7xKt3fnPRvkz8z/373SAX4A/5l\
                     2LkCnjji7fO/TErgLdkOB9/8w="
                .to_owned(),
        };
        let pair = KeyPair::from_seed(SEED).unwrap();
        assert_eq!(pair.public_key(), PUBLIC);
        assert_eq!(pair.open(&sealed, "secret_known").unwrap().reveal(), "correct horse\nbattery staple");
    }

    #[test]
    fn a_value_is_not_printed_and_a_sealed_one_is_not_its_text() {
        let value = Plain::new("hunter22".to_owned());
        let sealed = seal(&value, "p", PUBLIC).unwrap();
        assert!(
            !format!("{value:?} {:?} {sealed:?}", KeyPair::from_seed(SEED).unwrap()).contains("hunter22")
        );
        assert_ne!(sealed, seal(&value, "p", PUBLIC).unwrap(), "two sealings of one value look different");
    }

    #[test]
    fn a_text_that_is_no_key_is_refused() {
        assert!(KeyPair::from_seed(PUBLIC).is_err());
        assert!(seal(&Plain::new("x".to_owned()), "p", SEED).is_err());
    }
}
