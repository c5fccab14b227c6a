/* tests/runtime/test_package.c — packages: what is written is read, byte for byte the same every time; anything cut off, flipped or
 * forged is refused with a sentence, or at the worst harmless. */
#include "runtime/package.h"
#include "runtime/pawl.h"
#include "runtime/safetensors.h"
#include "runtime/zip.h"
#include "tests/runtime/map_plans.h"
#include "tests/runtime/support.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <cmocka.h>

typedef struct { Context *cx; Plan *plans[2]; char *image; size_t len; } Fixture;

static int setup(void **state)
{
    Fixture *f = calloc(1, sizeof *f);
    f->cx = context_new();
    SamplePlan s = {.workload = "n8", .n = 8, .target = TARGET_CPU, .code = "the code of two kernels", .code_len = 23};
    f->plans[0] = sample_plan(f->cx, s);
    s.workload = NULL;
    f->plans[1] = sample_plan(f->cx, s);
    f->image = package_image(f->cx->arena, f->cx->diags, f->plans, 2, "{\"made_by\": \"a test\"}", &f->len);
    *state = f;
    return f->image ? 0 : -1;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    context_free(f->cx);
    free(f);
    return 0;
}

static void expect(Context *cx, const void *good, const char *part)
{
    char *text = diags_text(cx);
    if (good || !strstr(text, part))
        fail_msg("expected a refusal with \"%s\": %s", part, good ? "accepted" : text);
}

static void test_read_back(void **state)
{
    Fixture *f = *state;
    Context *cx = context_new();
    Package *p = package_open_memory(cx, f->image, f->len);
    if (!p)
        fail_msg("%s", diags_text(cx));
    assert_int_equal(p->n_plans, 2);
    assert_string_equal(p->plans[0]->workload, "n8");
    assert_null(p->plans[1]->workload);
    assert_string_equal(p->name, "sample");
    assert_non_null(strstr(p->manifest, "\"made_by\": \"a test\""));
    for (int i = 0; i < 2; i++) {
        const PlanKernel *k = p->plans[i]->kernels.data;
        assert_true(k[0].code.data[0].len == 23 && memcmp(k[0].code.data[0].bytes, "the code of two kernels", 23) == 0);
        assert_ptr_equal(k[0].code.data[0].bytes, k[1].code.data[0].bytes);      /* one module, stored once */
        const Tensor *w = p->plans[i]->weights.data[0].data;
        assert_true(w->rank == 1 && w->dims[0] == 4 && ((float *)w->data)[3] == 3.5f && (uintptr_t)w->data % 64 == 0);
        assert_ptr_equal(w->data, p->plans[0]->weights.data[0].data->data);
    }
    assert_true(package_check(p, cx->diags));
    package_close(p);
    context_free(cx);
}

/* Tensor maps and clusters as well: the plan's text is the same, and its code is where the text says. */
static void test_read_back_maps(void **state)
{
    Fixture *f = *state;
    Context *cx = context_new();
    size_t len;
    Plan *plan = map_plan(f->cx, (MapPlan){.steps = 2, .waits = true});
    char *image = package_image(f->cx->arena, f->cx->diags, &plan, 1, NULL, &len);
    Package *p = image ? package_open_memory(cx, image, len) : NULL;
    if (!p)
        fail_msg("%s%s", diags_text(f->cx), diags_text(cx));
    StrBuf a = strbuf_new(f->cx->arena), b = strbuf_new(cx->arena);
    plan_print(&a, plan);
    plan_print(&b, p->plans[0]);
    assert_string_equal(a.text, b.text);
    assert_int_equal(p->plans[0]->steps.data[1].maps[0].buffer, 2);
    const PlanCode *c = p->plans[0]->kernels.data[0].code.data;
    assert_true(c->len == strlen(map_ptx) && memcmp(c->bytes, map_ptx, c->len) == 0);
    package_close(p);
    context_free(cx);
}

