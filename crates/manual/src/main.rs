//! See the library.

fn main() -> anyhow::Result<()> {
    manual::main()
}
