.PHONY: book pdf archive test test-all test-cluster bench notebooks clean

python := .venv/bin/python

book: .venv/ready        ## build the book into _build/html; RUNS="..." builds one of these runs, or of a study's
	$(python) -m fairlib book $(RUNS)

pdf: .venv/ready         ## build the book and print it into _build/book.pdf; needs Chromium
	$(python) -m fairlib book --pdf _build/book.pdf

archive: pdf             ## pack the book, with its PDF inside, and a checksum
	tar --sort=name --owner=0 --group=0 --numeric-owner -czf _build/book.tar.gz -C _build html
	cd _build && sha256sum book.tar.gz > book.tar.gz.sha256

test: .venv/ready        ## run the linters, the type checker and the tests, but for those that take minutes
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	.venv/bin/lint-imports --no-cache >/dev/null || .venv/bin/lint-imports --no-cache
	$(python) -m mypy
	OMP_NUM_THREADS=1 $(python) -m pytest -n 2 --dist worksteal -m "not cluster and not slow"

test-all: test           ## then whole chapters from end to end, and whatever else is slow
	OMP_NUM_THREADS=1 $(python) -m pytest -n 2 --dist worksteal -m "slow and not cluster"

test-cluster: .venv/ready ## extract on a Dask cluster and on a one-node Slurm, with workers killed (bench/README.md)
	$(python) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cluster]'
	OMP_NUM_THREADS=1 $(python) -m pytest -m cluster -v

bench: .venv/ready       ## measure extraction and probes, and write the tables in bench/README.md
	OMP_NUM_THREADS=1 $(python) -m bench.speed

notebooks: .venv/ready   ## write the .ipynb beside every notebooks/*.py
	$(python) -c "from fairlib.book.pairs import write_pairs; print(*write_pairs(), sep='\n')"

clean:                   ## remove what was built; .venv and _runs stay
	rm -rf _build .pytest_cache .ruff_cache .mypy_cache

# Everything lives in .venv. Made by the first Python that is new enough; 3.11 is the one tested most.
.venv/ready: pyproject.toml constraints.txt
	@for python in $(PYTHON) python3.11 python3.13 python3.12 python3 python; do \
		if [ -x $(python) ]; then break; fi; \
		if $$python -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
			>/dev/null 2>&1; then $$python -m venv .venv && break; fi; \
	done; \
	test -x $(python) || { echo "No Python from 3.11 to 3.13 with venv was found:" \
		"install one, or say make book PYTHON=/path/to/python." >&2; exit 1; }
	$(python) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[book,test]'
	@touch $@
