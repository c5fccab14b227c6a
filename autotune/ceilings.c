/* autotune/ceilings.c — machine models with measured ceilings, from the database or measured now. */
#include "autotune/ceilings_internal.h"
#include "runtime/executor.h"
#include <math.h>
#include <stdlib.h>

static void take(double *to, double measured)
{
    if (isfinite(measured) && measured > 0)
        *to = measured;
}

/* A GPU that is here runs, whether or not the table of boards has its architecture: then with the figures of an older one, until
 * ceilings are measured. */
static const char *nearest_known(const TuneDevice *d)
{
    static const char *const older[] = {"sm_100a", "sm_90a", "sm_89", "sm_86", "sm_80"};
    Context *quiet = context_new();
    Machine m;
    const char *arch = d->arch;

    if (!machine_cuda(quiet, arch, &m)) {
        int chip = atoi(arch + 3);
        arch = "sm_80";
        for (size_t i = sizeof older / sizeof *older; i-- > 0; )
            if (atoi(older[i] + 3) <= chip)
                arch = older[i];
    }
    context_free(quiet);
    return arch;
}

static bool built_in(Context *cx, const TuneDevice *d, Machine *out)
{
    if (d->target == TARGET_CPU) {
        *out = machine_cpu(cx);
        if (d->threads != out->units) {            /* PAWL_THREADS: ceilings of as many threads */
            double share = (double)d->threads / out->units;
            out->flops_fma *= share, out->flops_bf16 *= share, out->flops_tf32 *= share;
            out->units = d->threads;
        }
        return true;
    }
    if (!machine_cuda(cx, d->ordinal < 0 ? d->arch : nearest_known(d), out))
        return false;
    out->name = d->name;
    out->arch = d->arch;
    if (d->ordinal < 0)
        return true;
    const CudaDevice *c = cuda_device(d->ordinal);
    const char *why, *path;
    if (c->available) {
        out->units = c->sm_count;
        take(&out->l2_bytes, (double)c->l2_bytes);
        if (c->shared_per_block)
            out->shared_block = (uint32_t)c->shared_per_block;
    }
    out->has_library = cublaslt_available(&why, &path);
    return true;
}

bool machine_of(Context *cx, const TuneDevice *d, Db *db, Machine *out)
{
    DbDevice row;

    if (!built_in(cx, d, out))
        return false;
    if (!db || !db_get_device(db, d->name, out->units, &row))
        return true;
    take(&out->copy_bandwidth, row.copy_bandwidth);
    take(&out->flops_fma, row.flops_fma);
    take(&out->flops_bf16, row.flops_bf16);
    take(&out->flops_tf32, row.flops_tf32);
    take(&out->launch_seconds, row.launch_seconds);
    out->measured = true;
    return true;
}

bool machine_measured(Context *cx, const TuneDevice *d, Db *db, bool again, Machine *out)
{
    if (!machine_of(cx, d, db, out))
        return false;
    if (out->measured && !again)
        return true;
    bool ok = d->target == TARGET_CPU ? ceilings_cpu(cx, d, out) : ceilings_cuda(cx, d, out);
    if (!ok)
        return false;
    out->measured = true;
    if (db)
        db_put_device(db, &(DbDevice){.device = d->name, .units = out->units, .copy_bandwidth = out->copy_bandwidth,
                                      .flops_fma = out->flops_fma, .flops_bf16 = out->flops_bf16,
                                      .flops_tf32 = out->flops_tf32, .launch_seconds = out->launch_seconds});
    return true;
}
