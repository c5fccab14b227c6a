/* runtime/zip_write.c — writes zip files: stored members, data aligned to 64 bytes by an extra field (the one of Android's
 * zipalign, 0xd935), zip64 records only where 32 bits do not do. */
#include "base/vec.h"
#include "runtime/zip.h"
#include <string.h>
#include <zlib.h>

enum {
    SIG_LOCAL = 0x04034b50, SIG_CENTRAL = 0x02014b50, SIG_END = 0x06054b50, SIG_END64 = 0x06064b50, SIG_LOCATOR64 = 0x07064b50,
    EXTRA_ZIP64 = 0x0001, EXTRA_ALIGN = 0xd935, ALIGN = 64, DOS_DATE_1980 = 0x21
};

typedef struct { const char *name; uint32_t crc; uint64_t size, local; } Entry;

struct ZipWriter {
    Arena *arena;
    bool (*write)(void *to, const void *bytes, size_t n);
    void *to;
    uint64_t at;
    bool failed;
    Vec(Entry) entries;
};

typedef struct { uint8_t bytes[256]; size_t n; } Record;

static void put16(Record *r, unsigned v)
{
    r->bytes[r->n++] = (uint8_t)v;
    r->bytes[r->n++] = (uint8_t)(v >> 8);
}
static void put32(Record *r, uint64_t v)
{
    put16(r, (unsigned)(v & 0xffff));
    put16(r, (unsigned)(v >> 16 & 0xffff));
}
static void put64(Record *r, uint64_t v)
{
    put32(r, v & 0xffffffff);
    put32(r, v >> 32);
}
static uint64_t low32(uint64_t v) { return v >= UINT32_MAX ? UINT32_MAX : v; }

static void emit(ZipWriter *w, const void *bytes, size_t n)
{
    if (w->write && !w->failed && n)
        w->failed = !w->write(w->to, bytes, n);
    w->at += n;
}

ZipWriter *zip_writer_new(Arena *a, bool (*write)(void *to, const void *bytes, size_t n), void *to)
{
    ZipWriter *w = arena_new_of(a, ZipWriter);
    w->arena = a;
    w->write = write;
    w->to = to;
    return w;
}

uint64_t zip_writer_size(const ZipWriter *w) { return w->at; }

/* Extra fields of the local header: sizes in 64 bits if needed, then zeros up to the alignment. */
static void put_extra(Record *r, uint64_t size, bool big, uint64_t data_at)
{
    if (big) {
        put16(r, EXTRA_ZIP64);
        put16(r, 16);
        put64(r, size);
        put64(r, size);
        data_at += 20;
    }
    size_t pad = (ALIGN - (data_at + 6) % ALIGN) % ALIGN;
    put16(r, EXTRA_ALIGN);
    put16(r, (unsigned)(2 + pad));
    put16(r, ALIGN);
    memset(r->bytes + r->n, 0, pad);
    r->n += pad;
}

bool zip_writer_add(ZipWriter *w, const char *name, const ZipPiece *pieces, uint32_t n)
{
    Entry e = {.name = arena_strdup(w->arena, name), .crc = (uint32_t)crc32_z(0, NULL, 0), .local = w->at};
    for (uint32_t i = 0; i < n; i++) {
        e.size += pieces[i].len;
        if (w->write && pieces[i].len)
            e.crc = (uint32_t)crc32_z(e.crc, pieces[i].data, pieces[i].len);
    }
    bool big = e.size >= UINT32_MAX;
    size_t name_len = strlen(name);
    Record extra = {.n = 0}, head = {.n = 0};
    put_extra(&extra, e.size, big, w->at + 30 + name_len);
    put32(&head, SIG_LOCAL);
    put16(&head, big ? 45 : 20);
    put16(&head, 0x800);               /* names are UTF-8 */
    put16(&head, 0);
    put16(&head, 0);
    put16(&head, DOS_DATE_1980);
    put32(&head, e.crc);
    put32(&head, low32(e.size));
    put32(&head, low32(e.size));
    put16(&head, (unsigned)name_len);
    put16(&head, (unsigned)extra.n);
    emit(w, head.bytes, head.n);
    emit(w, name, name_len);
    emit(w, extra.bytes, extra.n);
    for (uint32_t i = 0; i < n; i++)
        emit(w, pieces[i].data, pieces[i].len);
    vec_push(w->arena, &w->entries, e);
    return !w->failed;
}

static void emit_central(ZipWriter *w, const Entry *e)
{
    Record extra = {.n = 0}, head = {.n = 0};
    bool big = e->size >= UINT32_MAX, far = e->local >= UINT32_MAX;
    if (big || far) {
        put16(&extra, EXTRA_ZIP64);
        put16(&extra, (big ? 16u : 0u) + (far ? 8u : 0u));
        if (big) {
            put64(&extra, e->size);
            put64(&extra, e->size);
        }
        if (far)
            put64(&extra, e->local);
    }
    put32(&head, SIG_CENTRAL);
    put16(&head, 3 << 8 | 45);
    put16(&head, big || far ? 45 : 20);
    put16(&head, 0x800);
    put16(&head, 0);
    put16(&head, 0);
    put16(&head, DOS_DATE_1980);
    put32(&head, e->crc);
    put32(&head, low32(e->size));
    put32(&head, low32(e->size));
    put16(&head, (unsigned)strlen(e->name));
    put16(&head, (unsigned)extra.n);
    put16(&head, 0);
    put16(&head, 0);
    put16(&head, 0);
    put32(&head, 0100644u << 16);
    put32(&head, low32(e->local));
    emit(w, head.bytes, head.n);
    emit(w, e->name, strlen(e->name));
    emit(w, extra.bytes, extra.n);
}

static void emit_end64(ZipWriter *w, uint64_t start, uint64_t size)
{
    Record r = {.n = 0};
    uint64_t at = w->at;
    put32(&r, SIG_END64);
    put64(&r, 44);
    put16(&r, 3 << 8 | 45);
    put16(&r, 45);
    put32(&r, 0);
    put32(&r, 0);
    put64(&r, w->entries.n);
    put64(&r, w->entries.n);
    put64(&r, size);
    put64(&r, start);
    put32(&r, SIG_LOCATOR64);
    put32(&r, 0);
    put64(&r, at);
    put32(&r, 1);
    emit(w, r.bytes, r.n);
}

bool zip_writer_end(ZipWriter *w)
{
    uint64_t start = w->at;
    for (uint32_t i = 0; i < w->entries.n; i++)
        emit_central(w, &w->entries.data[i]);
    uint64_t size = w->at - start;
    unsigned count = w->entries.n >= UINT16_MAX ? UINT16_MAX : w->entries.n;
    if (start >= UINT32_MAX || size >= UINT32_MAX || count == UINT16_MAX)
        emit_end64(w, start, size);
    Record r = {.n = 0};
    put32(&r, SIG_END);
    put16(&r, 0);
    put16(&r, 0);
    put16(&r, count);
    put16(&r, count);
    put32(&r, low32(size));
    put32(&r, low32(start));
    put16(&r, 0);
    emit(w, r.bytes, r.n);
    return !w->failed;
}
