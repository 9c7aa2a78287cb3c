//! Many clients that hold keys or wait for one, made with few exchanges.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use crate::engine::connect;
use crate::fault::Fault;
use crate::script::ask;

/// Requests sent before their answers are read.
const BATCH: usize = 500;

/// Takes so many keys on one connection. `prefix` and a number make the key.
pub(crate) fn hold(socket: &TcpStream, prefix: &str, keys: usize, lease: u64) -> Result<(), Fault> {
    let mut reader = BufReader::with_capacity(64 << 10, socket);
    let (mut requests, mut line) = (Vec::new(), Vec::new());
    let lease = lease.to_string();
    let mut taken = 0;
    while taken < keys {
        let batch = BATCH.min(keys - taken);
        requests.clear();
        for number in taken..taken + batch {
            let key = format!("{prefix}/{number:08}");
            ask(&mut requests, b"l", key.as_bytes(), &[b"0", lease.as_bytes()]);
        }
        let mut writer = socket;
        writer.write_all(&requests)?;
        for _ in 0..batch {
            line.clear();
            reader.read_until(b'\n', &mut line)?;
            if !line.starts_with(b"ok ") {
                return Err(Fault::unexpected("l", &line));
            }
        }
        taken += batch;
    }
    Ok(())
}

/// Connections that have each said something, and now say nothing.
pub(crate) fn idle(port: u16, count: usize) -> Result<Vec<TcpStream>, Fault> {
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = connect(port)?;
        let (mut writer, mut line) = (&socket, String::new());
        writer.write_all(b"ping\n\n\n")?;
        BufReader::with_capacity(64, &socket).read_line(&mut line)?;
        if line != "ok\n" {
            return Err(Fault::unexpected("ping", line.as_bytes()));
        }
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Connections that wait for one key, which somebody holds.
pub(crate) fn waiting(port: u16, key: &str, count: usize) -> Result<Vec<TcpStream>, Fault> {
    let mut request = Vec::new();
    ask(&mut request, b"l", key.as_bytes(), &[b"3600"]);
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let mut socket = connect(port)?;
        socket.write_all(&request)?;
        sockets.push(socket);
    }
    Ok(sockets)
}

/// The process that `leave` kills: takes its keys, says so, and stays until then.
pub(crate) fn serve(port: u16, clients: usize, keys_each: usize) -> Result<(), Fault> {
    let sockets = idle(port, clients)?;
    for (number, socket) in sockets.iter().enumerate() {
        hold(socket, &format!("crowd/{number:05}"), keys_each, 3600)?;
    }
    // A crowd lives on other machines. Its end must not take the processor from the server and the generator.
    let _ = rustix::process::nice(19);
    writeln!(std::io::stdout().lock(), "ready")?;
    let mut end = String::new();
    std::io::stdin().lock().read_line(&mut end)?;
    drop(sockets);
    Ok(())
}
