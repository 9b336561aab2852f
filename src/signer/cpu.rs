//! Which instruction-set extensions does this processor have?
//!
//! Backends choose their code at run time, and the order of a ranking follows
//! from that choice: it is told beside the figures. What a library does with
//! an extension is its backend's knowledge, not this module's.

/// Returns those of `names` that this processor has, in the order given.
///
/// A name that is unknown on this architecture counts as absent.
pub(super) fn present(names: &[&str]) -> Vec<String> {
    names
        .iter()
        .filter(|name| has(name))
        .map(|name| (*name).to_owned())
        .collect()
}

/// Says what the variable `OPENSSL_ia32cap` does to libraries that obey it.
///
/// It masks extensions, and with them the fastest code, without a trace in
/// the figures.
pub(super) fn mask_caveat() -> Option<String> {
    let mask = std::env::var("OPENSSL_ia32cap").ok()?;
    Some(format!(
        "OPENSSL_ia32cap is set to {mask:?}, so that not every extension may be in use"
    ))
}

#[cfg(target_arch = "x86_64")]
fn has(name: &str) -> bool {
    match name {
        "adx" => is_x86_feature_detected!("adx"),
        "avx" => is_x86_feature_detected!("avx"),
        "avx2" => is_x86_feature_detected!("avx2"),
        "avx512bw" => is_x86_feature_detected!("avx512bw"),
        "avx512dq" => is_x86_feature_detected!("avx512dq"),
        "avx512f" => is_x86_feature_detected!("avx512f"),
        "avx512ifma" => is_x86_feature_detected!("avx512ifma"),
        "avx512vl" => is_x86_feature_detected!("avx512vl"),
        "bmi1" => is_x86_feature_detected!("bmi1"),
        "bmi2" => is_x86_feature_detected!("bmi2"),
        "fma" => is_x86_feature_detected!("fma"),
        "sha" => is_x86_feature_detected!("sha"),
        _ => false,
    }
}

#[cfg(target_arch = "aarch64")]
fn has(name: &str) -> bool {
    match name {
        "neon" => std::arch::is_aarch64_feature_detected!("neon"),
        "sha2" => std::arch::is_aarch64_feature_detected!("sha2"),
        "sha3" => std::arch::is_aarch64_feature_detected!("sha3"),
        _ => false,
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has(_: &str) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_is_named_and_in_order() {
        assert!(present(&["no-such-extension"]).is_empty());
        let all = ["bmi1", "bmi2", "adx", "neon"];
        let found = present(&all);
        let kept: Vec<_> = all
            .into_iter()
            .filter(|name| found.iter().any(|found| found == name))
            .collect();
        assert_eq!(found, kept);
    }
}
