/* runtime/plan_internal.h — what the files of the plan share among themselves and with the executors. */
#pragma once
#include "runtime/plan.h"

/* The name of a symbol that no input's shape determines, or NULL. */
const char *plan_unsolvable(const Plan *p);
/* Buffers that a step touches; `room` serves steps that are no launches. */
uint32_t step_buffers(const Plan *p, const PlanStep *s, const uint32_t **list, uint32_t room[6]);
/* JSON with the members' names where the package has set them. */
const char *target_name(PlanTarget t);
const char *code_kind_name(CodeKind k);         /* "o", "cubin", "ptx", "cu": also the members' endings */
const char *buffer_kind_name(BufferKind k);
const char *epilogue_name(Epilogue e);
const char *step_kind_name(StepKind k);
bool symbol_name_valid(const char *s);
