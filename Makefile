# Wattfleet. Every target does all of its own set-up, into .venv and .cache, and tells what it does and how long it took.
# Needed: Python 3.11 or newer with venv, make, git and the package registries. Each step is a script in setup/.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
# The steps mostly wait for downloads, so several run at once.
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j4
endif

FITS := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON := $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c '$(FITS)' 2>/dev/null && { command -v $$python; break; }; done)
COMMA := ,
STEP = $(if $(PYTHON),$(PYTHON),$(error Python 3.11 or newer with venv is needed, and no python3 on PATH is that))
VENV := .venv/bin
# Python keeps compiled modules, whatever the machine says: a dozen processes of the demo start from them.
export PYTHONDONTWRITEBYTECODE :=
# Our own programs come first, whatever the machine has.
OWN_PATH := PATH="$(CURDIR)/.cache/bin:$(CURDIR)/$(VENV):$$PATH"

UV := .cache/done/uv
ENVIRONMENT := .venv/.made-from
VICTORIA_METRICS := .cache/done/victoria-metrics
BUN := .cache/bun/.made-from
CANAILLE := .cache/canaille/.made-from
PAGE := .cache/done/ui
POSTGRESQL := .cache/postgresql/.made-from
BASELINE := .cache/done/baseline
CONTROL_PLANE := .cache/controlplane/.made-from
COREDNS := .cache/coredns/.made-from
HELM := .cache/helm/.made-from .cache/kubernetes-schemas/.made-from
IMAGES := e2e-images
PARTS := $(ENVIRONMENT) $(VICTORIA_METRICS) $(CANAILLE) $(PAGE)

##@ For everybody
.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# `exec` leaves no shell in between: Ctrl-C reaches the demo, which stops in order, and make has nothing to complain of.
.PHONY: demo
demo: $(PARTS) ## the whole service on this machine, with simulated homes; Ctrl-C stops it
	@exec env $(OWN_PATH) WATTFLEET_UI_FOLDER="$(CURDIR)/.cache/ui" WATTFLEET_HOME="$(CURDIR)/.wattfleet" \
		WATTFLEET_CANAILLE="$(CURDIR)/.cache/canaille/bin/canaille" $(VENV)/python -m wattfleet_operator.embedded.demo

##@ For developers
.PHONY: test
test: $(PARTS) $(POSTGRESQL) chromium ## all tests, over the real parts and in a real browser (only some: TESTS="agent -k outbox")
	@echo "  · Tests: screenshots and other artefacts go to build/"
	@exec env $(OWN_PATH) WATTFLEET_UI_FOLDER="$(CURDIR)/.cache/ui" \
		WATTFLEET_CANAILLE="$(CURDIR)/.cache/canaille/bin/canaille" $(VENV)/pytest -n 3 --no-loadscope-reorder $(TESTS)

# Where stories are told: local (this machine), kind, or kubeconfig (the cluster that KUBECONFIG names, and only if told so).
# Tier 1 takes an API server; tier 2 takes nodes as well, and so, here, root, namespaces and control groups of version 1,
# elsewhere an address at which pods reach this machine. A tier that is named is told or fails.
E2E_PROVIDER ?= local
E2E_PARTS := $(ENVIRONMENT) $(VICTORIA_METRICS) $(HELM)
ifeq ($(E2E_PROVIDER),local)
E2E_TIERS ?= $(shell test "$$(id -u)" = 0 && unshare --mount --net --pid --fork true 2>/dev/null && \
	test -w /sys/fs/cgroup/cpu && echo 1,2 || echo 1)
