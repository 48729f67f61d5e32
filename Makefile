# The one entry point: people and CI run the same targets. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test fmt lint unit doc examples generated generate fuzz-smoke deny helm-lint bench perf perf-full perf-smoke gates build clean cluster e2e clients login torture limits limits-full

CARGO ?= cargo
# Where rustup puts cargo, for shells that were opened before it was installed.
export PATH := $(PATH):$(HOME)/.cargo/bin

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: ## Install what is missing (compiler, Rust), and say what and why
	@scripts/setup.sh

demo: ## Four models behind one address; ONCE=1 ends after the requests, REDIS=1 shows a limit that two gateways share
	@scripts/demo.sh

test: setup ## Everything that must hold: format, lints, tests, docs, examples, generated files, chart, fuzz smoke
	@scripts/step.sh "format" $(MAKE) -s fmt
	@scripts/step.sh "lints" $(MAKE) -s lint
	@scripts/step.sh "tests" $(MAKE) -s unit
	@scripts/step.sh "documentation" $(MAKE) -s doc
	@scripts/step.sh "examples" $(MAKE) -s examples
	@scripts/step.sh "generated files" $(MAKE) -s generated
	@scripts/step.sh "chart" $(MAKE) -s helm-lint
	@scripts/step.sh "fuzz smoke" $(MAKE) -s fuzz-smoke
	@scripts/step.sh "dependencies" $(MAKE) -s deny

fmt: ## Check the format
	$(CARGO) fmt --all --check

lint: ## Clippy, warnings are errors; no cycles between modules, no dependency that nothing uses
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	scripts/cycles.py --self-test
	scripts/cycles.py
	scripts/unused.sh

unit: ## Unit, property and integration tests; benches run once each
	$(CARGO) test --workspace --all-targets --locked

doc: ## Documentation tests; the documentation builds without warnings, its links and names of files lead somewhere
	$(CARGO) test --workspace --doc --locked
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --quiet
	python3 scripts/links.py

examples: ## Every example passes the validator
	$(CARGO) build --workspace --bins --locked --quiet
	scripts/validate-examples.sh

generated: ## Generated files are up to date
	scripts/generate.sh --check

generate: ## Write the generated files
	scripts/generate.sh

fuzz-smoke: ## Each fuzz target for a few seconds
	scripts/fuzz.sh smoke

deny: ## Licences, bans and sources of the dependencies
	scripts/deny.sh

helm-lint: ## The chart lints and renders with several files of values
	scripts/helm-lint.sh

cluster: ## A Kubernetes cluster without containers, with Penstock and the walkthrough in it, until Ctrl-C
	@scripts/cluster.sh

e2e: ## The end-to-end tests on such a cluster (cold: builds Kubernetes first)
	@scripts/e2e.sh

clients: setup ## Real SDKs for Python and Node.js against simulated providers, every pair and Claude Code (four minutes once installed; SUITE=claude)
	@scripts/clients.sh

login: ## People log in at a real OpenID provider (Dex), and programs show its tokens, by way of two gateways (under a minute once built)
	@scripts/login.sh

torture: setup ## Attacks at full speed while a good client looks on, h2spec, chaos (about 5 minutes once built; CHAOS=3600)
	scripts/torture.sh

limits: setup ## Limits with three gateways, a real Redis and the worst of faults: totals agree, nothing leaks (under 2 minutes once built)
	scripts/limits.sh --short --seconds 4

limits-full: setup ## The same with all faults and a minute of load each (about 11 minutes once built)
	scripts/limits.sh --seconds 60

bench: ## All benchmarks (minutes; compare within one run)
	$(CARGO) bench --workspace

perf: setup ## Gateways side by side: the headline table, in 10 minutes once built
	scripts/perf.sh headline

perf-full: setup ## Gateways side by side in all scenarios (about half an hour)
	scripts/perf.sh full

perf-smoke: setup ## Load, comparison and simulation run at all (under 5 minutes once built)
	scripts/perf.sh smoke

gates: ## Instructions of the hot parts against their baselines; ACCEPT=1 writes new ones
	@scripts/setup.sh gates
	scripts/gates.py $(if $(ACCEPT),--accept)

build: setup ## The release binaries
	PENSTOCK_COMMIT=$$(git rev-parse --short=12 HEAD 2>/dev/null) $(CARGO) build --release --locked --bins

clean: ## Remove what was built
	$(CARGO) clean
