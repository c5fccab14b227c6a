/* tests/base/test_memory.c — arenas, maps, interning, strings. */
#include "base/map.h"
#include "base/str.h"
#include "base/vec.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

static bool all_zero(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

static void arena_gives_zeroed_aligned_memory(void **state)
{
    (void)state;
    Arena *a = arena_new();
    for (int round = 0; round < 3; round++) {
        ArenaMark m = arena_mark(a);
        for (size_t n = 0; n < 3000; n += 7) {
            char *p = arena_alloc(a, n);
            assert_int_equal((uintptr_t)p % 16, 0);
            assert_true(all_zero(p, n));
            memset(p, 0xee, n);
        }
        char *large = arena_alloc(a, 10 << 20);
        assert_true(all_zero(large, 10 << 20));
        memset(large, 1, 10 << 20);
        assert_true(arena_bytes(a) > 10 << 20);
        arena_reset(a, m);
        assert_int_equal(arena_bytes(a), 0);
    }
    assert_string_equal(arena_strndup(a, "abcdef", 3), "abc");
    char *p = arena_strdup(a, "kept");
    ArenaMark m = arena_mark(a);
    arena_alloc(a, 1 << 20);
    arena_reset(a, m);
    assert_string_equal(p, "kept");
    char *text = arena_printf(a, "%0500d|%s", 7, "end");
    assert_int_equal(strlen(text), 504);
    assert_string_equal(text + 499, "7|end");
    arena_free(a);
    arena_free(NULL);
}

static void vec_grows(void **state)
{
    (void)state;
    Arena *a = arena_new();
    Vec(int) v = {0};
    int sum = 0;
    vec_foreach (int, x, &v)           /* empty: without storage */
        sum += *x + 1;
    assert_int_equal(sum, 0);
    for (int i = 0; i < 1000; i++)
        vec_push(a, &v, i);
    assert_int_equal(v.n, 1000);
    vec_foreach (int, x, &v)
        sum += *x;
    assert_int_equal(sum, 999 * 1000 / 2);
    assert_int_equal(vec_pop(&v), 999);
    assert_int_equal(vec_last(&v), 998);
    arena_free(a);
}

/* Against a plain array of 512 keys, under random sets, removals and clears. */
static void map_behaves_like_an_array(void **state)
{
    (void)state;
    enum { KEYS = 512 };
    Arena *a = arena_new();
    Map *m = map_new(a);
    uint64_t want[KEYS] = {0};
    uint32_t count = 0;
    srand(1);
    assert_false(map_remove(m, 1));
    assert_false(map_entry(m, 0, NULL, NULL));
    for (int step = 0; step < 200000; step++) {
        uint64_t k = (uint64_t)(rand() % KEYS), v = (uint64_t)rand() + 1;
        if (rand() % 2) {
            assert_int_equal(map_set(m, k * 0x100000001, v), want[k] == 0);
            count += want[k] == 0;
            want[k] = v;
        } else {
            assert_int_equal(map_remove(m, k * 0x100000001), want[k] != 0);
            count -= want[k] != 0;
            want[k] = 0;
        }
        assert_int_equal(map_count(m), count);
        assert_int_equal(map_get(m, k * 0x100000001, 0), want[k]);
        if (step % 50000 == 49999) {
            map_clear(m);
            memset(want, 0, sizeof want);
            count = 0;
        }
    }
    assert_true(arena_bytes(a) < 1 << 20);
    arena_free(a);
}

static void map_keeps_insertion_order(void **state)
{
    (void)state;
    Arena *a = arena_new();
    Map *m = map_new(a);
    for (uint64_t i = 0; i < 1000; i++)
        assert_true(map_set(m, i * 7919 % 1000, i));
    for (uint64_t i = 0; i < 1000; i += 2)
        assert_true(map_remove(m, i * 7919 % 1000));
    for (uint32_t i = 0; i < 500; i++) {
        uint64_t key, value;
        assert_true(map_entry(m, i, &key, &value));
        assert_int_equal(value, 2 * i + 1);
        assert_int_equal(key, value * 7919 % 1000);
        assert_true(map_has(m, key));
    }
    assert_false(map_entry(m, 500, NULL, NULL));
    int x;
    map_set_ptr(m, &x, "here");
    assert_string_equal(map_get_ptr(m, &x), "here");
    assert_null(map_get_ptr(m, a));
    arena_free(a);
}

static bool same_int(const void *a, const void *b) { return *(const int *)a == *(const int *)b; }

static void interning_finds_equal_objects(void **state)
{
    (void)state;
    Arena *a = arena_new();
    InternTable *t = intern_new(a, same_int);
    for (int i = 0; i < 5000; i++) {
        uint64_t h = (uint64_t)i % 50;                  /* many equal hashes */
        assert_null(intern_find(t, h, &i));
        intern_add(t, h, arena_copy(a, &i, sizeof i));
    }
    for (int i = 0; i < 5000; i++)
        assert_int_equal(*(const int *)intern_find(t, (uint64_t)i % 50, &i), i);
    StrPool *p = strpool_new(a);
    char text[] = "tile";
    Str s = str_intern(p, "tile");
    assert_ptr_equal(s, str_intern(p, text));
    assert_ptr_equal(s, str_intern_n(p, "tiles", 4));
    assert_ptr_equal(s, str_format(p, "%s", "tile"));
    assert_ptr_not_equal(s, str_intern(p, "tiles"));
    assert_string_equal(str_intern_n(p, "", 0), "");
    assert_int_equal(strlen(str_format(p, "%0700d", 1)), 700);
    assert_true(hash_str("a") == hash_bytes("a", 1, 0) && hash_bytes("a", 1, 1) != hash_str("a"));
    arena_free(a);
}

static void doubles_read_back(void **state)
{
    (void)state;
    static const struct { double v; const char *text; } rows[] = {
        {0.1, "0.1"}, {1e-6, "1e-06"}, {1, "1"}, {-2.5, "-2.5"}, {1.0 / 3, "0.3333333333333333"}, {5e-324, "5e-324"},
        {1e300, "1e+300"}, {0.1 + 0.2, "0.30000000000000004"}, {INFINITY, "inf"}, {-INFINITY, "-inf"}, {-0.0, "-0"},
        {123456789, "123456789"}, {2.2250738585072014e-308, "2.2250738585072014e-308"},
    };
    Arena *a = arena_new();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        StrBuf b = strbuf_new(a);
        strbuf_double(&b, rows[i].v);
        assert_string_equal(b.text, rows[i].text);
    }
    StrBuf b = strbuf_new(a);
    strbuf_double(&b, NAN);
    assert_string_equal(b.text, "nan");
    for (uint64_t i = 0, x = 88172645463325252u; i < 20000; i++) {
        double v, back;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(&v, &x, sizeof v);
        b.len = 0;
        strbuf_double(&b, v);
        assert_true(str_to_double(b.text, &back));
        assert_true(v == back || (isnan(v) && isnan(back)));
    }
    arena_free(a);
}

