/* tests/sim/suite.h — the suite "agreement with silicon": small PTX programs, their inputs, and the results of a real GPU.
 *
 * The programs are ptx/NAME.ptx, their table ptx/suite.def; generate.py writes both. tests/gpu/test_ptx_suite.c runs them on a GPU
 * and writes golden/silicon.bin; test_silicon.c runs them on the simulator and compares. Bounds of approximations are twice the
 * error that the PTX ISA documents for the instruction (both sides may be off), in the table's last column. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef enum {                         /* what `in` holds: edge cases, ties and random bits of a type, or tame values */
    INPUT_WORDS, INPUT_F32, INPUT_F64, INPUT_F16, INPUT_BF16,
    INPUT_F32_INT, INPUT_F64_INT,      /* around the ends of the integer types, halves */
    INPUT_F32_F16,                     /* around what 16 and 8 bits can hold, ties */
    INPUT_MODERATE, INPUT_EXPONENT, INPUT_PI,
    INPUT_SMALL_F16, INPUT_SMALL_BF16, INPUT_SMALL_F32, INPUT_SMALL_F64,            /* integers in -8..8 */
    INPUT_SMALL_F16_C, INPUT_SMALL_BF16_C,                                          /* a thread's last four words are f32 */
    INPUT_FRACTION_F16_C, INPUT_FRACTION_BF16_C, INPUT_FRACTION_F32, INPUT_FRACTION_F64,        /* in (-2, 2) */
    INPUT_LOW_BITS_F32                 /* small integers with bits set that tf32 does not have; the last four words exact */
} SuiteInput;

typedef enum {
    COMPARE_BITS,
    COMPARE_SET,                       /* the same words in any order */
    COMPARE_REL, COMPARE_ABS, COMPARE_REL_ABS,      /* f32: of the larger magnitude; absolute; whichever is wider */
    COMPARE_REL16, COMPARE_RELB16,     /* halves of a word as f16, bf16 */
    COMPARE_REL64                      /* f64 */
} SuiteCompare;

typedef struct SuiteProgram {
    const char *name, *text;           /* text ends with a NUL */
    unsigned grid, block, cluster, dynamic;
    SuiteInput input;
    unsigned words_in, words_out;
    SuiteCompare compare;
    double bound;
} SuiteProgram;

typedef enum { MAP_U8, MAP_F32, MAP_TF32, MAP_F16, MAP_BF16, MAP_U32 } SuiteMapType;
enum { MAP_ZERO, MAP_NAN };
typedef struct SuiteMap {              /* a tensor map over `in`, as cuTensorMapEncodeTiled is asked for it */
    const char *program;
    SuiteMapType type;
    unsigned rank, word;               /* word of `in` (of `out` plus 1 << 31) where the tensor begins */
    uint64_t dims[5], strides[4];
    uint32_t box[5], element_strides[5];
    unsigned swizzle, fill;            /* 0, 32, 64, 128 bytes */
} SuiteMap;

enum { SUITE_OUT = 1u << 31, SUITE_MAX_MAPS = 3 };
extern const SuiteProgram suite_programs[];
extern const size_t suite_count;
extern const SuiteMap suite_maps[];
extern const size_t suite_map_count;
/* The maps of a program, in the order of its parameters; how many. */
unsigned suite_maps_of(const SuiteProgram *p, const SuiteMap *maps[SUITE_MAX_MAPS]);

/* Fills `in`; the same words for the same program, everywhere. */
void suite_input(const SuiteProgram *p, uint32_t *in);
/* How many of the words differ; `why` says where the first does. */
size_t suite_compare(const SuiteProgram *p, const uint32_t *expected, const uint32_t *got, char *why, size_t room);
/* Changes with the program's text, its row, its maps and its input. */
uint64_t suite_hash(const SuiteProgram *p);

/* Results kept: golden/silicon.bin, for each program its hash and words. */
bool suite_golden_write(const char *path, uint32_t *const results[]);              /* by program; NULL: none */
typedef struct SuiteGolden { uint32_t **words; bool *stale; void *memory; } SuiteGolden;
/* words[i]: of program i, or NULL (stale[i]: of an older text of it). false: no such file. */
bool suite_golden_read(const char *path, SuiteGolden *g);
void suite_golden_free(SuiteGolden *g);
