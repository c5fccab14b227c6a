/* Every rule of patterns/ through identity testing: on random instances of its left side, both sides are one algebra. And
 * wrong rules are refuted. What the domain cannot decide (fewer than 30 % of the elements) is counted and bounded. */
#include "ir/identity.h"
#include "passes_fixture.h"

enum { INSTANCES = 10, MAX_SEEDS = 1500 };

typedef struct { uint32_t found, equal, undefined; char *refuted; } Outcome;

static Outcome hold(Context *cx, const Rule *r)
{
    Outcome o = {0};
    for (uint64_t seed = 1; seed <= MAX_SEEDS && o.found < INSTANCES; seed++) {
        RuleInstance *x = rule_instance(cx, r, seed, false);
        if (!x)
            continue;
        Arena *a = arena_new();
        IdentityReport report;
        IdentityOptions how = {.seed = seed, .trials = 4, .first_b = x->n_roots, .n = x->n_roots, .inputs = x->inputs, .work = 1e5};
        o.found++;
        if (!residue_compare_graphs(x->g, x->g, &how, a, &report)) {
            o.refuted = arena_strdup(cx->arena, "the two sides differ in shape");
            diags_clear(cx->diags);
        } else if (report.verdict == IDENTITY_DIFFERENT && !o.refuted) {
            o.refuted = arena_printf(cx->arena, "%s is %s\n%s", r->info.name, identity_text(a, &report), graph_text(a, x->g));
        }
        o.equal += report.verdict == IDENTITY_EQUAL;
        o.undefined += report.verdict == IDENTITY_UNDEFINED;
        graph_free(x->g);
        arena_free(a);
    }
    return o;
}

static void rules_are_identities(void **state)
{
    (void)state;
    Context *cx = context_new();
    RuleList rules = {0};
    uint32_t found = 0, equal = 0, blind = 0;
    assert_true(rules_parse_dir(cx, "patterns", &rules));
    for (uint32_t i = 0; i < rules.n; i++) {
        if (rules.data[i]->info.exactness == PRECISION)         /* equal to so many digits only: test_rules compares numbers */
            continue;
        Outcome o = hold(cx, rules.data[i]);
        if (o.refuted)
            fail_msg("%s", o.refuted);
        if (o.undefined)
            printf("%s: %u of %u instances are undefined\n", rules.data[i]->info.name, o.undefined, o.found);
        found += o.found;
        equal += o.equal;
        blind += o.found && !o.equal;
    }
    printf("%u rules, %u instances, %u equal\n", rules.n, found, equal);
    assert_true(equal >= found * 9 / 10);
    assert_in_range(blind, 0, 3);          /* range(within(…)) gives them tanh(x), whose exp is no known number: log(exp(x)) … */
    context_free(cx);
}

static void wrong_rules_are_refuted(void **state)
{
    (void)state;
    static const char *const wrong[][3] = {
        {"neg(sub(%a, %b))", "sub(%a, %b)", "[is_float(%a)]"},
        {"maximum(%x, minimum(%y, %z))", "minimum(maximum(%x, %y), %z)", "[is_float(%x)]"},
        {"logical_not(lt(%a, %b))", "gt(%b, %a)", "[is_float(%a)]"},
        {"sqrt(mul(%x, %x))", "%x", "[is_float(%x)]"},
        {"permute(permute(%x, perm=p), perm=q)", "permute(%x, perm=compose(q, p))", "[]"},
        {"reduce_sum(flip(%x, axes=a), axes=b)", "reduce_max(%x, axes=b)", "[is_float(%x)]"},
        {"matmul(permute(%a, perm=p), %b)", "matmul(%a, %b)", "[swaps_last_two(p), is_float(%a), 'dim(%a, -1) == dim(%a, -2)']"},
        {"exp(add(%a, %b))", "add(exp(%a), exp(%b))", "[is_float(%a)]"},
        {"tanh(%x)", "minimum(maximum(%x, -1), 1)", "[is_float(%x)]"},
        {"mul(%x, rsqrt(add(%y, 1e-6)))", "mul(%x, rsqrt(add(%y, 1e-5)))", "[is_float(%x), is_float(%y), nonnegative(%y)]"},
        {"reduce_max(neg(%x), axes=a)", "neg(reduce_max(%x, axes=a))", "[is_float(%x)]"},
    };
    for (uint32_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        Context *cx = context_new();
        RuleList rules = {0};
        char *text = arena_printf(cx->arena, "rule: wrong\nabout: Wrong.\nmatch: '%%y0 = %s'\nrewrite: '%%y0 = %s'\nwhere: %s\nexactness: reassociates\n",
                                  wrong[i][0], wrong[i][1], wrong[i][2]);
        if (!rules_parse_source(cx, source_from_text(cx->arena, "wrong.yaml", text), &rules))
            diags_print(cx->diags, stderr, false);
        assert_int_equal(rules.n, 1);
        Outcome o = hold(cx, rules.data[0]);
        if (!o.refuted)
            fail_msg("not refuted: %s -> %s (%u instances, %u equal)", wrong[i][0], wrong[i][1], o.found, o.equal);
        context_free(cx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rules_are_identities), cmocka_unit_test(wrong_rules_are_refuted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
