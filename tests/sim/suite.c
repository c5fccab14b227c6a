/* tests/sim/suite.c — the suite's table, comparison and goldens. */
#include "tests/sim/suite.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The texts themselves, through the assembler: a megabyte is slow as a C initialiser. */
#define PTX(name, ...)                                                                                  \
    __asm__(".section .rodata\n.balign 8\nsuite_text_" #name ":\n.incbin \"tests/sim/ptx/" #name ".ptx\"\n" \
            ".byte 0\n.globl suite_text_" #name "\n.text\n");                                            \
    extern const char suite_text_##name[];
#include "tests/sim/ptx/suite.def"

const SuiteProgram suite_programs[] = {
#define PTX(name, grid, block, cluster, dynamic, input, in, out, compare, bound) \
    {#name, suite_text_##name, grid, block, cluster, dynamic, INPUT_##input, in, out, COMPARE_##compare, bound},
#include "tests/sim/ptx/suite.def"
};
const size_t suite_count = sizeof suite_programs / sizeof *suite_programs;

#define LIST(...) __VA_ARGS__
const SuiteMap suite_maps[] = {
#define MAP(program, type, rank, word, dims, strides, box, steps, swizzle, fill) \
    {#program, MAP_##type, rank, word, {LIST dims}, {LIST strides}, {LIST box}, {LIST steps}, swizzle, MAP_##fill},
#include "tests/sim/ptx/suite.def"
    {NULL}
};
const size_t suite_map_count = sizeof suite_maps / sizeof *suite_maps - 1;

unsigned suite_maps_of(const SuiteProgram *p, const SuiteMap *maps[SUITE_MAX_MAPS])
{
    unsigned n = 0;
    for (size_t i = 0; i < suite_map_count; i++)
        if (!strcmp(suite_maps[i].program, p->name) && n < SUITE_MAX_MAPS)
            maps[n++] = &suite_maps[i];
    return n;
}

/* ---- comparison ---- */

static double f32_of(uint32_t w)
{
    float f;
    memcpy(&f, &w, 4);
    return f;
}
static double f64_of(const uint32_t *w)
{
    double f;
    memcpy(&f, w, 8);
    return f;
}
static double f16_of(uint32_t h)
{
    int e = h >> 10 & 31, m = h & 1023;
    double v = e == 31 ? m ? NAN : INFINITY : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
    return h & 0x8000 ? -v : v;
}

/* tiny: the smallest denormals of the type, twice, where a relative bound says too much */
static bool near(double x, double y, double bound, bool relative, bool absolute, double tiny)
{
    if (isnan(x) || isnan(y))
        return isnan(x) && isnan(y);
    if (x == y)
        return signbit(x) == signbit(y) || x != 0;
    if (isinf(x) || isinf(y))
        return false;
    double allowed = tiny;
    if (relative)
        allowed = fmax(allowed, bound * fmax(fabs(x), fabs(y)));
    if (absolute)
        allowed = fmax(allowed, bound);
    return fabs(x - y) <= allowed;
}

static bool word_agrees(const SuiteProgram *p, const uint32_t *x, const uint32_t *y, size_t i)
{
    if (x[i] == y[i])
        return true;
    switch (p->compare) {
    case COMPARE_BITS:
    case COMPARE_SET:
        return false;
    case COMPARE_REL:
        return near(f32_of(x[i]), f32_of(y[i]), p->bound, true, false, 0x1p-148);
    case COMPARE_ABS:
        return near(f32_of(x[i]), f32_of(y[i]), p->bound, false, true, 0);
    case COMPARE_REL_ABS:
        return near(f32_of(x[i]), f32_of(y[i]), p->bound, true, true, 0);
    case COMPARE_REL16:
        return near(f16_of(x[i] & 0xffff), f16_of(y[i] & 0xffff), p->bound, true, false, 0x1p-23) &&
               near(f16_of(x[i] >> 16), f16_of(y[i] >> 16), p->bound, true, false, 0x1p-23);
    case COMPARE_RELB16:
        return near(f32_of(x[i] << 16), f32_of(y[i] << 16), p->bound, true, false, 0x1p-132) &&
               near(f32_of(x[i] & 0xffff0000u), f32_of(y[i] & 0xffff0000u), p->bound, true, false, 0x1p-132);
    case COMPARE_REL64:
        return near(f64_of(x + (i & ~(size_t)1)), f64_of(y + (i & ~(size_t)1)), p->bound, true, false, 0);
    }
    return false;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

size_t suite_compare(const SuiteProgram *p, const uint32_t *expected, const uint32_t *got, char *why, size_t room)
{
    size_t bytes = (size_t)p->words_out * 4, wrong = 0;
    uint32_t *copy = NULL;
    if (p->compare == COMPARE_SET) {
        copy = malloc(2 * bytes);
        memcpy(copy, expected, bytes);
        memcpy(copy + p->words_out, got, bytes);
        qsort(copy, p->words_out, 4, by_value);
        qsort(copy + p->words_out, p->words_out, 4, by_value);
        expected = copy;
        got = copy + p->words_out;
    }
    if (room)
        *why = 0;
    for (size_t i = 0; i < p->words_out; i++)
        if (!word_agrees(p, expected, got, i) && wrong++ == 0)
            snprintf(why, room, "word %zu (thread %zu, word %zu of its): expected %08x (%.9g), got %08x (%.9g)", i,
                     i / (p->words_out / (p->grid * p->block) ? p->words_out / (p->grid * p->block) : 1),
                     i % (p->words_out / (p->grid * p->block) ? p->words_out / (p->grid * p->block) : 1),
                     expected[i], f32_of(expected[i]), got[i], f32_of(got[i]));
    free(copy);
    return wrong;
}

/* ---- goldens ---- */

static uint64_t fnv(uint64_t h, const void *data, size_t n)
{
    for (const unsigned char *p = data; n; n--)
        h = (h ^ *p++) * 0x100000001b3ull;
    return h;
}

uint64_t suite_hash(const SuiteProgram *p)
{
    uint32_t *in = calloc(p->words_in, 4);
    unsigned row[] = {p->grid, p->block, p->cluster, p->dynamic, p->words_in, p->words_out};
    const SuiteMap *maps[SUITE_MAX_MAPS];
    unsigned n = suite_maps_of(p, maps);
    suite_input(p, in);
    uint64_t h = fnv(0xcbf29ce484222325ull, p->text, strlen(p->text));
    h = fnv(fnv(h, row, sizeof row), in, (size_t)p->words_in * 4);
    for (unsigned i = 0; i < n; i++)
        h = fnv(h, &maps[i]->type, sizeof *maps[i] - offsetof(SuiteMap, type));
    free(in);
    return h;
}

typedef struct { char name[32]; uint64_t hash; uint32_t words, zero; } Entry;
static const char magic[8] = "PAWLSIL1";

bool suite_golden_write(const char *path, uint32_t *const results[])
{
    FILE *f = fopen(path, "wb");
    if (!f)
        return false;
    bool ok = fwrite(magic, sizeof magic, 1, f) == 1;
    for (size_t i = 0; ok && i < suite_count; i++) {
        const SuiteProgram *p = &suite_programs[i];
        if (!results[i])
            continue;
        Entry e = {.hash = suite_hash(p), .words = p->words_out};
        snprintf(e.name, sizeof e.name, "%s", p->name);
        ok = fwrite(&e, sizeof e, 1, f) == 1 && fwrite(results[i], 4, p->words_out, f) == p->words_out;
    }
    return fclose(f) == 0 && ok;
}

static size_t index_of(const char *name)
{
    for (size_t i = 0; i < suite_count; i++)
        if (!strcmp(suite_programs[i].name, name))
            return i;
    return suite_count;
}

bool suite_golden_read(const char *path, SuiteGolden *g)
{
    *g = (SuiteGolden){calloc(suite_count, sizeof *g->words), calloc(suite_count, 1), NULL};
    FILE *f = fopen(path, "rb");
    char head[sizeof magic];
    if (!f || fread(head, sizeof head, 1, f) != 1 || memcmp(head, magic, sizeof magic)) {
        if (f)
            fclose(f);
        return false;
    }
    for (Entry e; fread(&e, sizeof e, 1, f) == 1; ) {
        uint32_t *words = e.words < 1u << 24 ? calloc(e.words + 1, 4) : NULL;
        if (!words || fread(words, 4, e.words, f) != e.words) {
            free(words);
            break;
        }
        e.name[sizeof e.name - 1] = 0;
        size_t i = index_of(e.name);
        if (i < suite_count && !g->words[i] && e.words == suite_programs[i].words_out && e.hash == suite_hash(&suite_programs[i])) {
            g->words[i] = words;
        } else {
            if (i < suite_count)
                g->stale[i] = true;
            free(words);
        }
    }
    fclose(f);
    return true;
}

void suite_golden_free(SuiteGolden *g)
{
    for (size_t i = 0; i < suite_count; i++)
        free(g->words[i]);
    free(g->words);
    free(g->stale);
}
