# Everything a person runs. Each target is one script, so that it can be read and run without make.

.DEFAULT_GOAL := help
.PHONY: help setup demo test soak fuzz bench stop clean-demo

# Where rustup puts cargo, for shells that never read its settings.
export PATH := $(PATH):$(HOME)/.cargo/bin

# These start brokers of their own and kill some of them: never the one that the user works with.
demo test soak bench: override export NATS_URL =

help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Installs and starts what is missing: packages, nats-server, Docker Engine, the example's image
	@scripts/setup.sh

demo: setup ## Runs an example action over small repositories and shows the plan
	@scripts/demo.sh

test: setup ## Checks format and lints, runs all tests
	@scripts/test.sh all

soak: setup ## Runs the long tests that `make test` leaves out
	@scripts/test.sh soak

fuzz: ## Looks for a definition or template that breaks a property: make fuzz FOR=600 (seconds), or FOR=file to run one again
	@scripts/fuzz.sh $(FOR)

bench: setup ## Runs the benchmarks, or one: make bench ONLY=name; results go to target/bench.jsonl
	@NATS_SERVER="$$(scripts/broker.sh path)" cargo bench -p cli --bench bench -- $(ONLY)

stop: ## Stops what setup and demo started
	@scripts/stop.sh

clean-demo: ## Stops the demo and removes its repositories and data
	@scripts/demo.sh stop
	@rm -rf .demo
