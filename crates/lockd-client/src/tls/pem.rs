//! Certificates and keys in PEM files. Comments, blocks of other kinds, and the order of the blocks do not matter.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error, PemObject as _, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};

/// The blocks of a file that matter, in its order.
#[derive(Default)]
pub(crate) struct Blocks {
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    keys: Vec<PrivateKeyDer<'static>>,
}

impl Blocks {
    /// Reads all of them. What is wrong is told without a word of the file, which may be that of a key.
    pub(crate) fn read(pem: &[u8]) -> Result<Blocks, String> {
        let pem = pem.strip_prefix(b"\xef\xbb\xbf").unwrap_or(pem);
        let mut blocks = Blocks::default();
        for block in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
            match block.map_err(|error| what_is_wrong(&error).to_owned())? {
                (SectionKind::Certificate, der) => blocks.certificates.push(der.into()),
                (kind, der) => blocks.keys.extend(PrivateKeyDer::from_pem(kind, der)),
            }
        }
        Ok(blocks)
    }

    /// The first key that belongs to the first of these certificates, with all of them.
    pub(crate) fn certify(
        &self,
        chain: Vec<CertificateDer<'static>>,
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, NoKey> {
        let mut trouble = None;
        for key in &self.keys {
            match provider.key_provider.load_private_key(key.clone_key()) {
                Ok(key) if belongs(&key, &chain) => return Ok(CertifiedKey::new(chain, key)),
                Ok(_) => {}
                Err(error) => trouble = trouble.or(Some(error.to_string())),
            }
        }
        Err(trouble.map_or(NoKey::Missing, NoKey::Broken))
    }
}

/// Why there is no key for a certificate.
pub(crate) enum NoKey {
    Missing,
    Broken(String),
}

fn belongs(key: &Arc<dyn SigningKey>, chain: &[CertificateDer<'static>]) -> bool {
    CertifiedKey::new(chain.to_vec(), key.clone()).keys_match().is_ok()
}

fn what_is_wrong(error: &Error) -> &'static str {
    match error {
        Error::MissingSectionEnd { .. } => "a PEM block has no end",
        Error::IllegalSectionStart { .. } => "the first line of a PEM block is not -----BEGIN NAME-----",
        Error::Base64Decode(_) => "a PEM block is not base64",
        _ => "it is not readable as PEM",
    }
}
