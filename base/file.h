/* base/file.h — files: read whole, map, write atomically; directories and dynamic libraries. */
#pragma once
#include "base/diag.h"
#include <stddef.h>

typedef struct { const void *data; size_t len; } FileMap;
bool  file_map(Diags *d, const char *path, FileMap *out);            /* read-only mapping; false: diagnosed */
void  file_unmap(FileMap *m);
char *file_read(Arena *a, Diags *d, const char *path, size_t *len);  /* NUL-terminated */
bool  file_write(Diags *d, const char *path, const void *data, size_t len);   /* temporary + rename; disk full and read-only are diagnosed */
typedef struct { const void *data; size_t len; } FilePart;
bool  file_write_parts(Diags *d, const char *path, const FilePart *parts, size_t n);          /* the same, from pieces */
bool  file_exists(const char *path);
bool  dir_make(Diags *d, const char *path);                          /* with parents */
const char *cache_dir(Arena *a);                                     /* $PAWL_CACHE_DIR, $XDG_CACHE_HOME/pawl, ~/.cache/pawl */
const char *program_dir(Arena *a);                                   /* folder of the running executable */
double clock_seconds(void);                                          /* monotonic */
