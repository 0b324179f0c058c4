# Two commands are all a new machine needs: `make demo` and `make test`. Both set up .venv first.
.DEFAULT_GOAL := help
.PHONY: help setup lint test demo bench lock clean

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DEMO   := demo
BENCH  ?= startup

# One's own footage: make demo FOOTAGE=/path/to/videos
FOOTAGE ?=

help:  ## what there is to make
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | while IFS="$$(printf '\t')" read -r n d; do printf '  make %-7s %s\n' "$$n" "$$d"; done

setup: $(READY)  ## .venv with everything that requirements.lock pins, and DeepSpeed's extension built

$(READY): requirements.lock pyproject.toml
	@echo "setup: making $(VENV) (about two minutes; PyTorch is large)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@echo "setup: installing $$(wc -l < requirements.lock) packages"
	@# --compile-bytecode: dozens of worker processes import the same packages, and may not be allowed to write bytecode themselves
	@$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@echo "setup: building DeepSpeed's extension, once"
	@$(BIN)/python -m jobs.deepspeed_build 2>$(VENV)/deepspeed_build.log || { cat $(VENV)/deepspeed_build.log; exit 1; }
	@touch $@

lint: $(READY)  ## ruff: rules and format
	@echo "lint: ruff"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .

test: lint  ## lint, then the tests
	@echo "test: pytest (a real Ray, real video; some minutes)"
	@$(BIN)/python -m pytest tests

demo: $(READY)  ## footage to a trained model and videos, in demo/ (FOOTAGE=<folder> for your own)
ifeq ($(FOOTAGE),)
	@$(BIN)/python -m jobs.workflow.demo_footage $(DEMO)/footage.txt
	@$(BIN)/rushes run experiment=demo out=$(DEMO) footage=$(DEMO)/footage.txt
else
	@$(BIN)/rushes run experiment=demo out=$(DEMO) footage="$(FOOTAGE)"
endif

bench: $(READY)  ## a benchmark: make bench BENCH=startup
	@$(BIN)/python -m benchmarks.$(BENCH)

lock: $(READY)  ## pin the newest versions that pyproject.toml admits into requirements.lock
	@$(BIN)/uv pip compile --quiet --upgrade --all-extras --no-emit-index-url --no-header --no-annotate pyproject.toml -o requirements.lock

clean:  ## remove the demo and caches (not .venv)
	@rm -rf $(DEMO) .ruff_cache .hypothesis
