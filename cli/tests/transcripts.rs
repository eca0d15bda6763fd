//! Transcripts of scanctl: what it prints and how it ends, for all that needs no coordinator. Reviewed like code; renewed
//! with `TRYCMD=overwrite cargo test --release -p cli --test transcripts`.

#[test]
fn scanctl_says_what_its_transcripts_say() {
    trycmd::TestCases::new()
        .case("tests/cmd/*.trycmd")
        .env("NO_COLOR", "1")
        .env("SCANCTL_ADDRESS", "http://127.0.0.1:9");
}
