/* runtime/package_write.c — writes packages. Order of members and every byte follow from the plans alone. */
#include "base/map.h"
#include "runtime/package.h"
#include "runtime/plan_internal.h"
#include "runtime/safetensors.h"
#include "runtime/zip.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct { const char *name; const void *bytes; size_t len; } CodeMember;

typedef struct {
    Arena *a;
    Diags *d;
    Vec(CodeMember) code;
    Vec(StoredTensor) weights;         /* distinct ones, under their keys */
    Vec(const PlanWeight *) weight_of; /* parallel: whose they are */
    Map *by_bytes, *by_name;           /* code: content -> number + 1, name -> number + 1 */
    Map *by_weight;                    /* weights: hash of name and recipe -> number + 1 */
    char **plans; uint32_t n_plans;
    char *manifest;
} Contents;

/* ---- code: modules that several kernels or plans share are stored once ---- */

static const char *clean_name(Arena *a, const char *s)
{
    char *copy = arena_strdup(a, s && *s ? s : "kernel");
    for (char *c = copy; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.$", *c))
            *c = '_';
    return copy;
}

static void add_code(Contents *x, const PlanKernel *k, PlanCode *c)
{
    uint64_t content = hash_bytes(c->bytes, c->len, (uint64_t)c->kind + hash_str(c->arch));
    uint64_t same = map_get(x->by_bytes, content, 0);
    if (same && x->code.data[same - 1].len == c->len && memcmp(x->code.data[same - 1].bytes, c->bytes, c->len) == 0) {
        c->member = x->code.data[same - 1].name;
        return;
    }
    const char *stem = clean_name(x->a, k->name), *arch = clean_name(x->a, c->arch), *name = NULL;
    for (unsigned n = 1; !name || map_has(x->by_name, hash_str(name)); n++)
        name = n == 1 ? arena_printf(x->a, "code/%s.%s.%s", stem, arch, code_kind_name(c->kind))
                      : arena_printf(x->a, "code/%s~%u.%s.%s", stem, n, arch, code_kind_name(c->kind));
    vec_push(x->a, &x->code, ((CodeMember){name, c->bytes, c->len}));
    map_set(x->by_bytes, content, x->code.n);
    map_set(x->by_name, hash_str(name), x->code.n);
    c->member = name;
}

/* ---- weights ---- */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool add_weight(Contents *x, PlanWeight *w)
{
    if (!w->data)
        return diag_error(x->d, PAWL_EXIT_INTERNAL, LOC_NONE, NULL, "weight %s has no data to write", w->name);
    uint64_t key = hash_mix(hash_str(w->name), w->recipe ? hash_str(w->recipe) : 0);
    StoredTensor t = {.dtype = w->data->dtype, .rank = (uint32_t)w->data->rank, .data = w->data->data, .bytes = tensor_bytes(w->data)};
    memcpy(t.dims, w->data->dims, sizeof t.dims);
    uint64_t same = map_get(x->by_weight, key, 0);
    const StoredTensor *s = same ? &x->weights.data[same - 1] : NULL;
    if (s && same_text(x->weight_of.data[same - 1]->name, w->name) && same_text(x->weight_of.data[same - 1]->recipe, w->recipe) &&
        s->dtype == t.dtype && s->bytes == t.bytes && memcmp(s->dims, t.dims, sizeof t.dims) == 0 &&
        (s->data == t.data || memcmp(s->data, t.data, t.bytes) == 0)) {
        w->key = s->name;
        return true;
    }
    const char *name = w->name;
    for (unsigned n = 2; ; n++) {
        bool taken = false;
        for (uint32_t i = 0; i < x->weights.n; i++)
            taken |= strcmp(x->weights.data[i].name, name) == 0;
        if (!taken)
            break;
        name = arena_printf(x->a, "%s#%u", w->name, n);
    }
    w->key = t.name = name;
    vec_push(x->a, &x->weights, t);
    vec_push(x->a, &x->weight_of, w);
    map_set(x->by_weight, key, x->weights.n);
    return true;
}

/* ---- manifest: the caller's object, with what the reader relies on ---- */

static bool make_manifest(Contents *x, const char *given, const Plan *first)
{
    json_error_t error;
    json_t *o = given ? json_loads(given, JSON_REJECT_DUPLICATES, &error) : json_object();
    if (!json_is_object(o)) {
        json_decref(o);
        return diag_error(x->d, PAWL_EXIT_INTERNAL, LOC_NONE, NULL, "the manifest is no JSON object: %s", o ? "" : error.text);
    }
    json_t *all = json_object();
    json_object_set_new(all, "format", json_pack("{s:i,s:i}", "major", 1, "minor", 0));
    json_object_set_new(all, "plans", json_integer(x->n_plans));
    if (!json_object_get(o, "name"))
        json_object_set_new(all, "name", json_string(first->name ? first->name : "package"));
    json_object_update_missing(all, o);
    char *dump = json_dumps(all, JSON_INDENT(1) | JSON_ENSURE_ASCII);
    x->manifest = arena_strdup(x->a, dump ? dump : "{}");
    free(dump);
    json_decref(all);
    json_decref(o);
    return true;
}

static bool gather(Contents *x, Plan *const *plans, uint32_t n, const char *manifest)
{
    x->by_bytes = map_new(x->a);
    x->by_name = map_new(x->a);
    x->by_weight = map_new(x->a);
    x->plans = arena_new_array(x->a, char *, n + 1);
    x->n_plans = n;
    if (n == 0)
        return diag_error(x->d, PAWL_EXIT_INTERNAL, LOC_NONE, NULL, "a package needs at least one plan");
    for (uint32_t i = 0; i < n; i++) {
        vec_foreach(PlanKernel, k, &plans[i]->kernels)
            vec_foreach(PlanCode, c, &k->code)
                add_code(x, k, c);
        vec_foreach(PlanWeight, w, &plans[i]->weights)
            if (!add_weight(x, w))
                return false;
        x->plans[i] = plan_to_json(plans[i], x->a);
    }
    return make_manifest(x, manifest, plans[0]);
}

static bool write_weights(Contents *x, ZipWriter *w)
{
    static const char zeros[64];
    uint32_t n = x->weights.n, k = 0;
    if (!n)
        return true;
    size_t *pads = arena_new_array(x->a, size_t, n), header_len;
    ZipPiece *pieces = arena_new_array(x->a, ZipPiece, 2 * n + 1);
    char *header = safetensors_header(x->a, x->weights.data, n, &header_len, pads);
    pieces[k++] = (ZipPiece){header, header_len};
    for (uint32_t i = 0; i < n; i++) {
        pieces[k++] = (ZipPiece){x->weights.data[i].data, x->weights.data[i].bytes};
        pieces[k++] = (ZipPiece){zeros, pads[i]};
    }
    return zip_writer_add(w, "weights.safetensors", pieces, k);
}

static bool write_all(Contents *x, ZipWriter *w)
{
    bool good = zip_writer_add(w, "manifest.json", &(ZipPiece){x->manifest, strlen(x->manifest)}, 1);
    for (uint32_t i = 0; good && i < x->n_plans; i++)
        good = zip_writer_add(w, arena_printf(x->a, "plans/%u.json", i), &(ZipPiece){x->plans[i], strlen(x->plans[i])}, 1);
    for (uint32_t i = 0; good && i < x->code.n; i++)
        good = zip_writer_add(w, x->code.data[i].name, &(ZipPiece){x->code.data[i].bytes, x->code.data[i].len}, 1);
    return good && write_weights(x, w) && zip_writer_end(w);
}

/* Members' names and keys end in this arena with the package's other scratch: the plans must not keep them. */
static void forget_names(Plan *const *plans, uint32_t n, const void *const *kept)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < n; i++) {
        vec_foreach(PlanKernel, kernel, &plans[i]->kernels)
            vec_foreach(PlanCode, c, &kernel->code)
                c->member = kept[k++];
        vec_foreach(PlanWeight, w, &plans[i]->weights)
            w->key = kept[k++];
    }
}

