PACKAGES = stream models training engines

.PHONY: check lint types tests bench links

check: lint types tests

lint:
	ruff format --check .
	ruff check .

types: links
	mypy

tests:
	pytest -n 3 --dist loadgroup -m 'not live'
	pytest -n 2 --dist loadgroup -m live

bench:
	playspot benchmark

links:  # one symlink a package: mypy does not run the import hook of an editable install
	@mkdir -p build/links/playspot
	@for d in $(PACKAGES); do ln -sfn ../../../$$d build/links/playspot/$$d; done
