/* codegen/memory.h — offsets of workspace buffers. */
#pragma once
#include "runtime/plan.h"

/* First and last step that touches each buffer must be in `first`, `last` (indexed by buffer; workspace buffers only).
 * Sets offsets and plan->workspace_bytes. */
void memory_plan(Context *cx, Plan *plan, const uint32_t *first, const uint32_t *last);