static void test_same_bytes(void **state)
{
    Fixture *f = *state;
    size_t len;
    const char *path = arena_printf(f->cx->arena, "%s/same-%d.pawl", test_folder(), (int)getpid());
    char *again = package_image(f->cx->arena, f->cx->diags, f->plans, 2, "{\"made_by\": \"a test\"}", &len);
    assert_true(len == f->len && memcmp(again, f->image, len) == 0);
    assert_true(package_write(f->cx->diags, path, f->plans, 2, "{\"made_by\": \"a test\"}"));
    char *file = file_read(f->cx->arena, f->cx->diags, path, &len);
    assert_true(len == f->len && memcmp(file, f->image, len) == 0);
    Package *p = package_open(f->cx, path);
    assert_non_null(p);
    package_close(p);
    unlink(path);
    assert_null(f->plans[0]->weights.data[0].key);             /* the plans are as they were */
    assert_false(package_write(f->cx->diags, "/nonexistent/folder/x.pawl", f->plans, 2, NULL));
    expect(f->cx, NULL, "cannot write /nonexistent/folder/x.pawl");
    if (access("/dev/full", W_OK) == 0) {
        assert_false(package_write(f->cx->diags, "/dev/full", f->plans, 2, NULL));
        expect(f->cx, NULL, "cannot write /dev/full: No space left on device");
        assert_true(access("/dev/full", W_OK) == 0);
    }
    assert_false(package_write(f->cx->diags, test_folder(), f->plans, 2, NULL));
    expect(f->cx, NULL, "Is a directory");
    assert_true(package_write(f->cx->diags, "/dev/null", f->plans, 2, NULL));
    assert_null(package_image(f->cx->arena, f->cx->diags, f->plans, 2, "[1", &len));
    expect(f->cx, NULL, "the manifest is no JSON object");
}

/* Tools that know zip and safetensors must be able to read packages. */
static void test_other_tools(void **state)
{
    Fixture *f = *state;
    const char *path = arena_printf(f->cx->arena, "%s/tools-%d.pawl", test_folder(), (int)getpid());
    const char *packed = arena_printf(f->cx->arena, "%s/packed-%d.pawl", test_folder(), (int)getpid());
    assert_true(package_write(f->cx->diags, path, f->plans, 2, NULL));
    const char *command = arena_printf(f->cx->arena,
        "python3 -c \"import zipfile, sys, json; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None\n"
        "assert z.namelist()[0] == 'manifest.json'\n"
        "w = z.read('weights.safetensors'); n = int.from_bytes(w[:8], 'little'); h = json.loads(w[8:8 + n])\n"
        "assert h['w'] == {'dtype': 'F32', 'shape': [4], 'data_offsets': [0, 16]}, h\n"
        "o = zipfile.ZipFile(sys.argv[2], 'w', zipfile.ZIP_DEFLATED)\n"
        "[o.writestr(i.filename, z.read(i.filename)) for i in z.infolist()]; o.close()\" %s %s", path, packed);
    if (system("python3 -c 'import zipfile' 2>/dev/null") == 0) {
        assert_int_equal(system(command), 0);
        Package *p = package_open(f->cx, packed);              /* deflated, unaligned: read all the same */
        if (!p)
            fail_msg("%s", diags_text(f->cx));
        assert_true(((float *)p->plans[0]->weights.data[0].data->data)[0] == 0.5f);
        assert_true((uintptr_t)p->plans[0]->weights.data[0].data->data % 64 == 0);
        package_close(p);
    }
    unlink(path);
    unlink(packed);
}

static void test_every_truncation(void **state)
{
    Fixture *f = *state;
    for (size_t n = 0; n < f->len; n++) {
        Context *cx = context_new();
        char *part = malloc(n ? n : 1);                        /* its own block: reading past it shows */
        memcpy(part, f->image, n);
        Package *p = package_open_memory(cx, part, n);
        if (p || diags_count(cx->diags) != 1)
            fail_msg("cut to %zu bytes: %s, %u messages", n, p ? "accepted" : "refused", diags_count(cx->diags));
        free(part);
        context_free(cx);
    }
}

