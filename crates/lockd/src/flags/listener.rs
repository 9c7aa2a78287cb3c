//! Flags of the listening socket and its protocol.

use super::{Flag, Kind, Section};

pub(super) const FLAGS: &[Flag] = &[
    Flag {
        name: "listen",
        section: Section::Listener,
        placeholder: "ADDRESS",
        kind: Kind::Text(|settings, text| settings.listen = text),
        default: ":9341",
        help: "Address to listen on (host:port; no host means every interface, port 0 a free one), or the path of \
               the socket with --listen-proto unix.",
        ..Flag::SERVER
    },
    Flag {
        name: "listen-proto",
        section: Section::Listener,
        kind: Kind::Choice(&["tcp", "tcp4", "tcp6", "unix"], |settings, word| settings.listen_proto = word),
        default: "tcp",
        help: "Kind of socket: tcp (IPv4 and IPv6), tcp4, tcp6 or unix.",
        ..Flag::SERVER
    },
    Flag {
        name: "unix-socket-mode",
        section: Section::Listener,
        kind: Kind::Mode(|settings, mode| settings.unix_socket_mode = mode),
        default: "0600",
        help: "Permissions of the unix socket, in octal.",
        ..Flag::SERVER
    },
    Flag {
        name: "http2-max-concurrent-streams",
        section: Section::Listener,
        kind: Kind::Number(|settings, number| settings.http2_max_concurrent_streams = number),
        default: "1024",
        help: "Requests in flight on one HTTP/2 connection. 0 leaves it to the HTTP library.",
        ..Flag::SERVER
    },
];