E2E_PARTS += $(CONTROL_PLANE) $(if $(findstring 2,$(E2E_TIERS)),$(COREDNS) $(CANAILLE) node-programs $(IMAGES))
# Side by side: the stories that take nodes, on two clusters, and the others. Two processes left half of two cores idle.
E2E_WORKERS := -n 3 --no-loadscope-reorder
else
E2E_TIERS ?= $(if $(E2E_ADDRESS_OF_THIS_MACHINE),1$(COMMA)2,1)
E2E_PARTS += $(CANAILLE)
endif
.PHONY: e2e
e2e: $(E2E_PARTS) ## stories on a real Kubernetes, built here once in some minutes, on nodes too where it is root (E2E="-k lease"; elsewhere: E2E_PROVIDER=kind)
	@exec env $(OWN_PATH) E2E_PROVIDER=$(E2E_PROVIDER) E2E_TIERS=$(E2E_TIERS) \
		WATTFLEET_CANAILLE="$(CURDIR)/.cache/canaille/bin/canaille" $(VENV)/pytest $(E2E_WORKERS) e2e/tests $(E2E)
	$(if $(E2E)$(filter-out local,$(E2E_PROVIDER)),,@exec env $(OWN_PATH) $(VENV)/python -m wattfleet_bench.operator \
		--programs "$(CURDIR)/.cache/controlplane" --households 200 --output build/bench-operator-short.json)

.PHONY: images
images: $(PAGE) ## container images, with docker, podman or buildah (only some, as archives: IMAGE="ui gateway --save build")
	@$(STEP) setup/images.py $(IMAGE)

.PHONY: bench
bench: $(ENVIRONMENT) $(VICTORIA_METRICS) ## how fast the pipeline is, with proof that nothing is lost, 10 minutes (BENCH="--help")
	@exec env $(OWN_PATH) $(VENV)/python -m wattfleet_bench.ladder $(BENCH)

.PHONY: bench-baseline
bench-baseline: $(ENVIRONMENT) $(VICTORIA_METRICS) $(BASELINE) ## ours beside the published design, rebuilt on this machine; ratios, 5 minutes
	@exec env $(OWN_PATH) $(VENV)/python -m wattfleet_bench.baseline --programs "$(CURDIR)/.cache/baseline" $(BENCH)

.PHONY: bench-operator
bench-operator: $(ENVIRONMENT) $(CONTROL_PLANE) ## the operator with 1,000 and 10,000 households on a real API server (BENCH="--households 200")
	@exec env $(OWN_PATH) $(VENV)/python -m wattfleet_bench.operator --programs "$(CURDIR)/.cache/controlplane" $(BENCH)

.PHONY: chaos
chaos: $(ENVIRONMENT) $(VICTORIA_METRICS) ## kill -9 of every process under load, then every sample is compared (ROUNDS=20)
	@exec env $(OWN_PATH) $(VENV)/python -m wattfleet_bench.chaos --rounds $(or $(ROUNDS),20) $(CHAOS)

.PHONY: check
CHECKS := check-format check-lint check-types check-setup check-imports check-generated check-lock
check: $(ENVIRONMENT) ## format, lint, types, import rules, generated files, lock file
	@$(MAKE) --keep-going $(CHECKS)

.PHONY: format
format: $(ENVIRONMENT) ## bring all Python into form
	@$(VENV)/ruff format && $(VENV)/ruff check --fix

.PHONY: generate
generate: $(ENVIRONMENT) ## write the generated files and the lock files anew
	@$(VENV)/python setup/generated.py
	@.cache/bin/uv lock
	@for name in uv canaille; do .cache/bin/uv pip compile --quiet --universal --generate-hashes --no-header \
		--python-version 3.11 --output-file setup/$$name.lock.txt setup/$$name.in; done

