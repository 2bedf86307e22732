/* y = (whole @ weight^T) * scale * weight_scale + bias, where a row of x is `scale` times whole numbers;
 * ../../int8_linear/README.md tells why.
 *
 * As linear.h: rows are laid out once, HEIGHT at a time, and are rounded on the way; a task is a panel of the weight, laid
 * out in the thread's second cache, that meets all of them. A word of 32 bits holds what one instruction multiplies and adds
 * up: four bytes with AVX512-VNNI, which takes the weight's as unsigned, so that 128 is added to each and 128 times the sum
 * of a row taken off again; two numbers of 16 bits with AVX2, whose own sums of bytes saturate.
 */
#pragma once

#include "product.h"

#include <immintrin.h>

typedef int32_t Word __attribute__((aligned(4), may_alias));
typedef Integers StoredIntegers __attribute__((aligned(4), may_alias));

#if WIDTH == 16
#define WITH_DOTS __attribute__((target("avx512vnni")))
typedef int8_t Whole;
enum { HEIGHT = 8, VECTORS = 3, SPLIT = 1, OFFSET = 128 };
#else
#define WITH_DOTS
typedef int16_t Whole;
enum { HEIGHT = 6, VECTORS = 2, SPLIT = 2, OFFSET = 0 };
#endif
typedef Whole Wholes __attribute__((vector_size(sizeof(Whole) * WIDTH), aligned(1), may_alias));

enum { ACROSS = VECTORS * WIDTH, LARGEST = 127 }; /* columns of a panel; the largest whole number */

/* What the threads of one call share. Rows are (group of HEIGHT, words, HEIGHT). */
struct Rounded {
    const struct Int8Linear *args;
    int64_t words; /* of a row */
    Word *rows, *panels;
    float *scales;    /* of a row */
    int32_t *offsets; /* what is to be taken off its products */
};

/* One row in whole numbers, ties to even, and their sum. A row of zeros has the scale 0; one with what is no number, NaN. */
static float round_row(const Number *x, int64_t channels, Whole *whole, int32_t *total) {
    Vector most = {0}, broken = {0};
    for (int64_t c = 0; c < channels; c += WIDTH) {
        const Vector value = read(x + c), size = choose(value < 0.0f, -value, value);
        most = choose(size > most, size, most);
        broken += value - value;
    }
    float largest = 0;
    for (int i = 0; i < WIDTH; i++) largest = most[i] > largest ? most[i] : largest;
    const float scale = largest / LARGEST + sum(broken), step = scale > 0x1p-126f ? scale : 0x1p-126f;
    const Vector rounding = all(12582912.0f); /* 1.5 * 2^23: adding it leaves a whole number in the low bits */
    Integers all_of_it = {0};
    for (int64_t c = 0; c < channels; c += WIDTH) {
        const Integers rounded = (Integers)(read(x + c) / step + rounding) - (Integers)rounding;
        all_of_it += rounded;
        *(Wholes *)(whole + c) = __builtin_convertvector(rounded, Wholes);
    }
    *total = 0;
    for (int i = 0; i < WIDTH; i++) *total += all_of_it[i];
    return scale;
}

static void round_rows(int64_t group, int thread, void *context) {
    const struct Rounded *rounded = context;
    const struct Int8Linear *args = rounded->args;
    Word *target = rounded->rows + group * HEIGHT * rounded->words;
    Whole *whole = (Whole *)(rounded->panels + thread * rounded->words * ACROSS); /* which are not yet needed */
    for (int64_t i = 0, row = group * HEIGHT; i < HEIGHT && row < args->rows; i++, row++) {
        int32_t total;
        rounded->scales[row] = round_row(args->x + row * args->in, args->in, whole, &total);
        rounded->offsets[row] = OFFSET * total;
        for (int64_t k = 0; k < rounded->words; k++) target[k * HEIGHT + i] = ((const Word *)whole)[k];
    }
}

/* Four bytes of WIDTH columns, as the words that they are multiplied in. */
static inline void put_words(Integers bytes, Word *panel) {
#if WIDTH == 16
    *(StoredIntegers *)panel = bytes ^ (int32_t)0x80808080;
#else
    const Integers first = (bytes << 24 >> 24 & 0xffff) | bytes << 16 >> 24 << 16;
    const Integers second = (bytes << 8 >> 24 & 0xffff) | bytes >> 24 << 16;
    *(StoredIntegers *)panel = first;
    *(StoredIntegers *)(panel + ACROSS) = second;
#endif
}

