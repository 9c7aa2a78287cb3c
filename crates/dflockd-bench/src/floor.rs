//! The least that any server of this protocol can cost: one read and one write for a request, and nothing in between. It
//! grants whatever it is asked for and must not be used for anything but comparisons.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use rustix::event::epoll;

use crate::fault::Fault;

const LISTENER: u64 = u64::MAX;
const GRANT: &[u8] = b"ok 00000000000000010000000000000001 33\n";

pub(crate) fn serve(port: u16) -> Result<(), Fault> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
    let mut buffer = vec![0; 64 << 10];
    loop {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let number = event.data.u64();
            if number == LISTENER {
                let (socket, _) = listener.accept()?;
                socket.set_nodelay(true)?;
                socket.set_nonblocking(true)?;
                let data = epoll::EventData::new_u64(connections.len() as u64);
                epoll::add(&epoll, &socket, data, epoll::EventFlags::IN | epoll::EventFlags::ET)?;
                connections.push(Some(socket));
                continue;
            }
            let Some(place) = connections.get_mut(number as usize) else { continue };
            let Some(socket) = place else { continue };
            let answered = match socket.read(&mut buffer) {
                Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => socket.write_all(if buffer[0] == b'l' { GRANT } else { b"ok\n" }),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
                Err(error) => Err(error),
            };
            if answered.is_err() {
                *place = None;
            }
        }
    }
}