static const void **remember_names(Arena *a, Plan *const *plans, uint32_t n)
{
    uint32_t count = 0, k = 0;
    for (uint32_t i = 0; i < n; i++) {
        vec_foreach(PlanKernel, kernel, &plans[i]->kernels)
            count += kernel->code.n;
        count += plans[i]->weights.n;
    }
    const void **kept = arena_new_array(a, const void *, count + 1);
    for (uint32_t i = 0; i < n; i++) {
        vec_foreach(PlanKernel, kernel, &plans[i]->kernels)
            vec_foreach(PlanCode, c, &kernel->code)
                kept[k++] = c->member;
        vec_foreach(PlanWeight, w, &plans[i]->weights)
            kept[k++] = w->key;
    }
    return kept;
}

/* ---- into memory, into a file ---- */

typedef struct { char *bytes; size_t n; } Memory;
static bool write_memory(void *to, const void *bytes, size_t n)
{
    Memory *m = to;
    memcpy(m->bytes + m->n, bytes, n);
    m->n += n;
    return true;
}

void *package_image(Arena *a, Diags *d, Plan *const *plans, uint32_t n_plans, const char *manifest_json, size_t *len)
{
    Contents x = {.a = arena_new(), .d = d};
    const void **kept = remember_names(x.a, plans, n_plans);
    char *image = NULL;
    if (gather(&x, plans, n_plans, manifest_json)) {
        ZipWriter *count = zip_writer_new(x.a, NULL, NULL);
        write_all(&x, count);
        char *room = arena_alloc(a, zip_writer_size(count) + 64);
        Memory m = {room + (64 - (uintptr_t)room % 64) % 64, 0};
        write_all(&x, zip_writer_new(x.a, write_memory, &m));
        image = m.bytes;
        *len = m.n;
    }
    forget_names(plans, n_plans, kept);
    arena_free(x.a);
    return image;
}

