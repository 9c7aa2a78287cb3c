//! Client bundles: one file with everything that a client of a deployment needs.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;

use super::{Identity, certificate, pem, provider, trust, unusable};
use crate::error::Result;

/// What a client of a deployment needs, in one PEM file: the certificate of the CA, that of the client, and the client's key.
/// `lockd auth new client` of deployed services writes such files.
///
/// The order of the blocks does not matter, nor do comments and blocks of other kinds. With several CAs all are trusted. No text
/// shows the key.
///
/// ```no_run
/// use lockd_client::{Bundle, Client};
///
/// let bundle = Bundle::open("/etc/lockd/client.pem")?;
/// let client = Client::builder().endpoint("https://10.0.0.1:9341").tls(bundle).build()?;
/// # Ok::<_, lockd_client::Error>(())
/// ```
#[derive(Clone)]
pub struct Bundle {
    pub(super) roots: Arc<RootCertStore>,
    pub(super) identity: Identity,
    uris: Vec<String>,
}

/// For what the certificate in a [bundle](Bundle) was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// Applications and the command line: `spiffe://lockd/sdk/…`.
    Sdk,
    /// Whoever decides transactions for others: `spiffe://lockd/tc/…`.
    Coordinator,
    /// A server: `spiffe://lockd/server/…`.
    Server,
    /// It names itself in another way.
    Other,
    /// It has no URI at all, and may be used as one for applications.
    Unnamed,
}

impl Bundle {
    /// Reads a file.
    pub fn open(path: impl AsRef<Path>) -> Result<Bundle> {
        let path = path.as_ref();
        let what = || format!("load client bundle {}", path.display());
        let pem = std::fs::read(path).map_err(|error| unusable(what())(error.to_string()))?;
        Bundle::read(&pem).map_err(|reason| unusable(what())(format!("client bundle: {reason}")))
    }

    /// Reads a PEM text.
    ///
    /// ```
    /// let error = lockd_client::Bundle::pem("").unwrap_err();
    /// assert_eq!(error.to_string(), "client bundle: client certificate not found");
    /// ```
    pub fn pem(pem: impl AsRef<[u8]>) -> Result<Bundle> {
        Bundle::read(pem.as_ref()).map_err(unusable("client bundle"))
    }

    fn read(pem: &[u8]) -> Result<Bundle, String> {
        let mut blocks = pem::Blocks::read(pem)?;
        let (mut authorities, mut chain, mut uris) = (Vec::new(), Vec::new(), Vec::new());
        for certificate in std::mem::take(&mut blocks.certificates) {
            let profile = certificate::read(&certificate).ok_or("parse certificate: it is not X.509")?;
            match profile.is_authority {
                true => authorities.push(certificate),
                false => {
                    if chain.is_empty() {
                        uris = profile.uris;
                    }
                    chain.push(certificate);
                }
            }
        }
        if chain.is_empty() {
            return Err("client certificate not found".to_owned());
        }
        let certified = blocks.certify(chain, &provider()).map_err(|trouble| match trouble {
            pem::NoKey::Missing => "matching private key not found".to_owned(),
            pem::NoKey::Broken(why) => format!("parse private key: {why}"),
        })?;
        let roots = trust(authorities)?;
        if roots.is_empty() {
            return Err("CA certificate required".to_owned());
        }
        Ok(Bundle { roots: Arc::new(roots), identity: Identity(Arc::new(certified)), uris })
    }

    /// For what the certificate of the client was issued. Any will do for a [`Client`](crate::Client); the server decides what it
    /// allows.
    pub fn role(&self) -> Role {
        let role = |uri: &String| match uri.strip_prefix("spiffe://lockd/")?.split_once('/')?.0 {
            "sdk" => Some(Role::Sdk),
            "tc" => Some(Role::Coordinator),
            "server" => Some(Role::Server),
            _ => None,
        };
        match self.uris.is_empty() {
            true => Role::Unnamed,
            false => self.uris.iter().find_map(role).unwrap_or(Role::Other),
        }
    }

    /// The URIs in the certificate of the client: its name and the namespaces that it may use.
    pub fn uris(&self) -> &[String] {
        &self.uris
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle")
            .field("authorities", &self.roots.len())
            .field("uris", &self.uris)
            .finish_non_exhaustive()
    }
}
