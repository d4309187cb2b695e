# Regatta's tasks. `make` alone lists them.
#
# Variables: LIBTORCH=/path (use this libtorch), CUDA=0|1 (fetch it without or with CUDA),
# MODEL=smollm2 (fetch this model too), NATS=1 (fetch the message broker of runs over many machines
# too), PYTHON (for set-up), CARGO, ARGS (more arguments for `make run` and `make methods`; for
# `make bench` the parts to measure; for `make survive` another scenario and its flags; for `make
# check-cluster` the failures to try), TERMINAL=0 (`make check-monitoring` without the terminal
# client, which takes minutes to build), PREFIX and DESTDIR (where `make install` puts what it
# installs).

.DEFAULT_GOAL := help
PYTHON ?= python3
CARGO ?= cargo
PREFIX ?= $(HOME)/.local
SCENARIO ?= scenarios/quickstart.toml

# Cargo runs build scripts in other folders, where a relative path leads nowhere.
ifneq ($(strip $(LIBTORCH)),)
override LIBTORCH := $(abspath $(LIBTORCH))
export LIBTORCH
else
unexport LIBTORCH
endif

# Only as an argument of make: an environment may well have a MODEL of another kind.
ifeq ($(origin MODEL),command line)
ASKED_MODEL := --model "$(MODEL)"
endif
ifeq ($(strip $(NATS)),1)
ASKED_NATS := --nats
endif

.PHONY: help
help: ## list the targets
	@echo "Regatta simulates federated fine-tuning of transformers. Targets:"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "LIBTORCH=/path uses that libtorch; CUDA=1 or CUDA=0 decides which one is fetched."
	@echo "\`make setup MODEL=smollm2\` fetches a language model too, for runs that name models/smollm2."
	@echo "\`make setup NATS=1\` fetches the message broker NATS too, for runs over many machines."

.PHONY: setup
setup: tools ## fetch what is missing: libtorch, a small model, a small data set (MODEL, NATS)
	@$(PYTHON) -m setup $(ASKED_MODEL) $(ASKED_NATS)

.PHONY: build
build: tools ## build target/release/regatta, and fetch what is missing beside it
	@CARGO="$(CARGO)" $(PYTHON) -m setup $(ASKED_MODEL) $(ITS_MODEL) $(ASKED_NATS) $(CARGO) build --release

.PHONY: run
run: ITS_MODEL = --scenario "$(SCENARIO)"
run: build ## train the quickstart: four clients, four domains (SCENARIO, ARGS)
	$(CARGO) run --release -- run $(SCENARIO) $(ARGS)

.PHONY: install
install: build ## put program, completions and manual under PREFIX, by default ~/.local (PREFIX, DESTDIR)
	sh setup/install.sh "$${CARGO_TARGET_DIR:-target}/release/regatta" "$(DESTDIR)" "$(PREFIX)"

.PHONY: methods
methods: build ## compare all aggregation methods; writes benches/METHODS.md (ARGS)
	$(PYTHON) benches/methods.py $(ARGS)

.PHONY: bench
bench: ASKED_NATS = --nats
bench: setup ## measure what the project claims, into benches/RESULTS.md; about 1 3/4 hours (ARGS)
	CARGO="$(CARGO)" $(PYTHON) -m benches $(ARGS)

# clippy compiles as well as it checks, and rustdoc reads what it compiled: so everything is built
# once.
CHECKED = RUSTC_WORKSPACE_WRAPPER="$(CURDIR)/setup/rustc.sh" \
	CLIPPY_ARGS=-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__

.PHONY: test
test: lint-tools setup test-setup ## every check: formatting, clippy, docs and all tests
	$(CARGO) fmt --all --check
	$(CHECKED) $(CARGO) test --workspace --all-targets --no-run
	$(CHECKED) $(CARGO) test --workspace --no-fail-fast
	$(MAKE) --no-print-directory dry-run-gpu

