/* Long chains, trees, and subexpressions shared again and again: they compile in time linear in nodes, without recursion on the graph,
 * and what is shared is stored before it is recomputed without end. */
#include "tests/codegen/run_graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LIMIT_SECONDS = 2 };

static void in_time(const char *what, double seconds)
{
    const char *sanitized = getenv("PAWL_SANITIZED");
    print_message("%.2f s: %s%s", seconds, what, strchr(what, '\n') ? "" : "\n");
    assert_true((sanitized && !strcmp(sanitized, "1")) || seconds < LIMIT_SECONDS);
}

/* `first`, then `step` n times, where @ is the value that it defines and $ the one before. */
static void chain(const char *first, const char *step, uint32_t n)
{
    Context *cx = context_new();
    StrBuf b = strbuf_new(cx->arena);
    strbuf_printf(&b, "graph deep {\n %s\n", first);
    for (uint32_t i = 1; i <= n; i++)
        for (const char *p = step; *p; p++) {
            if (*p == '@')                                         /* this value */
                strbuf_printf(&b, "%%v%u", i);
            else if (*p == '$')                                    /* the last one */
                strbuf_printf(&b, "%%v%u", i - 1);
            else
                strbuf_char(&b, *p);
        }
    strbuf_printf(&b, " return %%v%u\n}", n);
    double seconds = 0;
    RunOptions o = {.fuse = true, .seconds = &seconds};
    bool ok = run_graph(b.text, &o, 7);
    context_free(cx);
    assert_true(ok);
    in_time(step, seconds);
}

static void pointwise_chain(void **s) { (void)s; chain("input %v0 : f32[8]", " @ = add(mul($, 0.75), 0.25)\n", 2500); }
static void squares(void **s) { (void)s; chain("input %v0 : f32[40] ~ uniform(-1, 1)", " @ = sub(mul($, $), 0.5)\n", 40); }
static void flips(void **s) { (void)s; chain("input %v0 : f32[5, 9]", " @ = mul(add(flip($, axes=[1]), $), 0.5)\n", 200); }
static void shifts(void **s)
{
    (void)s;
    chain("input %v0 : f32[16, 33]", " @ = mul(add(slice(pad($, axis=1, low=1, high=0), axis=1, start=0, size=33), $), 0.5)\n", 60);
}
static void concats(void **s)
{
    (void)s;
    chain("input %v0 : f32[6, 16]", " @ = concat(slice($, axis=1, start=9, size=7), slice(neg($), axis=1, start=0, size=9), axis=1)\n", 60);
}
static void reshapes(void **s)
{
    (void)s;
    chain("input %v0 : f32[6, 35]", " @ = reshape(permute(reshape($, shape=[2, 15, 7]), perm=[1, 0, 2]), shape=[6, 35])\n", 60);
}
static void norms(void **s) { (void)s; chain("input %v0 : f32[4, 32]", " @ = add(rms_norm($), $)\n", 40); }
static void softmaxes(void **s) { (void)s; chain("input %v0 : f32[4, 16, 8]", " @ = softmax(mul($, 3.0), axis=1)\n", 40); }
static void scans(void **s) { (void)s; chain("input %v0 : f32[4, 8]", " @ = mul(cumsum($, axis=1), 0.25)\n", 40); }
static void products(void **s) { (void)s; chain("input %v0 : f32[8, 8] ~ uniform(-1, 1)", " @ = tanh(matmul($, $))\n", 20); }
static void gathers(void **s)
{
    (void)s;
    chain("input %v0 : f32[9, 5]\n input %i : i64[9] ~ randint(0, 9)", " @ = add(gather($, %i, axis=0), 0.5)\n", 40);
}

static void tree(void **s)
{
    (void)s;
    Context *cx = context_new();
    StrBuf b = strbuf_new(cx->arena);
    strbuf_add(&b, "graph tree { input %x : f32[8]\n");
    enum { LEAVES = 1024 };
    for (uint32_t i = 0; i < LEAVES; i++)
        strbuf_printf(&b, " %%v%u = mul(%%x, %g)\n", LEAVES + i, 1 + i / 1024.0);
    for (uint32_t i = LEAVES - 1; i > 0; i--)
        strbuf_printf(&b, " %%v%u = add(%%v%u, %%v%u)\n", i, 2 * i, 2 * i + 1);
    strbuf_add(&b, " return %v1\n}");
    double seconds = 0;
    bool ok = run_graph(b.text, &(RunOptions){.fuse = true, .seconds = &seconds}, 3);
    context_free(cx);
    assert_true(ok);
    in_time("tree", seconds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pointwise_chain), cmocka_unit_test(squares), cmocka_unit_test(flips), cmocka_unit_test(shifts),
        cmocka_unit_test(concats), cmocka_unit_test(reshapes), cmocka_unit_test(norms), cmocka_unit_test(softmaxes),
        cmocka_unit_test(scans), cmocka_unit_test(products), cmocka_unit_test(gathers), cmocka_unit_test(tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
