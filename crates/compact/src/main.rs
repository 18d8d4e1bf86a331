//! The program `compact`: all of it is in the library.

fn main() -> std::process::ExitCode {
    compact::main()
}