.PHONY: clean
clean: ## remove what the set-up made; the demo's data in .wattfleet stays
	rm -rf .venv .cache build native/wattfleet_native/*.so .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

.PHONY: $(CHECKS)
check-format: $(ENVIRONMENT)
	@$(STEP) setup/run.py Format "ruff format" $(VENV)/ruff format --check --diff
check-lint: $(ENVIRONMENT)
	@$(STEP) setup/run.py Lint "ruff check" $(VENV)/ruff check
check-types: $(ENVIRONMENT)
	@$(STEP) setup/run.py Types "mypy, strict" $(VENV)/mypy
# With a cache of its own: two runs of mypy that fill one at the same time get in each other's way.
check-setup: $(ENVIRONMENT)
	@$(STEP) setup/run.py "Types of the set-up" "mypy, strict" env MYPYPATH=setup $(VENV)/mypy --cache-dir .mypy_cache/setup $(wildcard setup/*.py)
check-imports: $(ENVIRONMENT)
	@$(STEP) setup/run.py Imports "who may import whom" $(VENV)/lint-imports
check-generated: $(ENVIRONMENT)
	@$(STEP) setup/run.py "Generated files" "are what their sources give" $(VENV)/python setup/generated.py --check
check-lock: $(UV)
	@$(STEP) setup/run.py "Lock file" "fits pyproject.toml; else: make generate" .cache/bin/uv lock --check

# The set-up. A program of the machine's own that has gone since counts as not made, and so does what was compiled.
GONE := $(foreach name,uv victoria-metrics,$(if $(realpath .cache/bin/$(name)),,.cache/done/$(name))) \
	$(if $(wildcard native/wattfleet_native/*.so),,$(ENVIRONMENT))
$(GONE): FORCE
.PHONY: FORCE chromium node-programs

$(UV): setup/uv.py setup/step.py setup/uv.lock.txt
	@$(STEP) setup/uv.py

$(ENVIRONMENT): setup/environment.py uv.lock pyproject.toml $(wildcard */pyproject.toml native/*.py native/*/*.c) | $(UV)
	@$(STEP) setup/environment.py

$(VICTORIA_METRICS): setup/victoria_metrics.py setup/debian_packages.py setup/debian_sources.py setup/step.py
	@$(STEP) setup/victoria_metrics.py

$(BASELINE): setup/baseline.py setup/debian_packages.py setup/debian_sources.py setup/step.py
	@$(STEP) setup/baseline.py

$(CONTROL_PLANE): setup/controlplane.py setup/go_programs.py setup/go.py setup/step.py $(wildcard e2e/controlplane/go.*)
	@$(STEP) setup/go.py && $(STEP) setup/controlplane.py

# After the others, of which it shares the compiled parts.
$(COREDNS): setup/coredns.py setup/go_programs.py setup/go.py setup/step.py $(wildcard e2e/coredns/go.* e2e/coredns/*/*.go) | $(CONTROL_PLANE)
	@$(STEP) setup/go.py && $(STEP) setup/coredns.py

.cache/helm/.made-from: setup/helm.py setup/go_programs.py setup/go.py setup/step.py e2e/helm/go.mod e2e/helm/go.sum
	@$(STEP) setup/go.py && $(STEP) setup/helm.py

.cache/kubernetes-schemas/.made-from: setup/kubernetes_schemas.py setup/go.py setup/step.py
	@$(STEP) setup/go.py && $(STEP) setup/kubernetes_schemas.py

$(BUN): setup/bun.py setup/npm_registry.py setup/step.py
	@$(STEP) setup/bun.py

$(CANAILLE): setup/canaille.py setup/canaille.lock.txt setup/step.py | $(UV)
	@$(STEP) setup/canaille.py

PAGE_SOURCES := $(shell find ui_reflex -type f -not -path '*/.*' -not -path '*/tests/*' -not -path '*/external/*' -not -name '*.pyc')
$(PAGE): setup/ui.py setup/step.py uv.lock $(PAGE_SOURCES) | $(ENVIRONMENT) $(BUN)
	@$(STEP) setup/ui.py

$(POSTGRESQL): setup/postgresql.py setup/debian_packages.py setup/debian_sources.py setup/step.py
	@$(STEP) setup/postgresql.py

chromium:
	@$(STEP) setup/chromium.py

node-programs:
	@$(STEP) setup/node_programs.py

# What an image is made from, its script knows.
.PHONY: $(IMAGES)
$(IMAGES): $(ENVIRONMENT) $(VICTORIA_METRICS) $(PAGE) | node-programs
	@$(STEP) setup/e2e_images.py