/* Rows of the weight, `columns` of them, as a panel: (words, ACROSS). */
static void pack_bytes(const int8_t *weight, int64_t channels, int64_t columns, Word *panel) {
    for (int64_t j = 0; j < columns; j += WIDTH)
        for (int64_t c = 0; c < channels; c += 4 * WIDTH) {
            const int64_t left = (channels - c) / 4;
            Vector square[WIDTH];
            for (int i = 0; i < WIDTH; i++) {
                const int8_t *row = weight + (j + i) * channels + c;
                if (left >= WIDTH) square[i] = load((const float *)row);
                else square[i] = (Vector){0}, memcpy(&square[i], row, left * sizeof(Word));
            }
            transpose(square);
            for (int k = 0; k < WIDTH && k < left; k++)
                put_words((Integers)square[k], panel + (c / 4 + k) * SPLIT * ACROSS + j);
        }
}

WITH_DOTS static inline Integers with_products(Integers total, Integers x, Integers weight) {
#if WIDTH == 16
    return (Integers)_mm512_dpbusd_epi32((__m512i)total, (__m512i)weight, (__m512i)x);
#else
    return total + (Integers)_mm256_madd_epi16((__m256i)x, (__m256i)weight);
#endif
}

/* HEIGHT rows by ACROSS columns. */
WITH_DOTS static void dot_block(int64_t words, const Word *rows, const Word *panel, Word *block) {
    Integers total[HEIGHT][VECTORS];
    for (int i = 0; i < HEIGHT; i++)
        for (int j = 0; j < VECTORS; j++) total[i][j] = (Integers){0};
    for (int64_t k = 0; k < words; k++, rows += HEIGHT, panel += ACROSS) {
        Integers weight[VECTORS];
#pragma GCC unroll 16
        for (int j = 0; j < VECTORS; j++) weight[j] = *(const StoredIntegers *)(panel + j * WIDTH);
#pragma GCC unroll 16
        for (int i = 0; i < HEIGHT; i++) {
            const Integers x = rows[i] - (Integers){0};
#pragma GCC unroll 16
            for (int j = 0; j < VECTORS; j++) total[i][j] = with_products(total[i][j], x, weight[j]);
        }
    }
    for (int i = 0; i < HEIGHT; i++)
        for (int j = 0; j < VECTORS; j++) *(StoredIntegers *)(block + i * ACROSS + j * WIDTH) = total[i][j];
}

static void dot_panel(int64_t task, int thread, void *context) {
    const struct Rounded *rounded = context;
    const struct Int8Linear *args = rounded->args;
    const int64_t column = task * ACROSS, words = rounded->words;
    const int64_t wide = args->out - column < ACROSS ? args->out - column : ACROSS;
    const int64_t groups = (args->rows + HEIGHT - 1) / HEIGHT, next = column + args->threads * ACROSS;
    const int64_t ahead = next + ACROSS <= args->out ? (ACROSS * args->in / groups + LINE - 1) / LINE * LINE : 0;
    Word *panel = rounded->panels + thread * words * ACROSS, block[HEIGHT * ACROSS];
    pack_bytes(args->weight + column * args->in, args->in, wide, panel);
    for (int64_t first = 0; first < args->rows; first += HEIGHT) {
        const int8_t *asked = args->weight + next * args->in + first / HEIGHT * ahead;
        for (int64_t line = 0; line < ahead; line += LINE) __builtin_prefetch(asked + line, 0, 2);
        for (int64_t row = first; row < first + HEIGHT && row < args->rows; row++)
            for (int64_t j = 0; j < wide; j += WIDTH) __builtin_prefetch(args->y + row * args->out + column + j, 1, 3);
        dot_block(words, rounded->rows + first * words, panel, block);
        for (int64_t i = 0, row = first; i < HEIGHT && row < args->rows; i++, row++) {
            Number *y = args->y + row * args->out + column;
            for (int64_t j = 0; j < wide; j += WIDTH) {
                const Integers product = *(const StoredIntegers *)(block + i * ACROSS + j) - rounded->offsets[row];
                const Vector value = __builtin_convertvector(product, Vector) * rounded->scales[row];
                const Vector bias = args->bias ? read(args->bias + column + j) : (Vector){0};
                write(y + j, value * load(args->weight_scale + column + j) + bias);
            }
        }
    }
}

static int int8_linear(const struct Int8Linear *args) {
    const int64_t groups = (args->rows + HEIGHT - 1) / HEIGHT, panels = (args->out + ACROSS - 1) / ACROSS;
    struct Rounded rounded = {.args = args, .words = args->in / 4 * SPLIT};
    const int64_t words = (groups * HEIGHT + args->threads * ACROSS) * rounded.words;
    float *memory = workspace(words + 2 * args->rows);
    if (!memory) return 1;
    rounded.rows = (Word *)memory, rounded.panels = rounded.rows + groups * HEIGHT * rounded.words;
    rounded.scales = memory + words, rounded.offsets = (int32_t *)(rounded.scales + args->rows);
    large_pages(args->y, args->rows * args->out * sizeof(Number));
    parallel(groups, args->threads, round_rows, &rounded);
    parallel(panels, args->threads, dot_panel, &rounded);
    give_back(memory);
    return 0;
}
