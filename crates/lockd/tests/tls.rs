//! `lockd client` and `lockd txn` over TLS: the built program, a running server, and a front before it that ends TLS. Names that
//! start with `cli_` carry the number of the line of the contract's checklist that they prove.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what the tests share is part of the tests"
)]

mod session;

use std::net::SocketAddr;

use lockd_conformance::tls::{Authority, CA_NAME, Front, FrontSettings, Leaf};

use session::Session;

/// A server with TLS before it that takes clients of its CA only, and a user who has yet to get a bundle.
struct Deployment {
    authority: Authority,
    front: Front,
    session: Session,
}

impl Deployment {
    fn new() -> Deployment {
        let authority = Authority::new(CA_NAME);
        let session = Session::tcp();
        let front =
            FrontSettings::new(authority.server()).only_clients_of(&authority).before(address(&session));
        Deployment { authority, front, session }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.session.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The script with the TLS server as the one to ask.
    fn over_tls(&self, script: &str) -> String {
        format!("export LOCKD_CLIENT_SERVER={}; unset LOCKD_CLIENT_DISABLE_MTLS\n{script}", self.front.url())
    }

    fn out(&self, script: &str) -> String {
        self.session.out(&self.over_tls(script))
    }

    fn error(&self, script: &str) -> String {
        self.session.error(&self.over_tls(script))
    }
}

fn address(session: &Session) -> SocketAddr {
    session.url.strip_prefix("http://").unwrap().parse().unwrap()
}

const GET: &str = "lockd client get --public -k k";

#[test]
fn a_bundle_is_all_it_takes() {
    let deployment = Deployment::new();
    deployment.write("my.pem", &deployment.authority.client().bundle());
    deployment.write(
        "config.yaml",
        &format!("client:\n  bundle: {}/my.pem\n", deployment.session.path().display()),
    );
    let script = "
        eval \"$(lockd client acquire -k orders -b my.pem)\"
        export LOCKD_CLIENT_BUNDLE=my.pem
        lockd client set /counter=1 >/dev/null
        lockd client release
        lockd client get --public -k orders
        unset LOCKD_CLIENT_BUNDLE
        lockd client get --public -k orders -b '~/my.pem'
        lockd client get --public -k orders -c config.yaml
        lockd namespace get -b my.pem >/dev/null";
    let out = deployment.out(script);
    assert_eq!(out.matches("\"counter\"").count(), 3, "{out}");
    assert!(deployment.front.handshakes() >= 7);
}

#[test]
fn commands_that_are_run_trust_the_same_servers() {
    let deployment = Deployment::new();
    deployment.write("my.pem", &deployment.authority.client().bundle());
    let script = "lockd client with k -b my.pem -- sh -c 'cd / && lockd client set /a=1 >/dev/null && lockd client get -o -'
        lockd client queue enqueue -q jobs -d hello -b my.pem >/dev/null
        lockd client queue work -q jobs --drain -b my.pem -- sh -c 'cd / && lockd client get --public -k k -o -'";
    let out = deployment.out(script);
    assert_eq!(out.matches("\"a\"").count(), 2, "{out}");
    // Without mutual TLS it stays that way, whatever the variable says.
    let plain = "LOCKD_CLIENT_DISABLE_MTLS=false lockd client with k2 --disable-mtls -- sh -c 'echo $LOCKD_CLIENT_DISABLE_MTLS'";
    assert_eq!(deployment.session.out(plain), "true\n");
}

#[test]
fn the_only_bundle_is_found() {
    let deployment = Deployment::new();
    assert_eq!(deployment.error(GET), "no client bundle found; provide --bundle\n");
    deployment.write(".lockd/client.pem.old", "");
    deployment.write(".lockd/server.pem", &deployment.authority.server().bundle());
    deployment.write(".lockd/client-tc.pem", &deployment.authority.coordinator().bundle());
    assert_eq!(deployment.error(GET), "no client bundle found; provide --bundle\n");
    deployment.write(".lockd/client-unnamed.pem", &deployment.authority.issue(Leaf::client()).bundle());
    assert_eq!(deployment.out(GET), "null\n");
    // A broken one beside it does no harm, and one with a name is better.
    deployment.write(".lockd/client-broken.pem", "");
    deployment.write(".lockd/client.pem", &deployment.authority.client().bundle());
    assert_eq!(deployment.out(GET), "null\n");
}

#[test]
fn what_is_wrong_with_the_bundles_that_were_found_is_told() {
    let deployment = Deployment::new();
    deployment.write(".lockd/client.pem", &Authority::new("a").pem());
    deployment.write(".lockd/client2.pem", &deployment.authority.client().certificate);
    assert_eq!(
        deployment.error(GET),
        "no client bundle found; provide --bundle (parse errors: client.pem: client bundle: client certificate not found; \
         client2.pem: client bundle: matching private key not found)\n"
    );
}

#[test]
fn cli_10_the_directory_of_the_bundles_can_be_moved() {
    let deployment = Deployment::new();
    deployment.write("elsewhere/client.pem", &deployment.authority.client().bundle());
    assert_eq!(deployment.out(&format!("LOCKD_CONFIG_DIR=elsewhere {GET}")), "null\n");
    assert_eq!(deployment.error(GET), "no client bundle found; provide --bundle\n");
}

#[test]
fn cli_42_several_bundles() {
    let deployment = Deployment::new();
    for name in ["client.pem", "client02.pem"] {
        deployment.write(&format!(".lockd/{name}"), &deployment.authority.client().bundle());
    }
    let several = "multiple client bundles found (client.pem, client02.pem); specify --bundle\n";
    assert_eq!(deployment.error(GET), several);
    assert_eq!(deployment.out(&format!("{GET} --bundle .lockd/client02.pem")), "null\n");
    assert_eq!(deployment.session.error(&format!("{GET} --disable-mtls=false")), several);
    // Nobody needs one who talks plain HTTP.
    assert_eq!(deployment.session.out(GET), "null\n");
}

#[test]
fn cli_43_a_bundle_for_coordinators_decides_transactions_and_nothing_else() {
    let deployment = Deployment::new();
    deployment.write("tc.pem", &deployment.authority.coordinator().bundle());
    deployment.write("server.pem", &deployment.authority.server().bundle());
    assert_eq!(
        deployment.error(&format!("{GET} -b tc.pem")),
        "client bundle tc.pem does not match client SPIFFE identity (expected spiffe://lockd/sdk/)\n"
    );
    let commit = "T=$(lockd txn new); lockd txn commit --txn-id $T -p k";
    assert!(deployment.out(&format!("{commit} -b tc.pem")).ends_with(" state=commit\n"));
    assert_eq!(
        deployment.error(&format!("{commit} -b server.pem")),
        "client bundle server.pem does not match client SPIFFE identity (expected spiffe://lockd/tc/ or spiffe://lockd/sdk/)\n"
    );
}

#[test]
fn transactions_look_for_a_coordinator_first() {
    let deployment = Deployment::new();
    let commit = "T=$(lockd txn new); lockd txn commit --txn-id $T -p k";
    assert_eq!(deployment.error(commit), "no client bundle found; provide --bundle\n");
    // The server refuses whom it does not know.
    let stranger = Authority::new("another").client();
    let stranger = format!("{}{}{}", deployment.authority.pem(), stranger.certificate, stranger.key);
    deployment.write(".lockd/client.pem", &stranger);
    let refused = deployment.error(commit);
    assert!(refused.contains("does not accept the certificate of this client"), "{refused}");
    deployment.write(".lockd/tc-client.pem", &deployment.authority.coordinator().bundle());
    assert!(deployment.out(commit).ends_with(" state=commit\n"));
    assert!(deployment.error(GET).contains("does not accept"), "{GET}");
    deployment.write(".lockd/tc-client2.pem", &deployment.authority.coordinator().bundle());
    assert_eq!(
        deployment.error(commit),
        "multiple tc client bundles found (tc-client.pem, tc-client2.pem); specify --bundle\n"
    );
    for name in ["tc-client.pem", "tc-client2.pem"] {
        std::fs::remove_file(deployment.session.path().join(".lockd").join(name)).unwrap();
    }
    deployment.write(".lockd/client.pem", &deployment.authority.client().bundle());
    assert!(deployment.out(commit).ends_with(" state=commit\n"));
}

#[test]
fn a_bundle_that_cannot_be_used_is_named() {
    let deployment = Deployment::new();
    let missing = deployment.error(&format!("{GET} -b no.pem"));
    assert!(missing.starts_with("load client bundle no.pem: "), "{missing}");
    let issued = deployment.authority.client();
    for (text, problem) in [
        (issued.authority.clone(), "client certificate not found"),
        (format!("{}{}", issued.authority, issued.certificate), "matching private key not found"),
        (format!("{}{}", issued.certificate, issued.key), "CA certificate required"),
    ] {
        deployment.write("broken.pem", &text);
        let error = deployment.error(&format!("{GET} -b broken.pem"));
        assert_eq!(error, format!("load client bundle broken.pem: client bundle: {problem}\n"));
    }
}

#[test]
fn without_a_scheme_it_is_tls_unless_that_is_disabled() {
    let deployment = Deployment::new();
    deployment.write(".lockd/client.pem", &deployment.authority.client().bundle());
    assert_eq!(deployment.out(&format!("{GET} -s {}", deployment.front.address)), "null\n");
    let plain = address(&deployment.session);
    assert_eq!(deployment.session.out(&format!("{GET} -s {plain}")), "null\n");
    // What says http stays so.
    assert_eq!(deployment.out(&format!("{GET} -s http://{plain}")), "null\n");
    let error = deployment.error(&format!("{GET} -s {plain}"));
    assert!(
        error.starts_with(&format!("lockd: all endpoints unreachable (attempted https://{plain}): ")),
        "{error}"
    );
    let nobody = "-s [::1]:1,127.0.0.1:1";
    let error = deployment.error(&format!("{GET} {nobody}"));
    assert!(error.contains("(attempted https://[::1]:1,https://127.0.0.1:1)"), "{error}");
    let error = deployment.session.error(&format!("{GET} {nobody}"));
    assert!(error.contains("(attempted http://[::1]:1,http://127.0.0.1:1)"), "{error}");
}

/// With `--disable-mtls` an https server is one like any other: its certificate needs the right name and a CA of the system.
#[test]
fn without_a_bundle_https_trusts_what_the_system_trusts() {
    let deployment = Deployment::new();
    let known = Authority::new("known");
    deployment.write("known.pem", &known.pem());
    let before = |leaf| FrontSettings::new(known.issue(leaf)).before(address(&deployment.session));
    let named = before(Leaf::plain_server().host("localhost"));
    let system = "SSL_CERT_FILE=known.pem SSL_CERT_DIR=/nonexistent";
    let get = |url: &str| format!("{system} {GET} --disable-mtls -s {url}");
    assert_eq!(deployment.session.out(&get(&named.named_url())), "null\n");
    let misnamed = deployment.session.error(&get(&named.url()));
    assert!(misnamed.contains("its certificate is not for \"127.0.0.1\" but for"), "{misnamed}");
    let unknown = deployment.session.error(&get(&deployment.front.named_url()));
    assert!(unknown.contains("not issued by a CA that this client trusts"), "{unknown}");
    // Even a bundle at hand is left alone.
    deployment.write(".lockd/client.pem", &deployment.authority.client().bundle());
    assert_eq!(deployment.session.error(&get(&deployment.front.named_url())), unknown);
}

#[test]
fn failures_say_which_server_and_why() {
    let deployment = Deployment::new();
    deployment.write("foreign.pem", &Authority::new(CA_NAME).client().bundle());
    let url = deployment.front.url();
    let error = deployment.error(&format!("{GET} -b foreign.pem"));
    let begin = format!("lockd: all endpoints unreachable (attempted {url}): POST \"{url}/v1/get?");
    assert!(error.starts_with(&begin), "{error}");
    assert!(error.contains("its certificate is not issued by a CA that this client trusts"), "{error}");
}
