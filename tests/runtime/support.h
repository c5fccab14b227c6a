/* tests/runtime/support.h — hand-made plans and objects for the runtime's tests. */
#pragma once
#include "runtime/package.h"
#include <stdbool.h>
#include <stddef.h>

/* Compiles C with the system's compiler to a relocatable object; NULL where there is none (the test is then skipped). */
void *compile_object(Arena *a, const char *source, const char *flags, size_t *len);
const char *test_folder(void);                      /* where tests may write */

/* y[N, 4] = x[N, 4] * w[4] + 1, in two steps through the workspace: kernels `scale` and `shift`.
 * N is a symbol in 1..1000 (workload NULL) or the constant n of a workload. */
typedef struct { const char *workload; int64_t n; PlanTarget target; const void *code; size_t code_len; } SamplePlan;
Plan *sample_plan(Context *cx, SamplePlan s);
extern const char sample_source[];                  /* the two kernels in C, for the host */
/* The sample as a package image: a workload n = 8 and the generic plan, with host code where a compiler is found. */
void *sample_image(Context *cx, size_t *len, bool *has_code);

/* Text of all diagnostics, and the same cleared. */
char *diags_text(Context *cx);
