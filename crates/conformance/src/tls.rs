//! Certificates as deployments of lockd have them, made for one test, and a [`Front`] that speaks TLS before a server that
//! does not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, SanType, date_time_ymd,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// The name that the CAs of all deployments have, unless somebody chose another.
pub const CA_NAME: &str = "lockd-ca";

static ONLY_TLS_1_2: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

/// A certificate authority.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut parameters = named(name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        Authority(CertifiedIssuer::self_signed(parameters, fresh_key()).expect("sign a CA certificate"))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn issue(&self, leaf: Leaf) -> Issued {
        let key = fresh_key();
        let certificate = leaf.0.signed_by(&key, &self.0).expect("sign a certificate");
        Issued { authority: self.pem(), certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A server as `lockd auth new server` makes it: for any host.
    pub fn server(&self) -> Issued {
        self.issue(Leaf::server().host("*"))
    }

    /// An application as `lockd auth new client` makes it.
    pub fn client(&self) -> Issued {
        self.issue(Leaf::client().uri("spiffe://lockd/sdk/lockd-client").uri("lockd://ns/default?perm=rw"))
    }

    /// A coordinator as `lockd auth new tcclient` makes it.
    pub fn coordinator(&self) -> Issued {
        self.issue(Leaf::client().uri("spiffe://lockd/tc/lockd-tc-client").uri("lockd://ns/ALL?perm=rw"))
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("trust a CA");
        roots
    }
}

fn named(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.not_before = date_time_ymd(2020, 1, 1);
    parameters
}

fn fresh_key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).expect("make a key")
}

/// A certificate that is to be issued.
#[derive(Debug)]
pub struct Leaf(CertificateParams);

impl Leaf {
    /// For servers, without a host.
    pub fn server() -> Leaf {
        Leaf::of("lockd-server", &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth])
            .uri("spiffe://lockd/server/0190a0b0-c0d0-7000-8000-000000000001")
            .uri("lockd://ns/ALL?perm=rw")
    }

    /// For clients, without a name.
    pub fn client() -> Leaf {
        Leaf::of("lockd-client", &[ExtendedKeyUsagePurpose::ClientAuth])
    }

    /// For what it says, without any name but this one.
    pub fn of(name: &str, usages: &[ExtendedKeyUsagePurpose]) -> Leaf {
        let mut parameters = named(name);
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = usages.to_vec();
        parameters.use_authority_key_identifier_extension = true;
        Leaf(parameters)
    }

    /// For servers, named as nothing in particular.
    pub fn plain_server() -> Leaf {
        Leaf::of("plain", &[ExtendedKeyUsagePurpose::ServerAuth])
    }

    /// Is also for this host or address.
    pub fn host(mut self, host: &str) -> Leaf {
        self.0.subject_alt_names.push(match host.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.try_into().expect("a host name")),
        });
        self
    }

    /// Also bears this name.
    pub fn uri(mut self, uri: &str) -> Leaf {
        self.0.subject_alt_names.push(SanType::URI(uri.try_into().expect("a URI")));
        self
    }

    /// Was valid, once.
    pub fn expired(mut self) -> Leaf {
        self.0.not_after = date_time_ymd(2021, 1, 1);
        self
    }

    /// Will be valid, some day.
    pub fn not_yet_valid(mut self) -> Leaf {
        self.0.not_before = date_time_ymd(3000, 1, 1);
        self
    }
}

/// A certificate, its key and that of its CA, in PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    pub authority: String,
    pub certificate: String,
    pub key: String,
}

impl Issued {
    /// A client bundle.
    pub fn bundle(&self) -> String {
        format!("{}{}{}", self.authority, self.certificate, self.key)
    }

    fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate");
        (vec![certificate], PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key"))
    }
}

/// How a [`Front`] behaves.
#[derive(Debug)]
pub struct FrontSettings {
    identity: Issued,
    clients: Option<RootCertStore>,
    versions: &'static [&'static SupportedProtocolVersion],
    protocols: Vec<Vec<u8>>,
}

impl FrontSettings {
    /// With this certificate, for any client; TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, as deployed servers do.
    pub fn new(identity: Issued) -> FrontSettings {
        FrontSettings {
            identity,
            clients: None,
            versions: rustls::ALL_VERSIONS,
            protocols: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        }
    }

    /// Demands a certificate of this CA.
    pub fn only_clients_of(mut self, authority: &Authority) -> FrontSettings {
        self.clients = Some(authority.roots());
        self
    }

    /// Speaks nothing newer than TLS 1.2.
    pub fn tls_1_2(mut self) -> FrontSettings {
        self.versions = ONLY_TLS_1_2;
        self
    }

    /// Speaks this over TLS and nothing else.
    pub fn protocol(mut self, name: &str) -> FrontSettings {
        self.protocols = vec![name.as_bytes().to_vec()];
        self
    }

    fn acceptor(self) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(self.versions)
            .expect("the versions of TLS");
        let builder = match self.clients {
            None => builder.with_no_client_auth(),
            Some(roots) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .expect("a verifier of clients"),
            ),
        };
        let (chain, key) = self.identity.parts();
        let mut config = builder.with_single_cert(chain, key).expect("a certificate and its key");
        config.alpn_protocols = self.protocols;
        TlsAcceptor::from(Arc::new(config))
    }

    /// Listens, and hands on what it decrypts to the server at this address.
    pub fn before(self, server: SocketAddr) -> Front {
        let acceptor = self.acceptor();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a listener for tokio");
        let address = listener.local_addr().expect("the address of a listener");
        let (stop, stopped) = oneshot::channel();
        let handshakes = Arc::new(AtomicUsize::new(0));
        let counted = handshakes.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime for the front");
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, acceptor, server, counted) => {}
                    _ = stopped => {}
                }
            });
        });
        Front { address, handshakes, _stop: stop }
    }
}

/// Ends TLS before a server. Dropping it ends all its connections.
#[derive(Debug)]
pub struct Front {
    pub address: SocketAddr,
    handshakes: Arc<AtomicUsize>,
    _stop: oneshot::Sender<()>,
}

impl Front {
    /// `https://ADDRESS:PORT`
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The same by a name of this machine.
    pub fn named_url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// How many connections got through the handshake.
    pub fn handshakes(&self) -> usize {
        self.handshakes.load(Ordering::SeqCst)
    }
}

async fn accept(
    listener: std::net::TcpListener,
    acceptor: TlsAcceptor,
    server: SocketAddr,
    handshakes: Arc<AtomicUsize>,
) {
    let listener = TcpListener::from_std(listener).expect("a listener");
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, handshakes) = (acceptor.clone(), handshakes.clone());
        tokio::spawn(async move {
            match acceptor.accept(stream).into_fallible().await {
                Ok(mut stream) => {
                    handshakes.fetch_add(1, Ordering::SeqCst);
                    if let Ok(mut behind) = TcpStream::connect(server).await {
                        let _ = copy_bidirectional(&mut stream, &mut behind).await;
                    }
                }
                // The alert is sent. Closing with something unread could take it back.
                Err((_, mut stream)) => {
                    let mut rest = [0; 4096];
                    while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
                }
            }
        });
    }
}
