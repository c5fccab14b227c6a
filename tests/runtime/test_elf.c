/* tests/runtime/test_elf.c — the loader of host objects: real ones from the system's compiler run; odd, hostile and broken ones are
 * refused with a sentence. */
#include "runtime/host_code.h"
#include "tests/runtime/support.h"
#include <elf.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static int setup(void **state) { *state = context_new(); return 0; }
static int teardown(void **state) { context_free(*state); return 0; }

static void *compiled(Context *cx, const char *source, const char *flags, size_t *len)
{
    void *object = compile_object(cx->arena, source, flags, len);
    if (!object) {
        print_message("SKIP: no C compiler, or not these flags: %s\n", flags);
        skip();
    }
    return object;
}

static void expect(Context *cx, const void *good, const char *part)
{
    char *text = diags_text(cx);
    if (good || !strstr(text, part))
        fail_msg("expected a refusal with \"%s\": %s", part, good ? "accepted" : text);
}

/* Read-only tables, a jump table, writable and zeroed data, pointers in data, imports by call and by address, a local helper. */
static const char source[] =
    "typedef long long i64;\n"
    "float expf(float); float powf(float, float); double log(double); void *memcpy(void *, const void *, unsigned long);\n"
    "static const float table[] = {1.5f, 2.5f, 3.5f, 4.5f};\n"
    "static const char *const names[] = {\"a\", \"bcd\", \"ef\"};\n"
    "static i64 counter = 40, zeroed[300];\n"
    "static i64 *const pointers[] = {&counter, &zeroed[7]};\n"
    "static float (*const by_address)(float) = expf;\n"
    "__attribute__((noinline)) static float helper(float x, int k)\n"
    "{ switch (k) { case 0: return x + 1; case 1: return x * 3; case 2: return powf(x, 2); case 3: return -x; case 4: return x / 2;\n"
    "  case 5: return by_address(x); case 6: return x * x * x; case 7: return 9; } return 0; }\n"
    "void run(void *const *b, const i64 *s, const i64 *grid, i64 begin, i64 end)\n"
    "{ float *out = b[0]; const float *in = b[1];\n"
    "  for (i64 i = begin; i < end; i++) out[i] = helper(in[i], (int)(i % 9)) + table[i & 3] + (float)log(2.0) + names[i % 3][0]; }\n"
    "void count(void *const *b, const i64 *s, const i64 *grid, i64 begin, i64 end)\n"
    "{ i64 *out = b[0]; (*pointers[0])++; (*pointers[1])--; out[0] = counter; out[1] = zeroed[7]; memcpy(out + 2, table, 16); }\n";

static float reference(float x, int i)
{
    static const float table[] = {1.5f, 2.5f, 3.5f, 4.5f};
    const float by_case[] = {x + 1, x * 3, powf(x, 2), -x, x / 2, expf(x), x * x * x, 9, 0};
    return by_case[i % 9] + table[i & 3] + (float)log(2.0) + (float)"abe"[i % 3];
}

static void check_object(Context *cx, const char *flags)
{
    size_t len;
    void *object = compiled(cx, source, flags, &len);
    HostCode *c = host_loader_elf.load(cx->arena, cx->diags, object, len);
    if (!c)
        fail_msg("%s: %s", flags, diags_text(cx));
    HostKernel *run = host_loader_elf.find(c, "run"), *count = host_loader_elf.find(c, "count");
    assert_non_null(run);
    assert_non_null(count);
    assert_null(host_loader_elf.find(c, "helper"));
    assert_null(host_loader_elf.find(c, "expf"));
    float in[100], out[100];
    for (int i = 0; i < 100; i++)
        in[i] = (float)i * 0.07f - 3;
    run((void *[]){out, in}, NULL, NULL, 0, 100);
    for (int i = 0; i < 100; i++)
        assert_true(fabsf(out[i] - reference(in[i], i)) <= 1e-4f);
    int64_t counts[4];
    count((void *[]){counts}, NULL, NULL, 0, 1);
    count((void *[]){counts}, NULL, NULL, 0, 1);
    assert_true(counts[0] == 42 && counts[1] == -2);
    host_loader_elf.unload(c);
}

