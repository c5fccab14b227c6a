/* base/npy.h — .npy files (versions 1–3, C and Fortran order, little-endian). bf16 is written as '<V2' with a note in the
 * header's descr ("bfloat16" as ml_dtypes does) and read from either; others by their NumPy names. */
#pragma once
#include "base/diag.h"
#include "base/dtype.h"

Tensor *npy_read(Arena *a, Diags *d, const char *path);              /* NULL: diagnosed (PAWL_EXIT_INVALID or _IO) */
bool    npy_write(Diags *d, const char *path, const Tensor *t);      /* atomically, through a temporary file */