/* Flipped bits: refused with one message, or in a place that does not matter (weights, padding, dates). */
static void test_flips(void **state)
{
    Fixture *f = *state;
    char *image = aligned_alloc(64, (f->len + 63) / 64 * 64);
    unsigned accepted = 0;
    uint64_t random = 1;
    for (int round = 0; round < 6000; round++) {
        Context *cx = context_new();
        memcpy(image, f->image, f->len);
        int flips = 1 + round % 3;
        for (int i = 0; i < flips; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            size_t at = (random >> 33) % f->len;
            if (round % 2)                                     /* half of them among the directory and the end record */
                at = f->len - 1 - at % 500;
            image[at] = (char)(image[at] ^ (1 << (random >> 20 & 7)));
        }
        Package *p = package_open_memory(cx, image, f->len);
        accepted += p != NULL;
        if (!p && !diags_failed(cx->diags))
            fail_msg("round %d: refused without a message", round);
        if (p && memcmp(p->plans[0]->kernels.data[0].code.data[0].bytes, "the code of two kernels", 23) != 0)
            fail_msg("round %d: other code was accepted", round);
        package_close(p);
        context_free(cx);
    }
    free(image);
    assert_true(accepted < 3000);
}

/* ---- forged members: right checksums, wrong content ---- */

typedef struct { const char *name, *text; size_t len; } Member;
typedef struct { char *bytes; size_t n; } Memory;

static bool append(void *to, const void *bytes, size_t n)
{
    Memory *m = to;
    memcpy(m->bytes + m->n, bytes, n);
    m->n += n;
    return true;
}

/* The fixture's package with one member replaced (text NULL: left out), or the directory entry's name reused. */
static Package *forged(Fixture *f, const char *name, const char *text, size_t len, const char *twice)
{
    Context *cx = f->cx;
    Zip *z = zip_open(cx->arena, cx->diags, "original", f->image, f->len);
    Memory m = {arena_alloc(cx->arena, f->len + len + 4096), 0};
    ZipWriter *w = zip_writer_new(cx->arena, append, &m);
    for (uint32_t i = 0; i < z->n; i++) {
        ZipPiece piece = {z->data + z->members[i].offset, z->members[i].size};
        if (strcmp(z->members[i].name, name) == 0)
            piece = (ZipPiece){text, len};
        if (piece.data)
            zip_writer_add(w, z->members[i].name, &piece, 1);
    }
    if (twice)
        zip_writer_add(w, twice, &(ZipPiece){"x", 1}, 1);
    zip_writer_end(w);
    return package_open_memory(cx, m.bytes, m.n);
}

static void refuses(Fixture *f, const char *name, const char *text, const char *part)
{
    expect(f->cx, forged(f, name, text, text ? strlen(text) : 0, NULL), part);
}

static void test_forged(void **state)
{
    Fixture *f = *state;
    refuses(f, "manifest.json", NULL, "member manifest.json is missing");
    refuses(f, "manifest.json", "{", "manifest.json:1:1");
    refuses(f, "manifest.json", "[]", "manifest.json:1:1: expected an object");
    refuses(f, "manifest.json", "{\"plans\": 2}", "format.major is missing");
    refuses(f, "manifest.json", "{\"format\": {\"major\": 2}, \"plans\": 2}", "package format 2, this runtime reads format 1");
    refuses(f, "manifest.json", "{\"format\": {\"major\": 1}, \"plans\": 0}", "plans: expected their number");
    refuses(f, "manifest.json", "{\"format\": {\"major\": 1}, \"plans\": 3}", "member plans/2.json is missing");
    refuses(f, "plans/1.json", "{\"plan\": 1}", "plans/1.json: name: is missing");
    refuses(f, "plans/1.json", "hello", "plans/1.json:1:");
    refuses(f, "code/scale.x86-64.o", NULL, "there is no member \"code/scale.x86-64.o\"");
    refuses(f, "weights.safetensors", NULL, "weights.safetensors has no \"w\"");
    refuses(f, "weights.safetensors", "short", "the header does not fit the file");
    expect(f->cx, forged(f, "none", NULL, 0, "manifest.json"), "member manifest.json is there twice");
    Plan *other = sample_plan(f->cx, (SamplePlan){.workload = "n9", .n = 9, .target = TARGET_CPU, .code = "c", .code_len = 1});
    other->buffers.data[0].name = str_intern(f->cx->strs, "z");
    size_t len;
    Plan *plans[] = {f->plans[0], other};
    void *image = package_image(f->cx->arena, f->cx->diags, plans, 2, NULL, &len);
    expect(f->cx, package_open_memory(f->cx, image, len), "its plans disagree about inputs or outputs");
}

