//! Certificates and keys as text: what is read, what is refused and how, and that keys stay secret.

use lockd_client::{Bundle, Client, Identity, Role, Roots, Tls};
use lockd_conformance::tls::{Authority, Issued, Leaf};

use super::authority;

const STORAGE_KEY: &str = "-----BEGIN KRYPT-SYSTEM-ROOT-KEY-----\nKey-Length: 32\n\n\
    AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n-----END KRYPT-SYSTEM-ROOT-KEY-----\n";

fn problem(pem: &str) -> String {
    Bundle::pem(pem).unwrap_err().to_string()
}

#[test]
fn the_order_of_the_blocks_and_what_stands_between_does_not_matter() {
    let issued = authority().client();
    let Issued { authority: ca, certificate, key } = &issued;
    let other = authority().client();
    for text in [
        issued.bundle(),
        format!("{key}{certificate}{ca}"),
        format!("\u{feff}# of importer 3\n\n{ca}\n# mine\n{certificate}{STORAGE_KEY}{key}# the end"),
        issued.bundle().replace('\n', "\r\n"),
        format!("{}{}", issued.bundle(), other.bundle()),
        format!("{}{}", other.key, issued.bundle()),
        format!("{ca}{ca}{certificate}{certificate}{key}{key}"),
    ] {
        let bundle = Bundle::pem(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(bundle.uris(), ["spiffe://lockd/sdk/lockd-client", "lockd://ns/default?perm=rw"]);
    }
}

#[test]
fn what_is_missing_is_told_in_the_words_of_the_service() {
    let issued = authority().client();
    let Issued { authority: ca, certificate, key } = &issued;
    for text in [String::new(), "not PEM".into(), ca.clone(), format!("{ca}{key}"), STORAGE_KEY.into()] {
        assert_eq!(problem(&text), "client bundle: client certificate not found", "{text}");
    }
    for text in [format!("{ca}{certificate}"), format!("{ca}{certificate}{}", authority().client().key)] {
        assert_eq!(problem(&text), "client bundle: matching private key not found");
    }
    assert_eq!(problem(&format!("{certificate}{key}")), "client bundle: CA certificate required");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("client.pem");
    let begin = format!("load client bundle {}: ", path.display());
    let missing = Bundle::open(&path).unwrap_err().to_string();
    assert!(missing.starts_with(&begin), "{missing}");
    std::fs::write(&path, ca).unwrap();
    let empty = Bundle::open(&path).unwrap_err().to_string();
    assert_eq!(empty, format!("{begin}client bundle: client certificate not found"));
    std::fs::write(&path, issued.bundle()).unwrap();
    Bundle::open(&path).unwrap();
}

#[test]
fn broken_blocks_are_refused() {
    let issued = authority().client();
    let Issued { authority: ca, certificate, key } = &issued;
    let block = |kind: &str| format!("-----BEGIN {kind}-----\nAAECAwQF\n-----END {kind}-----\n");
    for (text, hint) in [
        (format!("{ca}{}", block("CERTIFICATE")), "parse certificate: "),
        (format!("{ca}{certificate}{}", block("PRIVATE KEY")), "parse private key: "),
        (format!("{ca}{certificate}{}", &key[..60]), "a PEM block has no end"),
        (key.replacen("\nM", "\n!", 1), "not base64"),
        (format!("{ca}{certificate}{}", key.replace('\n', "")), "a PEM block has no end"),
        (format!("{ca}{certificate}{}", key.replace("Y-----\n", "Y----\n")), "first line of a PEM block"),
    ] {
        let problem = problem(&text);
        assert!(problem.starts_with("client bundle: ") && problem.contains(hint), "{hint}: {problem}");
    }
    // Nothing is wrong as long as nothing needs it.
    Bundle::pem(format!("{}{}", block("PRIVATE KEY"), issued.bundle())).unwrap();
}

#[test]
fn roles_are_what_the_certificate_was_issued_for() {
    let ca = authority();
    let role = |issued: Issued| Bundle::pem(issued.bundle()).unwrap().role();
    assert_eq!(role(ca.client()), Role::Sdk);
    assert_eq!(role(ca.coordinator()), Role::Coordinator);
    assert_eq!(role(ca.server()), Role::Server);
    assert_eq!(role(ca.issue(Leaf::client())), Role::Unnamed);
    assert_eq!(role(ca.issue(Leaf::client().host("a.example"))), Role::Unnamed);
    assert_eq!(role(ca.issue(Leaf::client().uri("lockd://ns/default"))), Role::Other);
    assert_eq!(role(ca.issue(Leaf::client().uri("spiffe://lockd/sdk/"))), Role::Sdk);
}

#[test]
fn roots_and_identities_say_what_is_wrong_with_them() {
    let issued = authority().client();
    let error = Roots::pem(&issued.key).unwrap_err().to_string();
    assert_eq!(error, "CA certificates: there is no CERTIFICATE block");
    for (certificate, key, hint) in [
        ("", issued.key.as_str(), "there is no CERTIFICATE block"),
        (&issued.certificate, "", "there is no private key for the certificate"),
        (&issued.certificate, &authority().client().key, "there is no private key for the certificate"),
    ] {
        let error = Identity::pem(certificate, key).unwrap_err().to_string();
        assert_eq!(error, format!("client identity: {hint}"));
    }
    let both = format!("{}{}", issued.certificate, issued.key);
    Identity::pem(&both, &both).unwrap();
}

#[test]
fn keys_appear_in_no_text() {
    let issued = Authority::new("a").client();
    let secret: String = issued.key.lines().filter(|line| !line.starts_with('-')).collect();
    let bundle = Bundle::pem(issued.bundle()).unwrap();
    let identity = Identity::pem(&issued.certificate, &issued.key).unwrap();
    let builder = Client::builder().endpoint("https://a").tls(bundle.clone());
    let mut texts = vec![
        format!("{bundle:?}"),
        format!("{identity:?}"),
        format!("{:?}", Tls::HostName { roots: Roots::system(), identity: Some(identity) }),
        format!("{builder:?}"),
        format!("{:?}", builder.build().unwrap()),
    ];
    // A key whose line breaks were lost, and one that is cut short.
    for key in
        [issued.key.replace('\n', ""), issued.key.replace("-----END", "\n"), issued.key.replace('=', "")]
    {
        for text in [key.clone(), format!("{}{key}", issued.certificate)] {
            texts.extend(Bundle::pem(&text).err().map(|error| format!("{error} {error:?}")));
            texts.extend(
                Identity::pem(&issued.certificate, &text).err().map(|error| format!("{error} {error:?}")),
            );
        }
    }
    for text in texts {
        // The beginning is the same for all keys of this kind.
        assert!(!text.contains(&secret[24..40]), "{text}");
        assert!(!text.contains("PRIVATE KEY"), "{text}");
    }
}

#[test]
fn no_text_makes_it_panic() {
    let issued = authority().client();
    let whole = format!("{}{STORAGE_KEY}", issued.bundle());
    let mut read = 0;
    for end in 0..whole.len() {
        read += usize::from(Bundle::pem(&whole[..end]).is_ok());
        drop(Identity::pem(&whole[..end], &whole[..end]));
        drop(Roots::pem(&whole[..end]));
    }
    assert!(read > 0, "something complete stands before the storage key");
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..3000 {
        let mut broken = whole.clone().into_bytes();
        for _ in 0..random.usize(1..6) {
            let place = random.usize(..broken.len());
            match random.u8(..3) {
                0 => broken[place] = random.u8(..),
                1 => broken[place] = random.alphanumeric() as u8,
                _ => broken.truncate(place.max(1)),
            }
        }
        drop(Bundle::pem(&broken));
        drop(Roots::pem(&broken));
    }
}
