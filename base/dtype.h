/* base/dtype.h — element types, their conversion (round to nearest even), and host tensors. */
#pragma once
#include "base/arena.h"
#include <stdbool.h>

/*        enum  name    bytes torch-code class */
#define PAWL_DTYPES(X)                  \
    X(F64,  f64,  8,  8, FLOAT)         \
    X(F32,  f32,  4,  7, FLOAT)         \
    X(F16,  f16,  2,  6, FLOAT)         \
    X(BF16, bf16, 2, 13, FLOAT)         \
    X(I64,  i64,  8,  5, SIGNED)        \
    X(I32,  i32,  4,  4, SIGNED)        \
    X(I8,   i8,   1,  2, SIGNED)        \
    X(U8,   u8,   1,  1, UNSIGNED)      \
    X(BOOL, bool, 1, 12, BOOL)

typedef enum {
#define X(E, n, b, t, c) DT_##E,
    PAWL_DTYPES(X)
#undef X
    DT_COUNT,
    DT_NONE = DT_COUNT
} DType;
typedef enum { DC_FLOAT, DC_SIGNED, DC_UNSIGNED, DC_BOOL } DTypeClass;

const char *dtype_name(DType t);
bool        dtype_parse(const char *name, DType *out);
uint32_t    dtype_bytes(DType t);
DTypeClass  dtype_class(DType t);
int         dtype_mantissa_bits(DType t);               /* explicit bits: f64 52, f32 23, f16 10, bf16 7; integers 0 */
static inline bool dtype_is_float(DType t) { return t <= DT_BF16; }
DType       dtype_promote(DType a, DType b);            /* PyTorch's promotion for tensors of equal rank */
DType       dtype_accumulate(DType t);                  /* f32 for f16, bf16, f32; f64 for f64; i64 for integers */

uint16_t f32_to_f16(float f);   float f16_to_f32(uint16_t h);
uint16_t f32_to_bf16(float f);  float bf16_to_f32(uint16_t h);
uint16_t f64_to_f16(double d);  uint16_t f64_to_bf16(double d);   /* one rounding */
double   dtype_round(DType t, double v);                /* v rounded to t, as a double; integers truncate and wrap as C casts on x86-64/PyTorch do */
double   dtype_load(DType t, const void *p);            /* i64 beyond 2^53 loses bits: use dtype_load_i64 */
int64_t  dtype_load_i64(DType t, const void *p);
void     dtype_store(DType t, void *p, double v);
void     dtype_store_i64(DType t, void *p, int64_t v);
double   dtype_ulp(DType t, double v);                  /* spacing of t at |v| (smallest subnormal at 0); 1 for integers */

#define TENSOR_MAX_RANK 8
/* A dense row-major host tensor. */
typedef struct {
    DType   dtype;
    int     rank;
    int64_t dims[TENSOR_MAX_RANK];
    void   *data;                                        /* 64-byte aligned when made by tensor_new */
} Tensor;

Tensor *tensor_new(Arena *a, DType t, int rank, const int64_t *dims);   /* zeroed, in the arena */
int64_t tensor_count(const Tensor *t);
size_t  tensor_bytes(const Tensor *t);
