/* runtime/zip.h — zip files as packages use them: members stored (others inflated on reading), data 64-byte aligned.
 * Format: PKWARE APPNOTE 6.3.9; zip64 is read and, past 4 GiB, written. */
#pragma once
#include "base/diag.h"
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *name;
    uint16_t method;                   /* 0 stored, 8 deflated */
    uint32_t crc;
    uint64_t packed, size;             /* bytes in the file, bytes unpacked */
    uint64_t offset;                   /* of the packed bytes */
    const void *bytes;                 /* unpacked, once zip_member_bytes has been called */
    bool checked;                      /* CRC compared */
} ZipMember;

typedef struct Zip {
    Arena *arena;
    const char *where;                 /* for messages */
    const uint8_t *data; size_t len;
    ZipMember *members; uint32_t n;
} Zip;

/* Reads the directory; every offset and length is checked. The image is borrowed. NULL: diagnosed. */
Zip *zip_open(Arena *a, Diags *d, const char *where, const void *image, size_t len);
ZipMember *zip_find(const Zip *z, const char *name);             /* NULL when absent */
/* Its bytes: in the image when stored. `check`: compares the CRC, once. NULL: diagnosed. */
const void *zip_member_bytes(Zip *z, ZipMember *m, bool check, Diags *d);

typedef struct { const void *data; size_t len; } ZipPiece;
typedef struct ZipWriter ZipWriter;
/* Bytes go to `write`, in order; deterministic: no times, no owners. A NULL `write` only counts. */
ZipWriter *zip_writer_new(Arena *a, bool (*write)(void *to, const void *bytes, size_t n), void *to);
bool     zip_writer_add(ZipWriter *w, const char *name, const ZipPiece *pieces, uint32_t n);
bool     zip_writer_end(ZipWriter *w);                          /* the directory; false when any write failed */
uint64_t zip_writer_size(const ZipWriter *w);
