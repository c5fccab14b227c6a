/* examples/run_package.c — opens a compiled package and runs it, with pawl.h alone: no compiler, no CUDA toolkit.
 *
 *   run_package FILE.pawl [auto|cpu|cuda|cuda:N] [SYMBOL=VALUE ...] [runs=N] [seed=N]
 *
 * Inputs are drawn from the same generator in every program that uses Pawl, so the printed checksums can be compared. A symbol that
 * is not given (B, S in "bf16[B, S, 2048]") gets the smallest extent that the package admits. */
#include "pawl.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_TENSORS = 64 };

typedef struct { int n; char **text; } Settings;             /* the SYMBOL=VALUE arguments */

static void check(pawl_status s)
{
    if (s != PAWL_OK) {
        fprintf(stderr, "run_package: %s\n", pawl_error());
        exit((int)s);
    }
}

static int64_t setting(const Settings *all, const char *name, size_t len, int64_t otherwise)
{
    for (int i = 0; i < all->n; i++)
        if (strncmp(all->text[i], name, len) == 0 && all->text[i][len] == '=')
            return strtoll(all->text[i] + len + 1, NULL, 10);
    return otherwise;
}

static size_t element_bytes(int32_t dtype)
{
    static const size_t bytes[] = {8, 4, 2, 2, 8, 4, 1, 1, 1};
    return bytes[dtype];
}

static size_t tensor_bytes(const pawl_tensor *t)
{
    size_t n = element_bytes(t->dtype);
    for (int32_t k = 0; k < t->rank; k++)
        n *= (size_t)t->shape[k];
    return n;
}

/* Extents from the type's text: a symbol's from the arguments, all else the smallest that is admitted. */
static pawl_tensor tensor_of(const pawl_io *io, const Settings *settings)
{
    pawl_tensor t = {.dtype = io->dtype, .rank = io->rank};
    const char *at = strchr(io->type, '[') + 1;
    for (int32_t k = 0; k < io->rank; k++) {
        size_t len = strcspn(at, ",]");
        t.shape[k] = isalpha((unsigned char)*at) ? setting(settings, at, len, io->min[k]) : io->min[k];
        at += len + strspn(at + len, ", ");
    }
    return t;
}

static void print_tensor(const char *what, const char *name, const pawl_tensor *t, const char *more)
{
    printf("%s %s [", what, name);
    for (int32_t k = 0; k < t->rank; k++)
        printf("%s%" PRId64, k ? ", " : "", t->shape[k]);
    printf("]%s\n", more);
}

static void fill_input(pawl_session *s, pawl_tensor *t, const pawl_io *io, uint64_t seed)
{
    size_t bytes = tensor_bytes(t);
    void *host = calloc(1, bytes ? bytes : 1);
    int64_t count = (int64_t)(bytes / element_bytes(t->dtype));
    check(pawl_fill(host, t->dtype, count, seed, io->name, t->dtype <= PAWL_BF16 ? "normal(0, 1)" : "randint(0, 2)"));
    check(pawl_alloc(s, bytes, &t->data));
    check(pawl_upload(s, t->data, host, bytes, NULL));
    free(host);
}

/* FNV-1a over the output's bytes. */
static uint64_t checksum(pawl_session *s, const pawl_tensor *t)
{
    size_t bytes = tensor_bytes(t);
    unsigned char *host = malloc(bytes ? bytes : 1);
    uint64_t h = 0xcbf29ce484222325u;
    check(pawl_download(s, host, t->data, bytes, NULL));
    for (size_t i = 0; i < bytes; i++)
        h = (h ^ host[i]) * 0x100000001b3u;
    free(host);
    return h;
}

static double seconds(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double time_runs(pawl_session *s, const pawl_tensor *in, int n_in, const pawl_tensor *out, int n_out, int64_t runs)
{
    check(pawl_run(s, in, n_in, out, n_out, NULL));          /* the first call loads code, allocates, captures */
    check(pawl_synchronize(s, NULL));
    double begin = seconds();
    for (int64_t i = 0; i < runs; i++)
        check(pawl_run(s, in, n_in, out, n_out, NULL));
    check(pawl_synchronize(s, NULL));
    return (seconds() - begin) / (double)runs;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE.pawl [auto|cpu|cuda|cuda:N] [SYMBOL=VALUE ...] [runs=N] [seed=N]\n", argv[0]);
        return 2;
    }
    bool named = argc > 2 && !strchr(argv[2], '=');
    Settings settings = {argc - 2 - named, argv + 2 + named};
    pawl_session_options options = {.size = sizeof options, .device = named ? argv[2] : "auto"};
    pawl_package *p;
    pawl_session *s;
    pawl_io io[2 * MAX_TENSORS];
    pawl_tensor in[MAX_TENSORS], out[MAX_TENSORS];

    double begin = seconds();
    check(pawl_open(argv[1], &p));
    check(pawl_session_new(p, &options, &s));
    int n_in = pawl_input_count(p), n_out = pawl_output_count(p);
    if (n_in > MAX_TENSORS || n_out > MAX_TENSORS) {
        fprintf(stderr, "run_package: more than %d tensors\n", MAX_TENSORS);
        return 3;
    }
    printf("opened on %s in %.1f ms\n", pawl_device(s), 1e3 * (seconds() - begin));
    for (int i = 0; i < n_in; i++) {
        check(pawl_input(p, i, &io[i]));
        in[i] = tensor_of(&io[i], &settings);
        fill_input(s, &in[i], &io[i], (uint64_t)setting(&settings, "seed", 4, 0));
        print_tensor("input ", io[i].name, &in[i], "");
    }
    check(pawl_infer(s, in, n_in, out, n_out));
    for (int i = 0; i < n_out; i++)
        check(pawl_alloc(s, tensor_bytes(&out[i]), &out[i].data));
    int64_t runs = setting(&settings, "runs", 4, 20);
    double each = time_runs(s, in, n_in, out, n_out, runs > 0 ? runs : 1);
    for (int i = 0; i < n_out; i++) {
        char more[40];
        check(pawl_output(p, i, &io[n_in + i]));
        snprintf(more, sizeof more, "  checksum %016" PRIx64, checksum(s, &out[i]));
        print_tensor("output", io[n_in + i].name, &out[i], more);
    }
    printf("%.1f us a call\n", 1e6 * each);
    for (int i = 0; i < n_in; i++)
        pawl_free_memory(s, in[i].data);
    for (int i = 0; i < n_out; i++)
        pawl_free_memory(s, out[i].data);
    pawl_session_free(s);
    pawl_close(p);
    return 0;
}
