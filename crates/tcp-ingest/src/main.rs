//! The program; all of it is in the library.

fn main() -> std::process::ExitCode {
    tcp_ingest::main()
}