static void test_runs_real_objects(void **state)
{
    static const char *const flags[] = {"", "-O0", "-O3 -fno-plt", "-Os -fno-jump-tables", "-O2 -fno-pic -mcmodel=small",
                                        "-ffunction-sections -fdata-sections", "-fvisibility=hidden -g"};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        check_object(*state, flags[i]);
}

static void test_vector_functions(void **state)
{
    Context *cx = *state;
    size_t len;
    if (!__builtin_cpu_supports("avx2")) {
        print_message("SKIP: no AVX2\n");
        skip();
    }
    static const char vector[] =
        "typedef long long i64; typedef float v8 __attribute__((vector_size(32))); typedef double v4 __attribute__((vector_size(32)));\n"
        "v8 _ZGVdN8v_tanhf(v8); v8 _ZGVdN8vv_powf(v8, v8); v4 _ZGVdN4v_exp(v4); v8 _ZGVdN8v_erff(v8);\n"
        "void run(void *const *b, const i64 *s, const i64 *grid, i64 begin, i64 end)\n"
        "{ v8 x = *(v8 *)b[0], two = x - x + 2; ((v8 *)b[1])[0] = _ZGVdN8v_tanhf(x); ((v8 *)b[1])[1] = _ZGVdN8vv_powf(two, x);\n"
        "  ((v8 *)b[1])[2] = _ZGVdN8v_erff(x); *(v4 *)b[3] = _ZGVdN4v_exp(*(v4 *)b[2]); }\n";
    void *object = compiled(cx, vector, "-mavx2", &len);
    HostCode *c = host_loader_elf.load(cx->arena, cx->diags, object, len);
    if (!c)
        fail_msg("%s", diags_text(cx));
    _Alignas(32) float x[8], y[24];
    _Alignas(32) double p[4] = {0, 1, -1, 3}, q[4];
    for (int i = 0; i < 8; i++)
        x[i] = (float)i * 0.4f - 1.5f;
    host_loader_elf.find(c, "run")((void *[]){x, y, p, q}, NULL, NULL, 0, 1);
    for (int i = 0; i < 8; i++) {
        assert_true(fabsf(y[i] - tanhf(x[i])) < 1e-5f);
        assert_true(fabsf(y[8 + i] - powf(2, x[i])) < 1e-5f);
        assert_true(fabsf(y[16 + i] - erff(x[i])) < 1e-5f);
    }
    for (int i = 0; i < 4; i++)
        assert_true(fabs(q[i] - exp(p[i])) < 1e-10 * exp(p[i]));
    host_loader_elf.unload(c);
}

static void test_imports(void **state)
{
    (void)state;
    static const char *const there[] = {"memcpy", "memset", "memmove", "expf", "exp", "fmaf", "__truncsfbf2", "_ZGVbN4v_expf",
        "_ZGVdN8v_logf", "_ZGVeN16v_tanhf", "_ZGVeN16vv_powf", "_ZGVbN2v_sin", "_ZGVdN4v_erf", "_ZGVeN8vv_atan2", "_ZGVdN8v_log1pf",
        "_ZGVeN16v_expm1f", "_ZGVdN8v_exp2f", "_ZGVdN8v_log2f", "_ZGVdN8v_atanf", "_ZGVdN8v_asinf", "_ZGVdN8v_cosf"};
    static const char *const absent[] = {"system", "malloc", "printf", "dlopen", "_ZGVdN8v_system", "_ZGVdN8vv_expf", "", "_ZGV", "exp_"};
    for (size_t i = 0; i < sizeof there / sizeof *there; i++)
        if (!host_import(there[i]))
            fail_msg("%s is missing", there[i]);
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        if (host_import(absent[i]))
            fail_msg("\"%s\" may be imported", absent[i]);
}

