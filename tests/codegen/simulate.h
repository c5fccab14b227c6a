/* tests/codegen/simulate.h — GPU kernels without a GPU: the kernel IR interpreted, all threads of a block in step. */
#pragma once
#include "codegen/codegen.h"

/* Runs the kernel's whole grid on buffers[i] of counts[i] elements. False, with the reason on stderr: an access out of bounds, a
 * shared value that two threads touch between two barriers, one of them writing; a copy that is read before it was waited for;
 * anything but weights touched before K_WAIT; control flow that the interpreter does not follow. */
bool simulate_kernel(const Kernel *k, void *const *buffers, const int64_t *counts);

/* Graph text (constant shapes; params are frozen, and read as they are) through grouping for `arch`, kernels and the interpreter, held against the
 * evaluator. Every group takes the schedule of this rank in its space (modulo its size); `kind`, where not NULL, must be among
 * the kinds used. The library is taken for absent unless `library`; then its groups are not run and the graph must not need them. */
typedef struct {
    const char *arch, *kind;
    uint32_t schedule;
    bool library;
    bool (*instead)(Kernel *k, const char *arch, void *arg); void *arg;     /* called for every kernel, which then is not run */
} SimulateOptions;
bool simulate_graph(const char *text, const SimulateOptions *o, uint64_t seed);
