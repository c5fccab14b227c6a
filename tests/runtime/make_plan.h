/* tests/runtime/make_plan.h — plans by hand, a line a buffer or step. */
#pragma once
#include "runtime/plan.h"

typedef struct { Context *cx; Plan *p; const char *code; } Maker;      /* code: PTX of all kernels */
Maker    make_plan(Context *cx, const char *name, const char *ptx);
Dim      make_symbol(Maker *m, const char *name, int64_t lo, int64_t hi);
Dim      make_const(Maker *m, int64_t v);
/* Inputs first, then outputs, then the rest. Workspace buffers lie at `offset` (a constant), others ignore it. */
uint32_t make_buffer(Maker *m, BufferKind kind, const char *name, DType t, const Dim *shape, uint32_t rank, int64_t offset);
uint32_t make_weight(Maker *m, const char *name, Tensor *data);
/* One thread an element of `count`, 256 a block; access: a letter a buffer; the count is the one scalar. */
uint32_t make_launch(Maker *m, const char *kernel, const char *access, const uint32_t *buffers, Dim count, uint32_t shared_bytes);
uint32_t make_copy(Maker *m, uint32_t from, uint32_t to);
uint32_t make_fill(Maker *m, uint32_t to);
uint32_t make_matmul(Maker *m, PlanMatmul x);                           /* label "product" */
Plan    *make_done(Maker *m, int64_t workspace_bytes);
