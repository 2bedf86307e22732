/* y = x @ weight^T + bias, for many rows; ../../linear/README.md tells why.
 *
 * Rows of x are laid out once as the registers take them, ROWS at a time. A task is a panel of PANEL rows of the weight: it
 * is laid out in the thread's second cache, meets all rows of x there, and the next one is asked for meanwhile, so that a
 * weight comes from memory once and nobody waits for it. Every sum is one of sums over DEPTH channels, whatever the rows.
 */
#pragma once

#include "product.h"

enum { LINE = 64, SHARED = 6 << 20 }; /* bytes of a line of the cache, and of rows that are laid out at a time */

/* What the threads of one call share: `rows` of x, laid out as (group of ROWS, in, ROWS), from row `first` on. */
struct Grouped {
    const struct Linear *args;
    int64_t first, rows;
    float *x, *panels; /* the panel of thread n begins with n * in * PANEL */
};

static void group_rows(int64_t group, int thread, void *context) {
    const struct Grouped *grouped = context;
    const int64_t in = grouped->args->in, last = grouped->first + grouped->rows - 1;
    float *target = grouped->x + group * ROWS * in;
    (void)thread;
    for (int i = 0; i < ROWS; i++) {
        const int64_t row = grouped->first + group * ROWS + i; /* beyond the last one nobody reads what comes of it */
        const float *x = grouped->args->x + (row < last ? row : last) * in;
        for (int64_t k = 0; k < in; k++) target[k * ROWS + i] = x[k];
    }
}

/* `width` vectors of columns of y, from `column` on. */
__attribute__((always_inline)) static inline void fill_columns(const struct Grouped *grouped, int width, int64_t column,
                                                               const float *panel, const char *next, int64_t ahead) {
    const struct Linear *args = grouped->args;
    for (int64_t row = 0; row < grouped->rows; row += ROWS, next += ahead) {
        float block[ROWS * PANEL];
        for (int64_t line = 0; line < ahead; line += LINE) __builtin_prefetch(next + line, 0, 2);
        const struct Matrix x = {grouped->x + row * args->in, 1, ROWS};
        product_block(ROWS, width, args->in < DEPTH ? args->in : DEPTH, x, panel, block, PANEL, 0);
        for (int64_t k = DEPTH; k < args->in; k += DEPTH) { /* sums of sums: fewer roundings one after the other */
            float more[ROWS * PANEL];
            const struct Matrix deeper = {x.at + k * ROWS, 1, ROWS};
            product_block(ROWS, width, args->in - k < DEPTH ? args->in - k : DEPTH, deeper, panel + k * width * WIDTH, more, PANEL, 0);
            for (int64_t i = 0; i < ROWS * PANEL; i += WIDTH) store(block + i, load(block + i) + load(more + i));
        }
        float *y = args->y + (grouped->first + row) * args->out + column;
        for (int64_t i = 0; i < ROWS && row + i < grouped->rows; i++, y += args->out)
            for (int64_t j = 0; j < width * WIDTH; j += WIDTH)
                store(y + j, load(block + i * PANEL + j) + (args->bias ? load(args->bias + column + j) : (Vector){0}));
    }
}

static void multiply_panel(int64_t task, int thread, void *context) {
    const struct Grouped *grouped = context;
    const struct Linear *args = grouped->args;
    const int64_t column = task * PANEL, size = PANEL * args->in * (int64_t)sizeof(float);
    const int64_t wide = args->out - column < PANEL ? WIDTH : PANEL, next = column + args->threads * PANEL;
    const int64_t groups = (grouped->rows + ROWS - 1) / ROWS;
    const int64_t ahead = next + PANEL <= args->out ? (size / groups + LINE - 1) / LINE * LINE : 0;
    float *panel = grouped->panels + thread * args->in * PANEL;
    pack(transposed(rows_of(args->weight + column * args->in, args->in)), args->in, wide, panel);
    const char *asked = (const char *)(args->weight + (ahead ? next : 0) * args->in);
    if (wide == PANEL) fill_columns(grouped, COLUMNS, column, panel, asked, ahead);
    else fill_columns(grouped, 1, column, panel, asked, ahead);
}

static int linear(const struct Linear *args) {
    const int64_t most = SHARED / (int64_t)sizeof(float) / args->in + 1, parts = (args->rows + most - 1) / most;
    const int64_t share = ((args->rows + parts - 1) / parts + ROWS - 1) / ROWS * ROWS;
    const int64_t panels = (args->out + PANEL - 1) / PANEL;
    struct Grouped grouped = {.args = args};
    grouped.x = workspace((share + args->threads * PANEL) * args->in);
    if (!grouped.x) return 1;
    grouped.panels = grouped.x + share * args->in;
    large_pages(args->y, args->rows * args->out * sizeof(float));
    for (; grouped.first < args->rows; grouped.first += share) {
        grouped.rows = args->rows - grouped.first < share ? args->rows - grouped.first : share;
        parallel((grouped.rows + ROWS - 1) / ROWS, args->threads, group_rows, &grouped);
        parallel(panels, args->threads, multiply_panel, &grouped);
    }
    free(grouped.x);
    return 0;
}