static void builder_appends(void **state)
{
    (void)state;
    Arena *a = arena_new();
    StrBuf b = strbuf_new(a);
    for (int i = 0; i < 300; i++) {
        strbuf_printf(&b, "%d,", i);
        strbuf_char(&b, ' ');
    }
    strbuf_printf(&b, "%0200d", 0);
    assert_int_equal(strlen(b.text), b.len);
    assert_memory_equal(b.text, "0, 1, 2, 3", 10);
    arena_free(a);
}

static void numbers_are_checked(void **state)
{
    (void)state;
    int64_t i;
    double d;
    assert_true(str_to_i64("-9223372036854775808", &i) && i == INT64_MIN);
    assert_true(str_to_i64("0x10", &i) && i == 16);
    assert_true(str_to_i64("010", &i) && i == 10);
    static const char *const wrong[] = {"", " 1", "1 ", "9223372036854775808", "1.5", "x", "--1", "-"};
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++)
        assert_false(str_to_i64(wrong[k], &i));
    assert_true(str_to_double("0x1p-3", &d) && d == 0.125);
    assert_true(str_to_double("-inf", &d) && d == -INFINITY);
    assert_false(str_to_double("1.5x", &d) || str_to_double("", &d) || str_to_double(" 1", &d));
}

static void nearest_name_is_found(void **state)
{
    (void)state;
    static const char *const names[] = {"inputs", "outputs", "graph", "dims"};
    assert_string_equal(str_nearest("input", names, 4), "inputs");
    assert_string_equal(str_nearest("grpah", names, 4), "graph");
    assert_string_equal(str_nearest("Dims", names, 4), "dims");
    assert_null(str_nearest("wholly different", names, 4));
    assert_null(str_nearest("x", names, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_gives_zeroed_aligned_memory), cmocka_unit_test(vec_grows),
        cmocka_unit_test(map_behaves_like_an_array), cmocka_unit_test(map_keeps_insertion_order),
        cmocka_unit_test(interning_finds_equal_objects), cmocka_unit_test(doubles_read_back),
        cmocka_unit_test(builder_appends), cmocka_unit_test(numbers_are_checked),
        cmocka_unit_test(nearest_name_is_found),
    };
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
