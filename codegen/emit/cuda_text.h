/* codegen/emit/cuda_text.h — the parts of the CUDA C printer: expressions, helpers, statements. */
#pragma once
#include "codegen/emit/emit.h"

/* C++ precedence, from tight to loose; an operand looser than its place allows gets parentheses. */
typedef enum {
    PREC_PRIMARY, PREC_UNARY, PREC_MUL, PREC_ADD, PREC_SHIFT, PREC_LESS, PREC_EQUAL, PREC_BITAND, PREC_BITXOR, PREC_BITOR,
    PREC_AND, PREC_OR, PREC_CHOOSE
} Prec;
typedef struct { const char *text; Prec prec; } Expr;

const char *cuda_in(Arena *a, Expr e, Prec limit);          /* text of e where operators up to `limit` may stand bare */
const char *cuda_register_type(DType t);                    /* "float" for f32, f16, bf16 */
const char *cuda_memory_type(DType t);
Expr cuda_literal(Arena *a, DType t, double f, int64_t i);
Expr cuda_op(Arena *a, Op op, DType operand, DType result, const Expr *args, bool approximate);
/* op, a division or reciprocal in fp32, within a few ulp where the divisor is at least 1. */
Expr cuda_divide(Arena *a, Op op, const Expr *args);
Expr cuda_cast(Arena *a, Expr e, DType from, DType to);

/* Names of generated helpers: load_bf16x8_readonly, store_f32x4_stream, sum_lanes_f32x8 … */
typedef enum { MODE_PLAIN, MODE_READONLY, MODE_STREAM } AccessMode;
const char *cuda_load_name(Arena *a, DType t, uint32_t lanes, uint32_t align, AccessMode mode);
const char *cuda_store_name(Arena *a, DType t, uint32_t lanes, uint32_t align, AccessMode mode);
const char *cuda_reduce_name(Arena *a, Op op, DType t, uint32_t lanes);

/* Definitions of every helper that `body` mentions, in an order in which they can stand. */
void cuda_helpers(Arena *a, StrBuf *out, const char *body);
bool cuda_reserved(const char *name);                       /* a keyword or a helper */
