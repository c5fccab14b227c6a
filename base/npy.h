/* base/npy.h — .npy files (versions 1–3, C and Fortran order, little-endian). bf16 has no name in NumPy: it is written as
 * '<V2', which is what np.save makes of an ml_dtypes array, and read from that, '|V2' or 'bfloat16'. */
#pragma once
#include "base/diag.h"
#include "base/dtype.h"

Tensor *npy_read(Arena *a, Diags *d, const char *path);              /* NULL: diagnosed (PAWL_EXIT_INVALID or _IO) */
bool    npy_write(Diags *d, const char *path, const Tensor *t);      /* atomically, through a temporary file */