static void test_forged_weights(void **state)
{
    Fixture *f = *state;
    static const struct { const char *header; size_t data; const char *part; } cases[] = {
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", 17, "bytes that belong to no tensor"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", 15, "does not fit its shape and the file"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[1,17]}}", 17, "leaves a hole"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[16,0]}}", 16, "does not fit"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[0,20]}}", 20, "stored with another type"},
        {"{\"w\":{\"dtype\":\"I32\",\"shape\":[4],\"data_offsets\":[0,16]}}", 16, "stored with another type"},
        {"{\"w\":{\"dtype\":\"F99\",\"shape\":[4],\"data_offsets\":[0,16]}}", 16, "unknown element type"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[-4],\"data_offsets\":[0,16]}}", 16, "a dim is no size"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, "a dim is no size"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[4]}}", 16, "no data_offsets"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,16]}}", 16, "no shape"},
        {"{\"w\":5}", 0, "unknown element type"},
        {"[]", 0, "the header is no object"},
        {"{\"v\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},\"w\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[8,24]}}",
         24, "overlaps another"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i].header);
        char *bytes = arena_alloc(f->cx->arena, 8 + n + cases[i].data);
        bytes[0] = (char)n;
        memcpy(bytes + 8, cases[i].header, n);
        expect(f->cx, forged(f, "weights.safetensors", bytes, 8 + n + cases[i].data, NULL), cases[i].part);
    }
}

/* Weights of one name but other content, or of another recipe, are kept apart; equal ones are one. */
static void test_weights_apart(void **state)
{
    Fixture *f = *state;
    Context *cx = f->cx;
    Plan *plans[3];
    for (int i = 0; i < 3; i++)
        plans[i] = sample_plan(cx, (SamplePlan){.workload = i == 0 ? "n1" : i == 1 ? "n2" : "n3", .n = i + 1, .target = TARGET_CPU,
                                                .code = i == 2 ? "b" : "a", .code_len = 1});
    plans[2]->weights.data[0].recipe = str_intern(cx->strs, "%w = concat(%u, %v, axis=0)");
    size_t len;
    void *image = package_image(cx->arena, cx->diags, plans, 3, NULL, &len);
    Package *p = package_open_memory(cx, image, len);
    if (!p)
        fail_msg("%s", diags_text(cx));
    assert_ptr_equal(p->plans[0]->weights.data[0].data->data, p->plans[1]->weights.data[0].data->data);
    assert_ptr_not_equal(p->plans[0]->weights.data[0].data->data, p->plans[2]->weights.data[0].data->data);
    assert_string_equal(p->plans[2]->weights.data[0].key, "w#2");
    assert_string_equal(p->plans[2]->kernels.data[0].code.data[0].member, "code/scale~2.x86-64.o");
    assert_true((uintptr_t)p->plans[2]->weights.data[0].data->data % 64 == 0);
    package_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_read_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_back_maps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_same_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_tools, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_truncation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flips, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forged_weights, setup, teardown),
        cmocka_unit_test_setup_teardown(test_weights_apart, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
