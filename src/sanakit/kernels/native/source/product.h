/* Small matrix products, for what lies between the large ones. */
#pragma once

#include "vector.h"

#ifdef DOTS
#include <immintrin.h>
#endif

enum { DEPTH = 256, PANEL = COLUMNS * WIDTH }; /* a panel is DEPTH x PANEL and then stays in the nearest cache */
enum { WIDEST = COLUMNS < 3 ? 3 : COLUMNS };    /* vectors of any block */
enum { LINE = 64 };                              /* bytes of a line of the cache */

/* A matrix: element (i, j) is at[i * row + j * column]. */
struct Matrix {
    const float *at;
    int64_t row, column;
};

static inline struct Matrix rows_of(const float *at, int64_t row) { return (struct Matrix){at, row, 1}; }
static inline struct Matrix transposed(struct Matrix m) { return (struct Matrix){m.at, m.column, m.row}; }

enum { ADDED = 1, OF_PAIRS = 2 }; /* to what y is; of floats that are pairs of halves, whose products are both added */

static inline Vector multiplied(Vector total, Vector x, Vector b, int how) {
#ifdef DOTS
    if (how & OF_PAIRS) return (Vector)_mm512_dpbf16_ps((__m512)total, (__m512bh)x, (__m512bh)b);
#endif
    (void)how;
    return total + x * b;
}

/* `height` x `width` vectors of y, from a panel of depth x (width * WIDTH); the numbers are known to the compiler. */
__attribute__((always_inline)) static inline void product_block(int height, int width, int64_t depth, struct Matrix a,
                                                                const float *panel, float *y, int64_t row, int how) {
    Vector total[ROWS][WIDEST];
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++) total[i][j] = how & ADDED ? load(y + i * row + j * WIDTH) : (Vector){0};
    for (int64_t k = 0; k < depth; k++) {
        Vector b[WIDEST];
#pragma GCC unroll 16
        for (int j = 0; j < width; j++) b[j] = load(panel + (k * width + j) * WIDTH);
#pragma GCC unroll 16
        for (int i = 0; i < height; i++) {
            const Vector x = all(a.at[i * a.row + k * a.column]);
#pragma GCC unroll 16
            for (int j = 0; j < width; j++) total[i][j] = multiplied(total[i][j], x, b[j], how);
        }
    }
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++) store(y + i * row + j * WIDTH, total[i][j]);
}

/* All rows of a panel's columns. */
__attribute__((always_inline)) static inline void product_panel(int width, int64_t rows, int64_t depth, struct Matrix a,
                                                                const float *panel, float *y, int64_t row, int how) {
    int64_t i = 0;
    for (; i + ROWS <= rows; i += ROWS, a.at += ROWS * a.row, y += ROWS * row)
        product_block(ROWS, width, depth, a, panel, y, row, how);
    if (rows - i >= 4) {
        product_block(4, width, depth, a, panel, y, row, how);
        i += 4, a.at += 4 * a.row, y += 4 * row;
    }
    if (rows - i >= 2) {
        product_block(2, width, depth, a, panel, y, row, how);
        i += 2, a.at += 2 * a.row, y += 2 * row;
    }
    for (; i < rows; i++, a.at += a.row, y += row) product_block(1, width, depth, a, panel, y, row, how);
}

/* Columns of b, `columns` of them, as a panel reads them: (depth, columns). */
static void pack(struct Matrix b, int64_t depth, int64_t columns, float *panel) {
    if (b.column == 1) {
        for (int64_t k = 0; k < depth; k++)
            for (int64_t j = 0; j < columns; j += WIDTH) store(panel + k * columns + j, load(b.at + k * b.row + j));
        return;
    }
    const int64_t squares = b.row == 1 ? depth / WIDTH * WIDTH : 0;
    for (int64_t k = 0; k < squares; k += WIDTH)
        for (int64_t j = 0; j < columns; j += WIDTH) {
            Vector square[WIDTH];
            for (int i = 0; i < WIDTH; i++) square[i] = load(b.at + k + (j + i) * b.column);
            transpose(square);
            for (int i = 0; i < WIDTH; i++) store(panel + (k + i) * columns + j, square[i]);
        }
    for (int64_t j = 0; j < columns; j++)
        for (int64_t k = squares; k < depth; k++) panel[k * columns + j] = b.at[k * b.row + j * b.column];
}

/* y (rows, columns) = a (rows, depth) @ b (depth, columns), or added to it; columns are a multiple of WIDTH. With `upper` no
 * more is computed than what lies on or above the diagonal. Sums run along the depth, whatever the other sizes are. */
static void product(int64_t rows, int64_t depth, int64_t columns, struct Matrix a, struct Matrix b, float *y, int64_t row,
                    int add, int upper) {
    float panel[DEPTH * COLUMNS * WIDTH];
    for (int64_t k = 0; k < depth; k += DEPTH) {
        const int64_t deep = depth - k < DEPTH ? depth - k : DEPTH;
        const struct Matrix left = {a.at + k * a.column, a.row, a.column};
        for (int64_t j = 0; j < columns;) {
            const int64_t wide = columns - j < COLUMNS * WIDTH ? WIDTH : COLUMNS * WIDTH;
            const int64_t high = upper && j + wide < rows ? j + wide : rows;
            pack((struct Matrix){b.at + k * b.row + j * b.column, b.row, b.column}, deep, wide, panel);
            if (wide == WIDTH) product_panel(1, high, deep, left, panel, y + j, row, add || k ? ADDED : 0);
            else product_panel(COLUMNS, high, deep, left, panel, y + j, row, add || k ? ADDED : 0);
            j += wide;
        }
    }
}
