# What can be done here, one line each; the work is in scripts/ and in cargo. `make` alone prints this list.
# CATALOG=dir, RUNS=n, SEEDS=n, FROM=k, MINUTES=n, SEED=n, TRACKS=n, RECORD=file, JSON=file, DEVICE=cpu|cuda, BEFORE=dir, OTHER=dir and KEY=file are read where the
# list says so.

DEVICE ?= cpu
RUNS ?= 20
CATALOG ?=
SEEDS ?= 2000
FROM ?= 0
MINUTES ?= 3
SEED ?= 1
LEADER_EVERY ?=
TRACKS ?=
LEADER_END ?=
OTHER ?=
RECORD ?= docs/reference/simulation-record.txt
JSON ?=
BEFORE ?=
export DEVICE CATALOG JSON BEFORE

.DEFAULT_GOAL := help
.PHONY: help setup build demo demo-cluster test parity bench bench-stages bench-scheduler bench-cluster gpu crash versions bad-input chaos sim mutants evaluate calibrate bundle report-card verify fix

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

setup: ## OS packages (as root), Rust, the pinned libtorch, etcd for tests; DEVICE=cuda adds the GPU libraries
	@scripts/setup.sh

# The examples go along: with them libraries are built with the features that suites ask for, once, and what runs is what is tested.
build: setup ## the five binaries in target/release
	cargo build --release --locked --workspace --bins --examples

demo: build ## scan the demonstration catalogue, or CATALOG=dir, and show the verdicts
	@scripts/demo.sh

demo-cluster: setup ## two hosts on this machine scan the demonstration catalogue with both engines while their leader is killed; a table
	cargo build --release --locked --workspace --all-targets
	cargo test --release --locked --workspace --test both -- --nocapture --test-threads=1

# Suites build everything at once, each the same: building the binaries first, or one package, would build half of the libraries
# twice, since the tests ask for more of their features.
# All suites run though one fails, and in those that mostly wait more tests run at once: scripts/run-suite.sh is what cargo starts each one with.
test: setup ## all tests; needs no network once the registries have been read
	cargo build --release --locked --workspace --all-targets
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=scripts/run-suite.sh cargo test --release --locked --workspace --no-fail-fast
	cargo test --release --locked -p sim --features mutants --test mutants

parity: setup ## HTDemucs against the package demucs: golden vectors, each tensor altered, the converter on both file kinds, full size; installs PyTorch (5 GB) like bench
	@scripts/parity.sh

bench: build ## the measured targets, in interleaved pairs; installs PyTorch (5 GB) into the user's cache
	@scripts/bench.sh

bench-stages: build ## each stage of the demonstration bundle by batch on one device, into docs/benchmarks/stages.md; DEVICE=cuda on a GPU
	@scripts/bench-stages.sh

bench-scheduler: ## the scheduler's targets: core alone, pairs over gRPC, restart after kill -9; a table, and JSON in JSON=file
	@scripts/bench-scheduler.sh

bench-cluster: build ## coordinators on etcd, and 200,000 objects in S3 through the whole path; a table, and JSON in JSON=file; an hour
	@scripts/bench-cluster.sh

# On a GPU unless the command line says otherwise.
gpu: DEVICE = cuda
gpu: ## parity, speed and memory on one GPU in under ten minutes, of binaries that are built; DEVICE=cpu tries it on a processor; JSON=file
	@scripts/gpu.sh

crash: setup ## kill -9 every process in turn during RUNS=20 scans and recount the results; CRASH_SEED=n makes the same moments again
	cargo build --release --locked --workspace --all-targets
	CRASH_RUNS=$(RUNS) cargo test --release --locked --workspace --test crash -- --nocapture --test-threads=1

versions: setup ## one cluster of this version and the one before, at once, from one to the other and back; BEFORE=dir has its binaries, else they are built
	@scripts/versions.sh

bad-input: setup ## scan the hostile catalogue and print what became of each file
	cargo build --release --locked --workspace --all-targets
	cargo test --release --locked --workspace --test bad_input -- --nocapture --test-threads=1

# The record of simulated seeds is not this one's: a run is recorded where the command line says so.
chaos: RECORD =
chaos: setup ## a cluster of ten hosts under real faults: MINUTES=3, SEED=1; OTHER=dir is a build to roll to and from; LEADER_EVERY=20 ends the leader alone; TRACKS=n of a job; report to JSON=file, faults to RECORD=file
	cargo build --release --locked --workspace --all-targets
	CHAOS_MINUTES=$(MINUTES) CHAOS_SEED=$(SEED) CHAOS_TRACKS=$(TRACKS) CHAOS_JSON=$(JSON) CHAOS_RECORD=$(RECORD) CHAOS_OTHER_BUILD=$(OTHER) LEADER_EVERY=$(LEADER_EVERY) LEADER_END=$(LEADER_END) \
		cargo test --release --locked --workspace --test chaos -- --nocapture --test-threads=1

sim: ## a virtual cluster under faults: SEEDS=2000 seeds from FROM=0; a line goes to RECORD=file, failures keep their logs
	cargo run --release --locked -p sim --bin trackscan-sim -- run --from $(FROM) --seeds $(SEEDS) \
		$(if $(RECORD),--record $(RECORD) --commit $$(git rev-parse --short=12 HEAD))

mutants: ## plant one bug after the other in the cores and their shells, and print which promise found it, and how soon
	cargo run --release --locked -p sim --features mutants --bin trackscan-sim -- mutants

calibrate: setup ## scan a generated catalogue, calibrate on labels for it the demonstration bundle, then one of both engines, scan again with each; print the calibrations and what moved
	cargo build --release --locked --workspace --all-targets
	cargo test --release --locked --workspace --test e2e -- calibrating::a_calibrated calibrating_both:: --nocapture --test-threads=1

evaluate: build ## the demonstration bundle's table, measured again, and the grid of both engines as far as it comes in MINUTES=60
	@scripts/evaluate.sh

bundle: build ## train and sign the demonstration bundle again (up to three hours); KEY=file signs with a key of yours
	@scripts/bundle.sh

# All of it is built, as for the tests: one package alone would build half of the libraries twice.
report-card: setup ## scan the demonstration catalogue with both engines and take the picture of a card that docs/reference/report.md shows
	cargo build --release --locked --workspace --all-targets
	REPORT_CARD=docs/reference/report-card.png cargo test --release --locked --workspace --test e2e card::

verify: setup ## formatting, lints, documentation, licences and bans; changes nothing
	@scripts/verify.sh

fix: ## what formatting and lints can repair by themselves
	cargo fmt --all
	cargo clippy --release --workspace --all-targets --fix --allow-dirty --allow-staged
