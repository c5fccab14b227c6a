/* runtime/plan_internal.h — what the files of the plan share among themselves and with the executors. */
#pragma once
#include "runtime/plan.h"

enum {
    PLAN_FORMAT = 2,                            /* of the JSON; 1 knew no tensor maps and clusters */
    MAX_MAPS_A_KERNEL = 16, MAX_CLUSTER = 8     /* of any sm_90: larger clusters are a matter of the chip */
};

/* The name of a symbol that no input's shape determines, or NULL. */
const char *plan_unsolvable(const Plan *p);
/* Buffers that a step touches; the list is the step's own or lives in `a`. A launch may name one twice. */
uint32_t step_buffers(const Plan *p, const PlanStep *s, const uint32_t **list, Arena *a);
/* JSON with the members' names where the package has set them. */
const char *target_name(PlanTarget t);
const char *code_kind_name(CodeKind k);         /* "o", "cubin", "ptx", "cu": also the members' endings */
const char *buffer_kind_name(BufferKind k);
const char *epilogue_name(Epilogue e);
const char *step_kind_name(StepKind k);
bool symbol_name_valid(const char *s);
