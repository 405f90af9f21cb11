# Each line runs a script of ci/, which says what it does; README.md lists them.
.PHONY: build profiles test test-fast demo bench format lint docs images clean help

help:
	@echo "make demo        build, then train, test and use a net on two Spark executors"
	@echo "make test        build and run every test (make test-fast: the quick ones)"
	@echo "make build       install what is missing, then fill dist/ and .venv"
	@echo "make profiles    jars for other versions of Spark, in dist/PROFILE/"
	@echo "make bench       compare training speed with the reference"
	@echo "make format lint write the code style; check style and dependencies"
	@echo "make docs        write layers.md, solver.md and config.md of docs/reference from the sources"
	@echo "make images      build the container images of docker/"
	@echo "make clean       remove build/, dist/ and .venv"

build:
	@ci/build.sh
test:
	@ci/test.sh
test-fast:
	@ci/test.sh --fast
demo:
	@ci/demo.sh
profiles: build
	@ci/profiles.sh
bench:
	@ci/bench.sh
format:
	@ci/format.sh
lint:
	@ci/lint.sh
docs:
	@python3 ci/docs.py
images: build
	@docker/build.sh
clean:
	@ci/clean.sh
