/* runtime/sim/exec.h — how the code of instructions is written: a loop over lanes, whole columns where all lanes run. */
#pragma once
#include "runtime/sim/select.h"

#if defined(__clang__)
#define SIM_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#else
#define SIM_IVDEP _Pragma("GCC ivdep")
#endif
/* A result may be one of the operands, lane by lane: that is no dependence between lanes. */
#define LANEWISE(...)                                       \
    if (mask == UINT32_MAX) {                               \
        SIM_IVDEP                                           \
        for (uint32_t l = 0; l < LANES; l++) { __VA_ARGS__; } \
    } else {                                                \
        for_lanes(l, mask) { __VA_ARGS__; }                 \
    }
#define COLUMN(T, k) ((T *)(void *)slot_words(w, inst->operand[k].slot))
#define EXEC(name) static SimFlow name(SimWarp *w, const PtxInst *inst, uint32_t mask)
#define EXEC1(name, T, A, ...) EXEC(name) { T *d = COLUMN(T, 0); const A *a = COLUMN(const A, 1); LANEWISE(d[l] = (T)(__VA_ARGS__)) return FLOW_NEXT; }
#define EXEC2(name, T, A, ...)                                                                                        \
    EXEC(name) {                                                                                                      \
        T *d = COLUMN(T, 0);                                                                                          \
        const A *a = COLUMN(const A, 1), *b = COLUMN(const A, 2);                                                     \
        LANEWISE(d[l] = (T)(__VA_ARGS__))                                                                             \
        return FLOW_NEXT;                                                                                             \
    }
#define EXEC3(name, T, A, C, ...)                                                                                     \
    EXEC(name) {                                                                                                      \
        T *d = COLUMN(T, 0);                                                                                          \
        const A *a = COLUMN(const A, 1), *b = COLUMN(const A, 2);                                                     \
        const C *c = COLUMN(const C, 3);                                                                              \
        LANEWISE(d[l] = (T)(__VA_ARGS__))                                                                             \
        return FLOW_NEXT;                                                                                             \
    }

/* Rows of tables by integer type: u16 s16 u32 s32 u64 s64, bits as unsigned; -1: none of them. */
enum { INT_TYPES = 6 };
static inline int int_index(uint8_t t)
{
    switch (t) {
    case PT_B16: case PT_U16: return 0;
    case PT_S16:              return 1;
    case PT_B32: case PT_U32: return 2;
    case PT_S32:              return 3;
    case PT_B64: case PT_U64: return 4;
    case PT_S64:              return 5;
    default:                  return -1;
    }
}
static inline bool type_is_float(uint8_t t)
{
    return t == PT_F32 || t == PT_F64 || t == PT_F16 || t == PT_BF16 || t == PT_F16X2 || t == PT_BF16X2 || t == PT_F32X2;
}
bool select_missing(Selector *s, PtxInst *inst);                     /* marks it; false */
/* Operands 0 … n-1 are registers or constants of these widths (ANY_WIDTH: any); otherwise diagnosed. */
enum { ANY_WIDTH = 254 };
bool select_operands(Selector *s, const PtxInst *inst, uint32_t n, const uint8_t *bytes);
bool select_same(Selector *s, const PtxInst *inst, uint32_t n);      /* all of the width of the first type */

/* floats: exec_float.c, exec_half.c; called by the selectors of exec_int.c for operations that both have */
SelectFn select_float, select_half;
