//! Trust as lockd deployments have it: a server is whoever has a server certificate of the CA, whatever its address is called.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

use super::certificate;

const SERVER: &str = "spiffe://lockd/server/";

/// Checks the chain, the usage and the time, and that the certificate was not issued to something else than a server. Names of
/// hosts are not compared: one certificate serves on every address of a deployment.
#[derive(Debug)]
pub(crate) struct Deployment {
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
}

/// A certificate that is genuine, but names another kind of holder.
#[derive(Debug, thiserror::Error)]
#[error("it was issued to {0}, which is not a lockd server")]
struct NotAServer(String);

impl ServerCertVerifier for Deployment {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        let profile = certificate::read(certificate).ok_or(CertificateError::BadEncoding)?;
        match profile.uris.first() {
            Some(first) if !profile.uris.iter().any(|uri| uri.starts_with(SERVER)) => {
                let issued_to = NotAServer(first.clone());
                Err(CertificateError::Other(OtherError(Arc::new(issued_to))).into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
