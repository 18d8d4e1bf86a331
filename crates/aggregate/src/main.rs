//! The program `aggregate`: see the library.

fn main() -> std::process::ExitCode {
    aggregate::main()
}
