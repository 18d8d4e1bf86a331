fn main() -> std::process::ExitCode {
    compact::main()
}
