//! `https://`: whom a client trusts, and who it is itself.

mod bundle;
mod certificate;
mod pem;
mod trouble;
mod verifier;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::connection::Obstacle;
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};

pub use bundle::{Bundle, Role};
pub(crate) use trouble::late_refusal;

/// How the servers of `https://` endpoints are recognised, and what a client shows them of itself.
///
/// Without a word a client trusts what the system trusts, and shows nothing: the same as [`Tls::default`]. Deployments of lockd
/// have a CA of their own, and give their clients a [bundle](Bundle).
///
/// ```no_run
/// use lockd_client::{Bundle, Client, Identity, Roots, Tls};
///
/// // A deployment of lockd.
/// let client = Client::builder()
///     .endpoint("https://10.0.0.1:9341")
///     .tls(Bundle::open("/etc/lockd/client.pem")?)
///     .build()?;
///
/// // A CA of your own, with certificates for host names.
/// let client = Client::builder()
///     .endpoint("https://lockd.example.com")
///     .tls(Roots::pem(std::fs::read("ca.pem").unwrap())?)
///     .build()?;
///
/// // The same, for servers that want to know who calls.
/// let identity = Identity::pem(std::fs::read("me.crt").unwrap(), std::fs::read("me.key").unwrap())?;
/// let client = Client::builder()
///     .endpoint("https://lockd.example.com")
///     .tls(Tls::HostName { roots: Roots::system(), identity: Some(identity) })
///     .build()?;
/// # Ok::<_, lockd_client::Error>(())
/// ```
#[derive(Debug, Clone)]
pub enum Tls {
    /// A server has a certificate for the host in its address, from somebody whom the roots name.
    HostName {
        /// Whose certificates count.
        roots: Roots,
        /// The certificate of this client, for servers that ask for one.
        identity: Option<Identity>,
    },
    /// A server has a server certificate of the CA in the bundle, whatever the name of its host; the client shows the certificate
    /// in the bundle.
    Bundle(Bundle),
}

impl Default for Tls {
    fn default() -> Self {
        Roots::system().into()
    }
}

impl From<Roots> for Tls {
    fn from(roots: Roots) -> Self {
        Tls::HostName { roots, identity: None }
    }
}

impl From<Bundle> for Tls {
    fn from(bundle: Bundle) -> Self {
        Tls::Bundle(bundle)
    }
}

/// Whose certificates count.
///
/// ```
/// use lockd_client::Roots;
///
/// let system = Roots::system();
/// assert!(Roots::pem("no certificate at all").is_err());
/// ```
#[derive(Debug, Clone)]
pub struct Roots(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    These(Arc<RootCertStore>),
}

impl Roots {
    /// The CAs that the system trusts. They are loaded when a client with an `https://` endpoint is built. `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` name others.
    pub fn system() -> Roots {
        Roots(Source::System)
    }

    /// The CAs in this PEM text, and no others.
    pub fn pem(pem: impl AsRef<[u8]>) -> Result<Roots> {
        let certificates = pem::Blocks::read(pem.as_ref()).map_err(unusable("CA certificates"))?.certificates;
        let store = trust(certificates).map_err(unusable("CA certificates"))?;
        match store.is_empty() {
            true => Err(unusable("CA certificates")("there is no CERTIFICATE block")),
            false => Ok(Roots(Source::These(Arc::new(store)))),
        }
    }

    fn load(&self) -> Result<Arc<RootCertStore>> {
        if let Source::These(store) = &self.0 {
            return Ok(store.clone());
        }
        let mut store = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(found.certs);
        if store.is_empty() {
            let causes: String = found.errors.iter().map(|error| format!(" ({error})")).collect();
            return Err(unusable("the CA certificates of the system")(format!(
                "there are none{causes}; install them, name them in SSL_CERT_FILE, or give the client a bundle or roots of its own"
            )));
        }
        Ok(Arc::new(store))
    }
}

fn trust(
    certificates: impl IntoIterator<Item = rustls::pki_types::CertificateDer<'static>>,
) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store.add(certificate).map_err(|error| format!("parse certificate: {error}"))?;
    }
    Ok(store)
}

/// The certificate of a client and the private key for it, which no text shows.
///
/// ```
/// use lockd_client::Identity;
///
/// assert!(Identity::pem("no certificate", "no key").is_err());
/// ```
#[derive(Clone)]
pub struct Identity(Arc<CertifiedKey>);

impl Identity {
    /// Reads PEM texts: the certificate, followed by those of intermediate CAs if there are any, and its key. Both can be the
    /// same text.
    pub fn pem(certificates: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Identity> {
        Identity::read(certificates.as_ref(), key.as_ref()).map_err(unusable("client identity"))
    }

    fn read(certificates: &[u8], key: &[u8]) -> Result<Identity, String> {
        let chain = pem::Blocks::read(certificates)?.certificates;
        if chain.is_empty() {
            return Err("there is no CERTIFICATE block".to_owned());
        }
        let certified =
            pem::Blocks::read(key)?.certify(chain, &provider()).map_err(|trouble| match trouble {
                pem::NoKey::Missing => "there is no private key for the certificate".to_owned(),
                pem::NoKey::Broken(why) => format!("parse private key: {why}"),
            })?;
        Ok(Identity(Arc::new(certified)))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} certificates and a key)", self.0.cert.len())
    }
}

fn unusable<T: Into<String>>(what: impl Into<String>) -> impl Fn(T) -> Error {
    let what = what.into();
    move |reason| Error::UnusableCredentials { what: what.clone(), reason: reason.into() }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// [`Tls`], ready to be used for any number of servers.
pub(crate) struct Prepared {
    config: Arc<ClientConfig>,
    compares_names: bool,
}

impl Tls {
    pub(crate) fn prepare(&self) -> Result<Prepared> {
        let provider = provider();
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable("TLS")(error.to_string()))?;
        let (builder, identity) = match self {
            Tls::HostName { roots, identity } => {
                (builder.with_root_certificates(roots.load()?), identity.as_ref())
            }
            Tls::Bundle(bundle) => {
                let verifier = verifier::Deployment { roots: bundle.roots.clone(), algorithms };
                let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
                (builder, Some(&bundle.identity))
            }
        };
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let resolver: Arc<dyn ResolvesClientCert> =
                    Arc::new(SingleCertAndKey::from(identity.0.clone()));
                builder.with_client_cert_resolver(resolver)
            }
        };
        // A call has a connection of its own for as long as it runs, and cutting that is how it is taken back.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Prepared { config: Arc::new(config), compares_names: matches!(self, Tls::HostName { .. }) })
    }
}

/// How to get a TLS connection to one server.
pub(crate) struct Secure {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Secure {
    pub(crate) fn new(prepared: &Prepared, host: &str, endpoint: &Endpoint) -> Result<Secure> {
        let name = match ServerName::try_from(host.to_owned()) {
            Ok(name) => name,
            // Nobody looks at it, and an address is not sent.
            Err(_) if !prepared.compares_names => ServerName::from(IpAddr::from(Ipv4Addr::UNSPECIFIED)),
            Err(_) => {
                return Err(Error::InvalidEndpoint {
                    text: endpoint.to_string(),
                    reason: format!("{host:?} cannot be the name of a host in a certificate"),
                });
            }
        };
        Ok(Secure { connector: TlsConnector::from(prepared.config.clone()), name })
    }

    pub(crate) async fn handshake(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, Obstacle> {
        let shaken: io::Result<_> = self.connector.connect(self.name.clone(), stream).await;
        shaken.map_err(|error| trouble::of_handshake(&error))
    }
}
