# One way in: each target sets up what it needs. The build itself is CMake's, in build/PRESET.

JOBS ?= $(shell nproc 2>/dev/null || echo 2)
CTEST_ARGS ?=

.PHONY: help demo test bench dist asan setup format tidy clean
help:
	@echo "make demo     build, then compile, verify and run a task, on the GPU where there is one"
	@echo "make test     build and run the tests (ROOM=ir only that room, T=regex only those tests)"
	@echo "make asan     the same under AddressSanitizer and UBSan"
	@echo "make bench    build the release and measure"
	@echo "make dist     pack dist/pawl-VERSION-linux-x86_64.tar.gz, which needs glibc only"
	@echo "make setup    install what is missing (every target does this itself)"
	@echo "make format   clang-format on all C;  make tidy  clang-tidy"
	@echo "make clean    remove build/ and dist/"

# configure-and-build PRESET
define build
	@scripts/setup
	@test -f build/$(1)/CMakeCache.txt || cmake --preset $(1) >/dev/null || \
	    { rm -f build/$(1)/CMakeCache.txt; exit 1; }
	@cmake --build build/$(1) -j $(JOBS)
endef
tests = JOBS=$(JOBS) scripts/run-tests build/$(1) \
    $(if $(ROOM),-L '^$(ROOM)$$') $(if $(T),-R '$(T)') $(CTEST_ARGS)

demo:
	$(call build,release)
	@PAWL=build/release/pawl scripts/demo

test:
	$(call build,dev)
	@$(call tests,dev)

asan:
	$(call build,asan)
	@$(call tests,asan)

bench:
	$(call build,release)
	@PAWL=build/release/pawl scripts/bench

dist:
	$(call build,release)
	@cmake --build build/release -j $(JOBS) --target gpu_tests
	@scripts/dist build/release

setup:
	@scripts/setup

c_files = $(shell git ls-files '*.c' '*.h')
format:
	@scripts/setup --tools
	@clang-format -i $(c_files)

tidy:
	@scripts/setup --tools
	@test -f build/clang/CMakeCache.txt || cmake --preset clang >/dev/null
	@cmake --build build/clang -j $(JOBS)
	@echo $(filter %.c,$(c_files)) | tr ' ' '\n' | \
	    xargs -P $(JOBS) -n 4 clang-tidy -p build/clang --quiet

clean:
	@rm -rf build dist
