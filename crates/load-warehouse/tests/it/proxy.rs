//! A network between the program and a server that does not always do its part.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What happens once: to the first COMMIT of a transaction that has inserted, unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trick {
    /// The server gets it, and the connection breaks before its answer.
    LoseTheAnswer,
    /// The connection breaks before the server gets it.
    LoseTheRequest,
    /// Nothing more comes through, in either direction, and nobody says so.
    FallSilent,
    /// The server's answer to who asks MariaDB for the lock comes after seven seconds.
    AnswerLate,
    /// The connection breaks when MariaDB is asked for the columns of the table `readings`.
    LoseTheQuestion,
}

impl Trick {
    fn is_due(self, says: impl Fn(&[u8]) -> bool, inserted: bool) -> bool {
        match self {
            Self::LoseTheAnswer | Self::LoseTheRequest | Self::FallSilent => inserted && says(b"COMMIT"),
            Self::AnswerLate => says(b"FOR UPDATE"),
            Self::LoseTheQuestion => says(b"table_name = 'readings'"),
        }
    }
}

/// Passes connections on to `server`, and plays `trick` once; returns the port. It lives as long as the tests.
pub(crate) fn proxy(server: u16, trick: Trick) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let played = Arc::new(AtomicBool::new(false));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, played) = (client.unwrap(), Arc::clone(&played));
            let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
            let cut = Arc::new(AtomicBool::new(false));
            let (back, forth, cut_back) = (client.try_clone().unwrap(), server.try_clone().unwrap(), Arc::clone(&cut));
            std::thread::spawn(move || answers(forth, back, &cut_back, trick));
            std::thread::spawn(move || requests(client, server, &cut, &played, trick));
        }
    });
    port
}

fn requests(mut client: TcpStream, mut server: TcpStream, cut: &AtomicBool, played: &AtomicBool, trick: Trick) {
    let mut bytes = vec![0; 65536];
    let mut inserted = false;
    while let Ok(count @ 1..) = client.read(&mut bytes) {
        let sent = &bytes[..count];
        let says = |text: &[u8]| sent.windows(text.len()).any(|part| part == text);
        // MySQL's extension inserts by INSERT, PostgreSQL's by COPY.
        inserted |= says(b"INSERT INTO") || says(b"FROM STDIN");
        if trick.is_due(says, inserted) && !played.swap(true, Ordering::Relaxed) {
            cut.store(true, Ordering::Relaxed);
            match trick {
                Trick::LoseTheAnswer | Trick::AnswerLate => {}
                Trick::LoseTheRequest | Trick::LoseTheQuestion => break,
                Trick::FallSilent => std::thread::sleep(Duration::from_secs(600)),
            }
        }
        if server.write_all(sent).is_err() {
            break;
        }
    }
    let _ = (server.shutdown(Shutdown::Both), client.shutdown(Shutdown::Both));
}

fn answers(mut server: TcpStream, mut client: TcpStream, cut: &AtomicBool, trick: Trick) {
    let mut bytes = vec![0; 65536];
    let mut is_first = true;
    while let Ok(count @ 1..) = server.read(&mut bytes) {
        if std::mem::take(&mut is_first) {
            forbid_compression(&mut bytes[..count]);
        }
        if trick == Trick::AnswerLate && cut.swap(false, Ordering::Relaxed) {
            std::thread::sleep(Duration::from_secs(7));
        }
        if cut.load(Ordering::Relaxed) && trick != Trick::FallSilent {
            break;
        }
        if client.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    if !(cut.load(Ordering::Relaxed) && trick == Trick::FallSilent) {
        let _ = (server.shutdown(Shutdown::Both), client.shutdown(Shutdown::Both));
    }
}

/// Takes the offer to compress out of the greeting of a MySQL server, which has its version 10 and then text up to a zero,
/// a number, eight random bytes, a zero and the offers.
fn forbid_compression(greeting: &mut [u8]) {
    if greeting.get(4) == Some(&10)
        && let Some(end) = greeting.iter().skip(5).position(|byte| *byte == 0)
        && let Some(offers) = greeting.get_mut(5 + end + 1 + 4 + 8 + 1)
    {
        *offers &= !0x20;
    }
}
