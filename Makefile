# `make help` lists the targets. Everything happens in ./.venv; delete it to start afresh.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := demo

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types wheel clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 10

demo: $(VENV)/ready  ## set up, then price, draw and run a ResNet-50, and train a network on digits
	@mkdir -p $(DEMO)
	$(BIN)/tinygraph summary resnet50 --depth 1
	$(BIN)/tinygraph render resnet50 -o $(DEMO)/resnet50.svg
	$(BIN)/tinygraph render resnet50 --optimized -o $(DEMO)/resnet50-optimized.svg
	$(BIN)/tinygraph render resnet50 --depth 1 -o $(DEMO)/resnet50-stages.png
	$(BIN)/tinygraph optimize resnet50 --explain
	$(BIN)/tinygraph run resnet50 --input examples/house.jpg
	$(BIN)/tinygraph train digits_cnn --data digits --epochs 30 --seed 0 -o $(DEMO)/run --overwrite
	$(BIN)/tinygraph optimize digits_cnn --weights $(DEMO)/run/best.safetensors --explain
	$(BIN)/python examples/digits.py $(DEMO)/digits
	@for digit in $(DEMO)/digits/digit-[0-3]-*.png; do \
	  set -- run digits_cnn --weights $(DEMO)/run/best.safetensors --input $$digit --top 2; \
	  echo "$(BIN)/tinygraph $$*"; $(BIN)/tinygraph "$$@" || exit 1; \
	done
	@echo "The pictures are in $(DEMO)/, the curves of the training in $(DEMO)/run/curves.png"

test: $(VENV)/ready-to-test  ## set up, then run the tests
	$(BIN)/python -m pytest -n 2

check: test lint types  ## everything that must pass before a commit

lint: $(VENV)/ready-to-test  ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# A type checker does not know the mapping of folders to packages, so it gets the installed layout.
types: $(VENV)/ready-to-test  ## static types
	@rm -rf build/types && mkdir -p build/types/tinygraph
	@ln -s $(CURDIR)/tinygraph/* $(CURDIR)/passes $(CURDIR)/models $(CURDIR)/tools build/types/tinygraph/
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml --package tinygraph

wheel: $(VENV)/ready-to-test  ## build the wheel and try it in a clean environment elsewhere
	sh tests/smoke.sh $(BIN)/python

clean:  ## remove what the other targets made
	rm -rf $(VENV) $(DEMO) build dist *.egg-info .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tinygraph needs Python 3.11 or later; say which with: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/ready: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[train]'
	@touch $@

$(VENV)/ready-to-test: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[train,test]'
	@touch $@ $(VENV)/ready