typedef struct { int fd, error; } Target;
static bool write_file(void *to, const void *bytes, size_t n)
{
    Target *t = to;
    for (const char *p = bytes; n; ) {
        ssize_t k = write(t->fd, p, n < (1u << 30) ? n : 1u << 30);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0) {
            t->error = k < 0 ? errno : EIO;
            return false;
        }
        p += k;
        n -= (size_t)k;
    }
    return true;
}

static bool write_error(Diags *d, const char *path, int error)
{
    const char *hint = error == ENOSPC ? "the disk is full: free some space or choose another place"
                     : error == EROFS || error == EACCES ? "choose a place where you may write" : NULL;
    return diag_error(d, PAWL_EXIT_IO, LOC_NONE, hint, "cannot write %s: %s", path, strerror(error));
}

/* Devices and pipes are written to, not replaced. */
static bool stream_to_special(Contents *x, const char *path)
{
    Target t = {open(path, O_WRONLY | O_CLOEXEC), 0};
    if (t.fd < 0)
        return write_error(x->d, path, errno);
    bool good = write_all(x, zip_writer_new(x->a, write_file, &t));
    if (close(t.fd) < 0 && good) {
        good = false;
        t.error = errno;
    }
    return good || write_error(x->d, path, t.error);
}

/* Weights may be many gigabytes: streamed into a temporary beside the target, renamed over it when complete. */
static bool stream_to_file(Contents *x, const char *path)
{
    struct stat st;
    char resolved[PATH_MAX];
    bool exists = stat(path, &st) == 0;
    if (exists && S_ISDIR(st.st_mode))
        return write_error(x->d, path, EISDIR);
    if (exists && !S_ISREG(st.st_mode))
        return stream_to_special(x, path);
    const char *target = exists && realpath(path, resolved) ? resolved : path;     /* symbolic links stay */
    char *temporary = arena_printf(x->a, "%s.tmp-%d", target, (int)getpid());
    Target t = {open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), 0};
    if (t.fd < 0)
        return write_error(x->d, path, errno);
    bool good = write_all(x, zip_writer_new(x->a, write_file, &t));
    t.error = good ? 0 : t.error;
    if (close(t.fd) < 0 && good) {
        good = false;
        t.error = errno;
    }
    if (good && rename(temporary, target) < 0) {
        good = false;
        t.error = errno;
    }
    if (!good) {
        unlink(temporary);
        return write_error(x->d, path, t.error);
    }
    return true;
}

bool package_write(Diags *d, const char *path, Plan *const *plans, uint32_t n_plans, const char *manifest_json)
{
    Contents x = {.a = arena_new(), .d = d};
    const void **kept = remember_names(x.a, plans, n_plans);
    bool good = gather(&x, plans, n_plans, manifest_json) && stream_to_file(&x, path);
    forget_names(plans, n_plans, kept);
    arena_free(x.a);
    return good;
}
