//! The properties of any text, for a search that is led by which branches of the code a text reaches: `make fuzz`.
//!
//! The properties are those of the tests. What breaks one is kept in a file that the fuzzer names; give the file as an
//! argument to run it again.

#![no_main]
#![allow(dead_code, unused_imports, reason = "the tests' modules have tests, too")]

#[path = "../tests/it/definitions.rs"]
mod definitions;
#[path = "../tests/it/given.rs"]
mod given;
#[path = "../tests/it/language.rs"]
mod language;
#[path = "../tests/it/legacy.rs"]
mod legacy;
#[path = "../tests/it/properties.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|text: &str| {
    properties::check(given::batch(text));
    properties::check(given::legacy(text));
    properties::rendered_or_refused(text);
    properties::rendered_or_refused(&format!("${{{{ {text} }}}}"));
});
