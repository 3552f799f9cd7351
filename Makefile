PYTHON ?= python3
DEMO := .venv-demo
TEST := .venv-test
# the first runs all tests, the others leave out those that know no backend
FIRST := torch
OTHERS := jax tensorflow
# tests compile many programs and run each for a moment: XLA makes them quickly rather than quick; on jax the last two
# make a small program in a fifth of the time
XLA := --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1
QUICK := OMP_NUM_THREADS=1 XLA_FLAGS="$(XLA)" TF_CPP_MIN_LOG_LEVEL=3

# for which `make fuzz` makes files
SECONDS := 60
# what `make browser` is told
BROWSER :=
# what `make bench` is told, see docs/speed.md
BENCH :=

.PHONY: demo test fuzz browser bench lint format docs clean

demo: $(DEMO)/ready  ## train on icons, measure, export: one backend, about seven minutes
	$(DEMO)/bin/kzoo demo

test: $(TEST)/ready lint  ## the whole suite on each backend, in two processes
	@rm -f $(TEST)/times.json
	@for backend in $(FIRST) $(OTHERS); do \
		echo "== $$backend"; \
		if [ $$backend = $(FIRST) ]; then chosen=""; else chosen="not once"; fi; \
		KERAS_BACKEND=$$backend $(QUICK) $(TEST)/bin/python -m pytest -n 2 --dist worksteal -m "$$chosen" \
			--times=$(TEST)/times.json || exit 1; \
	done

fuzz: $(TEST)/ready  ## files made by chance for each reader: SECONDS=600 for ten minutes
	PYTHONPATH=tests KERAS_BACKEND=$(FIRST) $(QUICK) $(TEST)/bin/python tests/hostile/fuzz.py --seconds $(SECONDS)

browser: $(TEST)/ready  ## the page of kzoo.export.web_page in Chromium, see CONTRIBUTING.md; BROWSER="--engine node_modules"
	PYTHONPATH=tests:tests/preprocessing KERAS_BACKEND=$(FIRST) $(QUICK) $(TEST)/bin/python -W ignore tests/browser/check_page.py $(BROWSER)

bench: $(TEST)/ready  ## kzoo beside other libraries: BENCH="--quick" for small towers, see docs/speed.md
	$(TEST)/bin/python -m benchmarks $(BENCH)

lint: $(TEST)/ready
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .

format: $(TEST)/ready
	$(TEST)/bin/ruff check --fix .
	$(TEST)/bin/ruff format .

$(DEMO)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[jax,jax-export,demo]'
	touch $@

# open_clip comes without its needs: the tests read the vocabulary in its wheel and never import it
$(TEST)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(TEST)
	$(TEST)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[jax,tensorflow,torch,test]'
	$(TEST)/bin/python -m pip install --quiet --constraint constraints.txt --no-deps open_clip_torch
	touch $@

docs: $(TEST)/ready  ## what is written from the code: imports, stubs, the pages of the losses and of the checkpoints
	$(TEST)/bin/python docs/make_imports.py
	$(TEST)/bin/python docs/make_losses.py
	$(TEST)/bin/python docs/make_checkpoints.py

clean:
	rm -rf $(DEMO) $(TEST) .venv-bench kzoo-demo build *.egg-info
