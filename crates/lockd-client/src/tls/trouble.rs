//! What it means that no TLS connection came about, and what to do then.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, Error};

use crate::connection::Obstacle;
use crate::stream::chain;

/// Explains how the handshake failed.
pub(crate) fn of_handshake(error: &io::Error) -> Obstacle {
    match (tls_error(error), error.kind()) {
        (Some(error), _) => explain(error),
        (None, io::ErrorKind::UnexpectedEof) => Obstacle::passing(
            "it closed the connection during the TLS handshake; if it serves plain HTTP there, write http://",
        ),
        (None, _) => Obstacle::passing(format!("the TLS handshake failed: {}", chain(error))),
    }
}

/// A refusal of this client's certificate that arrives in place of the first answer: with TLS 1.3 a client believes the handshake
/// to be over before the server has looked at its certificate.
pub(crate) fn late_refusal(error: &(dyn StdError + 'static)) -> Option<Obstacle> {
    let mut next = Some(error);
    while let Some(error) = next {
        let found = error.downcast_ref().and_then(tls_error);
        if let Some(error @ Error::AlertReceived(alert)) = found {
            return refuses_client(*alert).then(|| explain(error));
        }
        next = error.source();
    }
    None
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn refuses_client(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::CertificateRequired
            | Alert::UnknownCA
            | Alert::CertificateExpired
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::NoCertificate
            | Alert::AccessDenied
            | Alert::DecryptError
    )
}

fn explain(error: &Error) -> Obstacle {
    match error {
        Error::InvalidCertificate(error) => Obstacle::lasting(distrust(error)),
        Error::AlertReceived(alert) => refusal(*alert),
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => Obstacle::lasting(
            "what it sends is not TLS; if it serves plain HTTP there, write http:// in place of https://",
        ),
        Error::PeerIncompatible(_) => Obstacle::lasting(format!(
            "it speaks no TLS that this client does, which is version 1.2 or 1.3 with modern ciphers ({error})"
        )),
        error => Obstacle::passing(format!("the TLS handshake failed: {error}")),
    }
}

/// Why this client does not trust the server.
fn distrust(error: &CertificateError) -> String {
    use CertificateError as Cause;
    match error {
        // The CAs of all deployments have the same name by default; then it is the signature that differs.
        Cause::UnknownIssuer | Cause::BadSignature => {
            "its certificate is not issued by a CA that this client trusts; give the client a bundle or the CA certificate of \
             the server's deployment"
                .to_owned()
        }
        Cause::Expired => "its certificate has expired; give the server a new one".to_owned(),
        Cause::ExpiredContext { time, not_after } => format!(
            "its certificate has expired, {} ago by the clock of this machine; give the server a new one",
            rough(time.as_secs().saturating_sub(not_after.as_secs()))
        ),
        Cause::NotValidYet => "its certificate is not valid yet; compare the clocks".to_owned(),
        Cause::NotValidYetContext { time, not_before } => format!(
            "its certificate is not valid yet, by the clock of this machine for another {}; compare the clocks",
            rough(not_before.as_secs().saturating_sub(time.as_secs()))
        ),
        Cause::NotValidForName => {
            "its certificate is for another host; use a name that it is for, or a client bundle, which does not depend on names"
                .to_owned()
        }
        Cause::NotValidForNameContext { expected, presented } => format!(
            "its certificate is not for {:?} but for {}; use a name that it is for, or a client bundle, which does not depend on \
             names",
            expected.to_str(),
            match presented.is_empty() {
                true => "no host at all".to_owned(),
                false => presented.join(", "),
            }
        ),
        Cause::InvalidPurpose | Cause::InvalidPurposeContext { .. } => {
            "its certificate is not one for servers; give the server one that is".to_owned()
        }
        Cause::Other(other) => format!("its certificate cannot be used: {}", chain(&*other.0)),
        error => format!("its certificate cannot be used: {error}"),
    }
}

/// Why the server does not want this client.
fn refusal(alert: AlertDescription) -> Obstacle {
    use AlertDescription as Alert;
    Obstacle::lasting(match alert {
        Alert::CertificateRequired | Alert::NoCertificate => {
            "it demands a client certificate; give the client a bundle of the server's deployment"
        }
        Alert::UnknownCA => {
            "it does not accept the certificate of this client, which another CA has issued; use a bundle of the server's deployment"
        }
        Alert::CertificateExpired => {
            "it does not accept the certificate of this client, which has expired; use a new bundle"
        }
        Alert::HandshakeFailure => {
            "it refused the TLS handshake: it may demand a client certificate, or speak no version or cipher that this client does"
        }
        Alert::ProtocolVersion => "it speaks neither TLS 1.2 nor 1.3",
        Alert::NoApplicationProtocol => "it does not speak HTTP/1.1 over TLS",
        Alert::UnrecognisedName => "it has no certificate for this host name",
        alert if refuses_client(alert) => {
            return Obstacle::lasting(format!(
                "it does not accept the certificate of this client, which may be revoked, not one for clients, or of another CA \
                 (alert {alert:?})"
            ));
        }
        alert => return Obstacle::passing(format!("it ended the TLS handshake (alert {alert:?})")),
    })
}

fn rough(seconds: u64) -> String {
    match seconds {
        0..7200 => format!("{:?}", Duration::from_secs(seconds)),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
