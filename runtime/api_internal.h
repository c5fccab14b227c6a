/* runtime/api_internal.h — what the files behind pawl.h share. */
#pragma once
#include "runtime/executor.h"
#include "runtime/package.h"
#include "runtime/pawl.h"

struct pawl_package {
    Context *cx;
    Package *package;
    const Plan *shape_plan;            /* the generic plan, or the first: tells what inputs and outputs look like */
    pawl_io *io;                       /* inputs, then outputs */
};

typedef struct {                       /* what one tuple of input shapes means; found again by comparing the key */
    int64_t *key;                      /* all dims of all inputs, in order */
    uint32_t plan;
    int64_t *symbols;
    int64_t (*out_shapes)[PAWL_MAX_RANK];
} ShapeCase;

enum { SHAPE_CASES = 32 };

struct pawl_session {
    pawl_package *package;
    const ExecutorOps *ops;
    PlanTarget target;
    Context *cx;
    ExecDevice *device;
    Executor **executors;              /* a plan each, opened when first needed */
    ShapeCase cases[SHAPE_CASES];
    uint32_t n_cases, last_case, next_case;
    uint32_t key_len;
    int64_t *key;
    void **in, **out;
    Arena *trouble;                    /* diagnostics of the call at hand; renewed after each failure */
    Diags *diags;
};

/* Status and text of what `d` holds, into the thread's error; `otherwise` where it holds no error. */
pawl_status api_status(const Diags *d, const char *otherwise);
__attribute__((format(printf, 2, 3))) pawl_status api_error(pawl_status code, const char *fmt, ...);
/* The same for a session, whose diagnostics start anew. */
pawl_status session_failed(pawl_session *s);
Executor *session_executor(pawl_session *s, uint32_t plan);      /* opens it when needed; NULL: diagnosed in s->diags */
