/* The nearest matrix whose singular values are about one; ../../newton_schulz/README.md derives it.
 *
 * All that happens to x (n, m) in an iteration is a polynomial of its gram matrix from the left. Polynomials of one
 * symmetric matrix are symmetric and commute, so the iterations stay with n x n matrices, of which half is computed, and
 * x is multiplied once.
 */
#pragma once

#include "product.h"

/* The lower half from the upper one, in tiles that stay in the cache. */
static void mirror(float *x, int64_t n) {
    const int64_t tile = 16;
    for (int64_t top = 0; top < n; top += tile)
        for (int64_t left = top; left < n; left += tile)
            for (int64_t i = top; i < top + tile && i < n; i++)
                for (int64_t j = left > i ? left : i + 1; j < left + tile && j < n; j++) x[j * n + i] = x[i * n + j];
}

/* y = a @ b of symmetric matrices that commute. */
static void commuting(int64_t n, const float *a, const float *b, float *y) {
    product(n, n, n, rows_of(a, n), rows_of(b, n), y, n, 0, 1);
    mirror(y, n);
}

/* q = (first + second * a + third * a @ a), of symmetric a */
static void polynomial(int64_t n, const float *coefficients, const float *a, float *q) {
    commuting(n, a, a, q);
    for (int64_t i = 0; i < n * n; i += WIDTH)
        store(q + i, coefficients[2] * load(q + i) + coefficients[1] * load(a + i));
    for (int64_t i = 0; i < n; i++) q[i * (n + 1)] += coefficients[0];
}

static int newton_schulz(const struct NewtonSchulz *args) {
    const int tall = args->rows > args->columns;
    const int64_t n = tall ? args->columns : args->rows, m = tall ? args->rows : args->columns;
    const struct Matrix given = rows_of(args->x, args->columns), x = tall ? transposed(given) : given; /* (n, m) */
    float *memory = workspace(4 * n * n);
    if (!memory) return 1;
    float *gram = memory, *q = gram + n * n, *p = q + n * n, *spare = p + n * n;
    product(n, m, n, x, transposed(x), gram, n, 0, 1);
    mirror(gram, n);
    float norm = 0;
    for (int64_t i = 0; i < n; i++) norm += gram[i * (n + 1)];
    norm = __builtin_sqrtf(norm);
    if (!(norm > 1e-7f)) norm = norm <= 1e-7f ? 1e-7f : norm; /* what is no number stays none */
    const float scale = 1.0f / norm;
    for (int64_t i = 0; i < n * n; i += WIDTH) store(gram + i, load(gram + i) * scale * scale);
    for (int iteration = 0; iteration < args->iterations; iteration++) {
        polynomial(n, args->coefficients, gram, iteration ? q : p);
        if (iteration) {
            commuting(n, q, p, spare);
            float *done = spare;
            spare = p, p = done;
        }
        const float *step = iteration ? q : p;
        if (iteration + 1 == args->iterations) break;
        commuting(n, step, gram, spare);
        commuting(n, step, spare, gram);
    }
    for (int64_t i = 0; i < n * n; i += WIDTH) store(p + i, load(p + i) * scale);
    if (tall) product(m, n, n, given, rows_of(p, n), args->y, n, 0, 0);
    else product(n, n, m, rows_of(p, n), given, args->y, m, 0, 0);
    give_back(memory);
    return 0;
}
