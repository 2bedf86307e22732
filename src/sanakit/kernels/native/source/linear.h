/* y = x @ weight^T + bias, for many rows; ../../linear/README.md tells why.
 *
 * Rows of x are laid out once as the registers take them, HIGH at a time. A task is a panel of BAND rows of the weight: it
 * is laid out in the thread's second cache, meets all rows of x there, and the next one is asked for meanwhile, so that a
 * weight comes from memory once and nobody waits for it. Every sum of floats is one of sums over DEPTH of them, whatever
 * the rows. A word is a float or a pair of halves, which keep their place beside each other.
 */
#pragma once

#include "product.h"

enum { SHARED = 6 << 20 }; /* bytes of rows that are laid out at a time */

/* The block: with 32 registers of 16 floats one that is nearer to a square reads less for each product. */
#if WIDTH == 16
enum { HIGH = 8, WIDE = 3 };
#else
enum { HIGH = ROWS, WIDE = COLUMNS };
#endif
enum { BAND = WIDE * WIDTH, WORDS = sizeof(Number) < sizeof(float) ? OF_PAIRS : 0 }; /* columns of a panel; what is in it */

/* What the threads of one call share: `rows` of x, laid out as (group of HIGH, words, HIGH), from row `first` on. */
struct Grouped {
    const struct Linear *args;
    int64_t words, first, rows; /* words of a row */
    float *x, *panels;          /* the panel of thread n begins with n * words * BAND */
};

static inline const float *words_of(const Number *row) { return (const float *)row; }

static void group_rows(int64_t group, int thread, void *context) {
    const struct Grouped *grouped = context;
    const int64_t words = grouped->words, last = grouped->first + grouped->rows - 1;
    float *target = grouped->x + group * HIGH * words;
    (void)thread;
    for (int i = 0; i < HIGH; i++) {
        const int64_t row = grouped->first + group * HIGH + i; /* beyond the last one nobody reads what comes of it */
        const float *x = words_of(grouped->args->x + (row < last ? row : last) * grouped->args->in);
        for (int64_t k = 0; k < words; k++) target[k * HIGH + i] = x[k];
    }
}

/* `width` vectors of columns of y, from `column` on. */
__attribute__((always_inline)) static inline void fill_columns(const struct Grouped *grouped, int width, int64_t column,
                                                               const float *panel, const char *next, int64_t ahead) {
    const struct Linear *args = grouped->args;
    const int64_t words = grouped->words;
    for (int64_t row = 0; row < grouped->rows; row += HIGH, next += ahead) {
        float block[HIGH * BAND];
        for (int64_t line = 0; line < ahead; line += LINE) __builtin_prefetch(next + line, 0, 2);
        const struct Matrix x = {grouped->x + row * words, 1, HIGH};
        product_block(HIGH, width, WORDS || words < DEPTH ? words : DEPTH, x, panel, block, BAND, WORDS);
        for (int64_t k = DEPTH; !WORDS && k < words; k += DEPTH) { /* sums of sums: fewer roundings in a row */
            float more[HIGH * BAND];
            const struct Matrix deeper = {x.at + k * HIGH, 1, HIGH};
            product_block(HIGH, width, words - k < DEPTH ? words - k : DEPTH, deeper, panel + k * width * WIDTH, more, BAND, WORDS);
            for (int64_t i = 0; i < HIGH * BAND; i += WIDTH) store(block + i, load(block + i) + load(more + i));
        }
        Number *y = args->y + (grouped->first + row) * args->out + column;
        for (int64_t i = 0; i < HIGH && row + i < grouped->rows; i++, y += args->out)
            for (int64_t j = 0; j < width * WIDTH; j += WIDTH)
                write(y + j, load(block + i * BAND + j) + (args->bias ? read(args->bias + column + j) : (Vector){0}));
    }
}

static void multiply_panel(int64_t task, int thread, void *context) {
    const struct Grouped *grouped = context;
    const struct Linear *args = grouped->args;
    const int64_t column = task * BAND, size = BAND * args->in * (int64_t)sizeof(Number), words = grouped->words;
    const int64_t wide = args->out - column < BAND ? args->out - column : BAND, next = column + args->threads * BAND;
    const int64_t groups = (grouped->rows + HIGH - 1) / HIGH;
    const int64_t ahead = next + BAND <= args->out ? (size / groups + LINE - 1) / LINE * LINE : 0;
    float *panel = grouped->panels + thread * words * BAND;
    pack(transposed(rows_of(words_of(args->weight + column * args->in), words)), words, wide, panel);
    const char *asked = (const char *)(args->weight + (ahead ? next : 0) * args->in);
    if (wide == BAND) fill_columns(grouped, WIDE, column, panel, asked, ahead);
    else if (wide == 2 * WIDTH) fill_columns(grouped, 2, column, panel, asked, ahead);
    else fill_columns(grouped, 1, column, panel, asked, ahead);
}

