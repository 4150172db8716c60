//! Parse, run, exit code.

fn main() -> std::process::ExitCode {
    jvp::cli::main()
}
