//! The properties of any text, for longer than each test run can take: `make soak`.
//!
//! A seed is printed when one fails; `SPEC_SEED` runs that one again, and `SPEC_SOAK_SECONDS` says for how long to go on.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::given::{batch, legacy};
use crate::properties::{PIECES, TOKENS, check, check_changed, rendered_or_refused};

/// How many texts are made from one seed.
const CASES: u32 = 200;

#[test]
#[ignore = "long: runs for a minute"]
fn no_text_breaks_the_reading_or_a_template() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let limit = Duration::from_secs(number("SPEC_SOAK_SECONDS").unwrap_or(60));
    let start = Instant::now();
    if let Some(seed) = number("SPEC_SEED") {
        return round(seed);
    }
    let first = u64::from(std::process::id()) << 32;
    let mut rounds = 0;
    while start.elapsed() < limit {
        let seed = first + rounds;
        if let Err(panic) = std::panic::catch_unwind(|| round(seed)) {
            eprintln!("failed with SPEC_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
        rounds += 1;
    }
    println!("{} texts", rounds * u64::from(3 * CASES));
    assert!(rounds > 0, "not even one round ended in time");
}

fn round(seed: u64) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let pieces = prop::collection::vec(select(PIECES), 0..80);
    let tokens = prop::collection::vec(select(TOKENS), 0..60);
    let change = (any::<Index>(), 0_usize..60, select(PIECES));
    let result = runner.run(&pieces, |pieces| {
        check(batch(&pieces.concat()));
        check(legacy(&pieces.concat()));
        Ok(())
    });
    result.unwrap();
    let result = runner.run(&tokens, |tokens| {
        rendered_or_refused(&tokens.concat());
        rendered_or_refused(&format!("${{{{ {} }}}}", tokens.concat()));
        Ok(())
    });
    result.unwrap();
    let result = runner.run(&change, |(at, length, piece)| {
        check_changed(at, length, piece);
        Ok(())
    });
    result.unwrap();
}
