/* runtime/package.h — `.pawl` files: a zip with stored, 64-byte aligned members, so that weights are mapped, not read.
 *   manifest.json  plans/N.json  code/NAME.ARCH.KIND  weights.safetensors
 * Reading trusts nothing: sizes, offsets, CRCs of the JSON members and the member list are checked. */
#pragma once
#include "base/file.h"
#include "runtime/plan.h"

typedef struct Package {
    Context *cx;
    FileMap map;
    const char *manifest;              /* JSON text */
    Str name;
    Plan **plans; uint32_t n_plans;    /* specialised ones first; first matching guard wins */
    bool owns_map;
    struct Zip *zip;                   /* its members (zip.h) */
} Package;

/* Each of the two needs a Context of its own where plans of other packages give the same symbol another range. */
Package *package_open(Context *cx, const char *path);                         /* NULL: diagnosed */
Package *package_open_memory(Context *cx, const void *image, size_t len);
void     package_close(Package *p);
/* CRC of every member, weights included (opening checks all but those, which may be many gigabytes). false: diagnosed. */
bool     package_check(Package *p, Diags *d);

typedef struct { const char *name; const void *data; size_t len; } PackageMember;
/* Writes the plans (weights with the same name and recipe are stored once), their code and the manifest. Deterministic bytes. */
bool package_write(Diags *d, const char *path, Plan *const *plans, uint32_t n_plans, const char *manifest_json);
/* The same into memory (arena), for compile-and-run in one process. */
void *package_image(Arena *a, Diags *d, Plan *const *plans, uint32_t n_plans, const char *manifest_json, size_t *len);
