//! How to trust a server.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::error::Error;

/// TLS settings of a client.
#[derive(Clone, Debug)]
pub struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: Option<ServerName<'static>>,
}

impl Tls {
    /// Trusts servers whose certificates these roots (PEM) have signed, or that are these certificates themselves.
    pub fn with_roots(pem: &[u8]) -> Result<Tls, Error> {
        let unusable = |why: String| Error::Invalid(format!("the root certificates cannot be used: {why}"));
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(unusable("there is no CERTIFICATE block".into()));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Tls::with_config(Arc::new(config)))
    }

    /// Uses a configuration as it is: client certificates, the roots of the system, a verifier of your own.
    #[must_use]
    pub fn with_config(config: Arc<ClientConfig>) -> Tls {
        Tls { config, name: None }
    }

    /// Expects this name in the certificate instead of the server's host.
    pub fn server_name(mut self, name: &str) -> Result<Tls, Error> {
        self.name = Some(parse_name(name)?);
        Ok(self)
    }
}

pub(crate) fn parse_name(name: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(name.to_owned())
        .map_err(|error| Error::Invalid(format!("{name:?} cannot be the name of a TLS server: {error}")))
}
