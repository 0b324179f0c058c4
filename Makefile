# Two commands are all a new machine needs: `make demo` and `make test`. Both set up .venv first.
.DEFAULT_GOAL := help
.PHONY: help setup lint check test demo bench lock audit clean

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DEMO   := demo
BENCH  ?= startup

# One's own footage: make demo FOOTAGE=/path/to/videos
FOOTAGE ?=
AUDIT   ?=
# What of the tests is run: make test TESTS=tests/model, or TESTS="tests/jobs -k verify".
TESTS   ?= tests
# What starts no Ray and decodes little.
PURE    := tests/model tests/test_house.py tests/pipelines/batches tests/pipelines/dataset tests/pipelines/dedup tests/pipelines/recipes \
           tests/pipelines/shots tests/pipelines/storage/test_table_bounds.py tests/jobs/encoding/test_plan.py tests/jobs/listing/test_rules.py

help:  ## what there is to make
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | while IFS="$$(printf '\t')" read -r n d; do printf '  make %-7s %s\n' "$$n" "$$d"; done

# What is installed is what the lock files name, by hash: packages, what builds those that come as source, and uv itself.
LOCKS  := requirements-all.lock requirements-build.lock
LOCK   := $(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-header --no-annotate

setup: $(READY)  ## .venv with everything that requirements-all.lock pins, and DeepSpeed's extension built

$(READY): $(LOCKS) pyproject.toml
	@echo "setup: making $(VENV) (about two minutes; PyTorch is large)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-deps --require-hashes -r requirements-build.lock
	@echo "setup: installing $$(grep -c == requirements-all.lock) packages"
	@# --compile-bytecode: dozens of worker processes import the same packages, and may not be allowed to write bytecode themselves
	@$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes \
	    --preview-features build-dependency-hashes --require-build-hashes --build-constraints requirements-build.lock $(LOCKS)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@echo "setup: building DeepSpeed's extension, once"
	@$(BIN)/python -m jobs.cluster.deepspeed_build 2>$(VENV)/deepspeed_build.log || { cat $(VENV)/deepspeed_build.log; exit 1; }
	@touch $@

lint: $(READY)  ## ruff (rules and format), then mypy
	@echo "lint: ruff"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@echo "lint: mypy"
	@$(BIN)/mypy --no-error-summary

check: lint  ## lint, then the tests of the model and all that is pure
	@$(BIN)/python -m pytest $(PURE)

test: lint  ## lint, then the tests (TESTS=<folder, file or options of pytest>)
	@echo "test: pytest (a real Ray, real video; some minutes)"
	@$(BIN)/python -m pytest $(TESTS)

demo: $(READY)  ## footage to a trained model and videos, in demo/ (FOOTAGE=<folder> for your own)
ifeq ($(FOOTAGE),)
	@$(BIN)/python -m jobs.workflow.demo_footage $(DEMO)/footage.txt
	@$(BIN)/rushes run experiment=demo out=$(DEMO) footage=$(DEMO)/footage.txt
else
	@$(BIN)/rushes run experiment=demo out=$(DEMO) footage="$(FOOTAGE)"
endif

bench: $(READY)  ## a benchmark: make bench BENCH=startup
	@$(BIN)/python -m benchmarks $(BENCH)

lock: $(READY)  ## pin the newest versions that pyproject.toml admits: what everybody gets, the same with all extras, what builds them
	@$(LOCK) --all-extras pyproject.toml -o requirements-all.lock
	@$(LOCK) --constraints requirements-all.lock pyproject.toml -o requirements.lock
	@$(LOCK) --constraints requirements-all.lock --group build -o requirements-build.lock

audit: $(READY)  ## licences of what is installed, and known vulnerabilities (AUDIT=<options of pip-audit>)
	@$(BIN)/python -m jobs.cli.audit $(AUDIT)

clean:  ## remove the demo and caches (not .venv)
	@rm -rf $(DEMO) .ruff_cache .mypy_cache .hypothesis
