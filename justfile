# The main job: everything from a key to a report, in one process.
quickstart:
    cargo run --release -- run scenarios/quickstart.toml

# All tests.
test:
    cargo test

# What a change must pass.
ci:
    .ci/run

lint:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings

# All benches; compare two runs with critcmp.
bench:
    cargo bench
