//! What decides which instructions run, beside the code: compiler, C library and processor.

use std::process::Command;

/// The key of counts that are made here. Under valgrind, the processor is the one that
/// valgrind imitates, so that machines with newer ones share a key.
pub(crate) fn here() -> String {
    let features: Vec<&str> =
        features().into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect();
    format!(
        "{}; {}; {} {}",
        env!("COMPILER"),
        c_library(),
        std::env::consts::ARCH,
        features.join(" ")
    )
    .trim_end()
    .to_owned()
}

/// Its functions choose their code by the processor, too.
fn c_library() -> String {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let name = output.ok().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "another C library".into())
}

/// Features that libraries look for when they run.
#[cfg(target_arch = "x86_64")]
fn features() -> Vec<(&'static str, bool)> {
    macro_rules! found {
        ($($name:tt),*) => { vec![$(($name, std::arch::is_x86_feature_detected!($name))),*] };
    }
    found!(
        "ssse3",
        "sse4.1",
        "sse4.2",
        "popcnt",
        "pclmulqdq",
        "aes",
        "sha",
        "bmi1",
        "bmi2",
        "lzcnt",
        "fma",
        "avx",
        "avx2",
        "avx512f",
        "avx512bw",
        "avx512vl"
    )
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<(&'static str, bool)> {
    Vec::new()
}
