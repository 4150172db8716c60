//! Parse, run, exit code.

/// Planning is a great many small pieces that live until its end, on several threads; of glibc's time for them half was spent on
/// finding room again. Without huge pages (`no_thp`), of which a daemon keeps many for a few pieces each.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    jvp::cli::main()
}
