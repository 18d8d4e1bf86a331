fn main() -> std::process::ExitCode {
    housekeep::main()
}
