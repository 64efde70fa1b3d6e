# Everything a developer or CI needs, on a machine with Python 3.11 or newer. `make help` lists the targets.
#
#   make test ARGS='-k waterfall -x'      arguments for the tool behind the target
#   make test PYTHON=/opt/bin/python3.13  another interpreter (`make clean` first, if .venv exists)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
INSTALLED := .venv/installed
GENERATED := generated/image.binpb
RELEASED := proto/released.binpb
READY := $(INSTALLED) $(GENERATED)

SUITABLE := import sys, venv; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13 python3.14; do \
	"$$python" -c '$(SUITABLE)' 2>/dev/null && echo "$$python" && break; done)

.PHONY: demo
demo: $(READY) ## run a clearing house from a trade to a default, on made-up members; leaves build/demo
	@$(if $(findstring --out,$(ARGS)),,rm -rf build/demo)
	$(BIN)/clearing demo $(if $(findstring --out,$(ARGS)),,--out build/demo) $(ARGS)

.PHONY: serve
serve: $(READY) ## run the house on this machine
	$(BIN)/clearing serve $(ARGS)

.PHONY: migrate
migrate: $(READY) ## bring the database to the newest schema
	$(BIN)/clearing migrate $(ARGS)

.PHONY: test
test: $(READY) ## run every test
	$(BIN)/pytest --numprocesses auto $(ARGS)

.PHONY: test-fast
test-fast: $(READY) ## run the tests that take no more than a few seconds each
	$(BIN)/pytest --numprocesses auto -m 'not slow' $(ARGS)

SEEDS ?= 200

.PHONY: sim
sim: $(READY) ## walk 200 seeded worlds against the rulebook; SEEDS=20 of them, or SEED=7 alone
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

N ?= 100000

.PHONY: fuzz
fuzz: $(READY) ## send N=100000 hostile requests over the interface
	FUZZ_REQUESTS=$(N) $(BIN)/pytest --numprocesses auto tests/e2e/test_hostile_requests.py $(ARGS)

.PHONY: lint
lint: $(READY) ## check style, types, floors and protos
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/buf lint $(GENERATED) --config proto/buf.yaml --path clearinghouse
	$(BIN)/buf format --diff --exit-code proto
	$(BIN)/buf breaking $(GENERATED) --against $(RELEASED) --config proto/buf.yaml --path clearinghouse/v1

.PHONY: bench
bench: $(READY) ## measure; ONLY=ledger limits it to one area
	ONLY=$(ONLY) $(BIN)/python -m bench

.PHONY: proto
proto: $(INSTALLED) ## compile proto/ into generated/ again
	$(BIN)/python hatch_build.py

.PHONY: reference
reference: $(READY) ## write the reference of the interface to build/reference/
	$(BIN)/python -m proto.reference

.PHONY: release-protos
release-protos: $(READY) ## keep the protos as they are as the released ones, for `make lint`
	$(BIN)/buf build $(GENERATED) --exclude-source-info --path clearinghouse/v1 --output $(RELEASED)

.PHONY: clean
clean: ## remove everything that make made
	rm -rf .venv generated build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

$(INSTALLED): pyproject.toml constraints.txt hatch_build.py
	@set -e; \
	python="$$(command -v "$(PYTHON)" || true)"; \
	if ! "$$python" -c '$(SUITABLE)' 2>/dev/null; then \
		echo "Python 3.11 or newer with its venv module is needed; name one with: make PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi; \
	echo "Setting up .venv: about a minute the first time"; \
	if command -v uv >/dev/null; then \
		test -x $(BIN)/python || uv venv --quiet --python "$$python" .venv; \
		uv pip install --quiet --python $(BIN)/python --constraints constraints.txt --editable '.[house,telemetry,pkcs11,dask,dev]'; \
	else \
		test -x $(BIN)/python || "$$python" -m venv .venv; \
		$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[house,telemetry,pkcs11,dask,dev]'; \
	fi
	@touch $@

# The folders are listed too: they change when a file is added to them or removed from them.
$(GENERATED): $(shell find proto/clearinghouse -type d -o -name '*.proto') | $(INSTALLED)
	@$(BIN)/python hatch_build.py