#ifndef HALVES
/* The other way around for few rows: they are laid out as panels, and numbers of the weight meet them as they lie. So it is
 * not the weight that is laid out, which would cost as much as a product with ten rows; sums are the same. */
enum { NEAR = 1 << 16 };                 /* numbers of x, which stay in the second cache */
enum { TALL = WIDTH == 16 ? 8 : 4 };     /* rows of the weight in registers, of 16 in a task */
enum { TASK = 16, BROAD = 3 * WIDTH };   /* rows of the weight; of x in a panel */

/* `width` vectors of rows of x, from `first` on, with those of the weight from `column` on. */
__attribute__((always_inline)) static inline void fill_rows(const struct Linear *args, int width, int64_t first,
                                                            const float *panel, int64_t column) {
    float block[TASK * BROAD];
    const int64_t row = width * WIDTH;
    for (int i = 0; i < TASK; i += TALL)
        for (int64_t k = 0; k < args->in; k += DEPTH) {
            const int64_t deep = args->in - k < DEPTH ? args->in - k : DEPTH;
            const struct Matrix weight = rows_of(args->weight + (column + i) * args->in + k, args->in);
            float more[TALL * BROAD], *to = k ? more : block + i * row;
            product_block(TALL, width, deep, weight, panel + k * row, to, row, 0);
            for (int64_t j = 0; k && j < TALL * row; j += WIDTH)
                store(block + i * row + j, load(block + i * row + j) + load(more + j));
        }
    for (int j = 0; j < TASK; j += WIDTH) {
        const Vector bias = args->bias ? load(args->bias + column + j) : (Vector){0};
        for (int64_t n = 0; n < row; n += WIDTH) {
            Vector square[WIDTH];
            for (int i = 0; i < WIDTH; i++) square[i] = load(block + (j + i) * row + n);
            transpose(square);
            for (int i = 0; i < WIDTH; i++) store(args->y + (first + n + i) * args->out + column + j, square[i] + bias);
        }
    }
}

static void multiply_rows(int64_t task, int thread, void *context) {
    const struct Grouped *grouped = context;
    const struct Linear *args = grouped->args;
    const int64_t column = task * TASK, size = TASK * args->in * (int64_t)sizeof(float);
    const char *next = (const char *)(args->weight + (column + TASK * args->threads) * args->in);
    (void)thread;
    for (int64_t line = 0; column + TASK * (args->threads + 1) <= args->out && line < size; line += LINE)
        __builtin_prefetch(next + line, 0, 2);
    for (int64_t row = 0; row < args->rows; row += BROAD) {
        const float *panel = grouped->x + row * args->in;
        const int64_t wide = args->rows - row;
        if (wide >= BROAD) fill_rows(args, 3, row, panel, column);
        else if (wide == 2 * WIDTH) fill_rows(args, 2, row, panel, column);
        else fill_rows(args, 1, row, panel, column);
    }
}

static int linear_of_few(const struct Linear *args) {
    struct Grouped grouped = {.args = args, .x = workspace(args->rows * args->in)};
    if (!grouped.x) return 1;
    for (int64_t row = 0; row < args->rows; row += BROAD) {
        const int64_t wide = args->rows - row < BROAD ? args->rows - row : BROAD;
        pack(transposed(rows_of(args->x + row * args->in, args->in)), args->in, wide, grouped.x + row * args->in);
    }
    parallel(args->out / TASK, args->threads, multiply_rows, &grouped);
    give_back(grouped.x);
    return 0;
}
#endif

static int linear(const struct Linear *args) {
#ifndef HALVES
    if (args->rows % WIDTH == 0 && args->rows * args->in <= NEAR) return linear_of_few(args);
#endif
    const int64_t words = args->in * (int64_t)sizeof(Number) / (int64_t)sizeof(float);
    const int64_t most = SHARED / (int64_t)sizeof(float) / words + 1, parts = (args->rows + most - 1) / most;
    const int64_t share = ((args->rows + parts - 1) / parts + HIGH - 1) / HIGH * HIGH;
    const int64_t panels = (args->out + BAND - 1) / BAND;
    struct Grouped grouped = {.args = args, .words = words};
    grouped.x = workspace((share + args->threads * BAND) * words);
    if (!grouped.x) return 1;
    grouped.panels = grouped.x + share * words;
    large_pages(args->y, args->rows * args->out * sizeof(Number));
    for (; grouped.first < args->rows; grouped.first += share) {
        grouped.rows = args->rows - grouped.first < share ? args->rows - grouped.first : share;
        parallel((grouped.rows + HIGH - 1) / HIGH, args->threads, group_rows, &grouped);
        parallel(panels, args->threads, multiply_panel, &grouped);
    }
    give_back(grouped.x);
    return 0;
}