.PHONY: dry-run-gpu
dry-run-gpu: ## what benches/gpu.sh measures on a GPU, on the processor in tiny sizes; part of `make test`
	@# As `make test` builds the program. The dry run's figures say nothing; it shows what is printed.
	GPU_DEVICE=cpu PYTHON="$(PYTHON)" sh benches/gpu.sh $${CARGO_TARGET_DIR:-target}/debug/regatta \
		-- --quick --out $${CARGO_TARGET_DIR:-target}/gpu.md >$${CARGO_TARGET_DIR:-target}/gpu.log || \
		{ cat $${CARGO_TARGET_DIR:-target}/gpu.log; exit 1; }

.PHONY: survive
survive: build ## kill a run twenty times, resume it, compare the digests; some minutes
	sh tests/survive.sh $${CARGO_TARGET_DIR:-target}/release/regatta 20 $(ARGS)

.PHONY: survive-cluster
survive-cluster: ASKED_NATS = --nats
survive-cluster: setup ## kill broker, run and workers twenty times, compare with a run on one machine
	@# As `make test` builds the program, so that it is not built once more.
	$(CHECKED) $(CARGO) test --workspace --no-run --test command_line
	$(PYTHON) tests/survive_cluster.py $${CARGO_TARGET_DIR:-target}/debug/regatta 20

.PHONY: check-monitoring
check-monitoring: setup ## dashboards, rules and metrics with a real Prometheus; slow
	@# As `make test` builds the tests and the program, so that they are not built once more.
	$(CHECKED) $(CARGO) test --workspace --test monitoring
	CARGO="$(CARGO)" $(PYTHON) -m dashboards.check $${CARGO_TARGET_DIR:-target}/debug/regatta \
		$(if $(filter 0,$(TERMINAL)),--no-terminal)

.PHONY: check-web
check-web: setup ## the live page of real runs in a headless Chromium; writes pictures of it
	@# As `make test` builds the program, so that it is not built once more.
	$(CHECKED) $(CARGO) test --workspace --no-run --test command_line
	$(PYTHON) -m tests.page $${CARGO_TARGET_DIR:-target}/debug/regatta

.PHONY: check-slurm
check-slurm: ASKED_NATS = --nats
check-slurm: setup ## the scripts for Slurm with a real one of two nodes here, and nodes that die; minutes
	@# As `make test` builds the program, so that it is not built once more.
	$(CHECKED) $(CARGO) test --workspace --no-run --test command_line
	$(PYTHON) tests/slurm.py $${CARGO_TARGET_DIR:-target}/debug/regatta

.PHONY: check-cluster
check-cluster: ASKED_NATS = --nats
check-cluster: build ## what may go wrong in a run over many machines, once each; four minutes
	$(PYTHON) tests/cluster_failures.py $${CARGO_TARGET_DIR:-target}/release/regatta $(ARGS)

.PHONY: lint
lint: lint-tools setup ## formatting and clippy; a warning is an error
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

.PHONY: doc
doc: setup ## the API's documentation in target/doc; a warning is an error
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --workspace

.PHONY: deny
deny: tools ## advisories, licences and sources of dependencies, with cargo-deny (cargo install cargo-deny)
	$(CARGO) deny check

.PHONY: fmt
fmt: ## format the code
	@$(CARGO) fmt --version >/dev/null 2>&1 || sh setup/tools.sh missing rustfmt
	$(CARGO) fmt --all

.PHONY: clean
clean: ## remove what was built
	$(CARGO) clean

.PHONY: distclean
distclean: clean ## remove what was built and what was downloaded
	rm -rf third_party models/minilm models/smollm2 data/reviews

.PHONY: tools
tools:
	@CARGO="$(CARGO)" PYTHON="$(PYTHON)" sh setup/tools.sh

.PHONY: lint-tools
lint-tools: tools
	@$(CARGO) fmt --version >/dev/null 2>&1 || sh setup/tools.sh missing rustfmt
	@$(CARGO) clippy --version >/dev/null 2>&1 || sh setup/tools.sh missing clippy

.PHONY: test-setup
test-setup: tools
	$(PYTHON) -m unittest discover --quiet --start-directory setup/tests --top-level-directory .
	$(PYTHON) -m unittest discover --quiet --start-directory benches/tests --top-level-directory .