static void test_refuses_objects(void **state)
{
    Context *cx = *state;
    static const struct { const char *source, *flags, *part; } cases[] = {
        {"int system(const char *); void run(void) { system(\"id\"); }", "", "calls \"system\", which is not among"},
        {"extern int errno_like; int run(void) { return errno_like; }", "", "calls \"errno_like\""},
        {"static __thread int x; int *run(void) { return &x; }", "", "thread-local"},
        {"int shared; int *run(void) { return &shared; }", "-fcommon", "common, thread-local or indirect"},
        {"void run(void) {}", "-flto -fno-fat-lto-objects", ""},
        {"void run(void) {}", "-m32", "no relocatable object for x86-64"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t len;
        void *object = compile_object(cx->arena, cases[i].source, cases[i].flags, &len);
        if (!object)
            continue;                                  /* the compiler has no such mode */
        HostCode *c = host_loader_elf.load(cx->arena, cx->diags, object, len);
        if (*cases[i].part) {
            expect(cx, c, cases[i].part);
        } else {                                       /* whatever it says, it ends */
            host_loader_elf.unload(c);
            diags_clear(cx->diags);
        }
    }
    expect(cx, host_loader_elf.load(cx->arena, cx->diags, "", 0), "is no ELF object");
    expect(cx, host_loader_elf.load(cx->arena, cx->diags, "a text that is long enough to hold a whole ELF header, and then some more", 68),
           "is no ELF object");
    FileMap self;
    assert_true(file_map(cx->diags, "/proc/self/exe", &self));
    expect(cx, host_loader_elf.load(cx->arena, cx->diags, self.data, self.len), "no relocatable object for x86-64");
    file_unmap(&self);
}

/* Every field of every table set to odd values: refused or loaded, never a crash; loaded code is not run. */
static void test_hostile_fields(void **state)
{
    Context *cx = *state;
    size_t len;
    const char *object = compiled(cx, source, "", &len);
    const Elf64_Ehdr *h = (const void *)object;
    const Elf64_Shdr *s = (const void *)(object + h->e_shoff);
    static const uint64_t odd[] = {0, 1, 7, 0x7f, 0xff, 0xffff, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff, 0xffffffffffffffff, 0x100000000};
    char *copy = malloc(len);
    unsigned refused = 0, total = 0;
    for (int table = -1; table < (int)h->e_shnum; table++) {
        bool entries = table >= 0 && (s[table].sh_type == SHT_RELA || s[table].sh_type == SHT_SYMTAB);
        size_t at = table < 0 ? 0 : entries ? s[table].sh_offset : h->e_shoff + (size_t)table * sizeof *s;
        size_t n = table < 0 ? sizeof *h : entries ? s[table].sh_size : sizeof *s;
        for (int pass = 0; pass < 1 + entries; pass++) {
            if (pass) {                                /* and the section header of such a table itself */
                at = h->e_shoff + (size_t)table * sizeof *s;
                n = sizeof *s;
            }
            for (size_t field = at; field + 8 <= at + n && field + 8 <= len; field += 4)
                for (size_t k = 0; k < sizeof odd / sizeof *odd; k++)
                    for (size_t bytes = 2; bytes <= 8; bytes *= 2) {
                        Context *own = context_new();
                        memcpy(copy, object, len);
                        memcpy(copy + field, &odd[k], bytes);
                        HostCode *c = host_loader_elf.load(own->arena, own->diags, copy, len);
                        refused += c == NULL;
                        total++;
                        if (!c && !diags_failed(own->diags))
                            fail_msg("refused without a message");
                        host_loader_elf.unload(c);
                        context_free(own);
                    }
        }
    }
    for (size_t n = 0; n < len; n += 3) {
        char *part = malloc(n ? n : 1);
        memcpy(part, object, n);
        Context *own = context_new();
        HostCode *c = host_loader_elf.load(own->arena, own->diags, part, n);
        host_loader_elf.unload(c);
        context_free(own);
        free(part);
    }
    free(copy);
    assert_true(refused > total / 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_runs_real_objects, setup, teardown),
        cmocka_unit_test_setup_teardown(test_vector_functions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_imports, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refuses_objects, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile_fields, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
