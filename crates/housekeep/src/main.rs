//! The program `housekeep`: all of it is in the library.

fn main() -> std::process::ExitCode {
    housekeep::main()
}
