/* The 3x3 convolution by Winograd's F(4,3) in both directions; ../../conv3x3/README.md derives it.
 *
 * The picture is cut into tiles of 4x4 outputs, which need 6x6 inputs. In the basis of the transforms B, G and A a tile
 * costs one product per point and pair of channels: 36 for 16 outputs, where the plain sum takes 144. All tiles of a
 * block together make 36 matrix products (tiles x in) @ (in x out).
 */
#pragma once

#include "product.h"

enum { TILE = 4, SPAN = 6, POINTS = SPAN * SPAN, PIXELS = TILE * TILE, FEW = 72 };

#define A 0.70710678118654752f /* the points are 0, +-A, +-B and infinity; A * B = 1 */
#define B 1.41421356237309505f

/* One direction of the input's transform: row i is the polynomial that vanishes at every point but the i-th. */
static inline void transform_input(const Vector d[SPAN], Vector v[SPAN]) {
    const Vector even_a = d[4] - 2.0f * d[2], odd_a = A * (d[3] - 2.0f * d[1]);
    const Vector even_b = d[4] - 0.5f * d[2], odd_b = B * (d[3] - 0.5f * d[1]);
    v[0] = d[0] + d[4] - 2.5f * d[2];
    v[1] = even_a + odd_a;
    v[2] = even_a - odd_a;
    v[3] = even_b + odd_b;
    v[4] = even_b - odd_b;
    v[5] = d[1] + d[5] - 2.5f * d[3];
}

/* Of the weight: the polynomial g at every point, over what the input's polynomial is there. */
static inline void transform_weight(const Vector g[3], Vector u[SPAN]) {
    const Vector even_a = (g[0] + 0.5f * g[2]) * (-1.0f / 1.5f), odd_a = g[1] * (-A / 1.5f);
    const Vector even_b = (g[0] + 2.0f * g[2]) * (1.0f / 6.0f), odd_b = g[1] * (B / 6.0f);
    u[0] = g[0];
    u[1] = even_a + odd_a;
    u[2] = even_a - odd_a;
    u[3] = even_b + odd_b;
    u[4] = even_b - odd_b;
    u[5] = g[2];
}

/* Of the output: powers of the points. */
static inline void transform_output(const Vector m[SPAN], Vector y[TILE]) {
    const Vector sum_a = m[1] + m[2], sum_b = m[3] + m[4];
    const Vector difference_a = A * (m[1] - m[2]), difference_b = B * (m[3] - m[4]);
    y[0] = m[0] + sum_a + sum_b;
    y[1] = difference_a + difference_b;
    y[2] = 0.5f * sum_a + 2.0f * sum_b;
    y[3] = 0.5f * difference_a + 2.0f * difference_b + m[5];
}

#undef A
#undef B

/* What the threads of one call share, and the sizes that follow from it. A plane holds one point of all tiles of a
 * block, or of all weights. Rows and planes are a little longer than they need to be, so that the points of a tile do
 * not fall onto the same lines of the cache. */
struct Plan {
    const struct Conv3x3 *args;
    int64_t across, tiles, block;              /* tiles side by side, in all, and in a block */
    int64_t in_row, out_row;                   /* floats of a tile in a plane */
    int64_t in_plane, out_plane, weight_plane;
    int64_t scratch;                           /* floats of a thread */
    float *weights, *threads;                  /* transformed; the threads' own memory */
    float *in_planes, *out_planes;             /* of all tiles, where these are few */
};

/* The weights of WIDTH inputs and as many outputs, (in, 9) vectors of outputs; zeros beyond the last output. */
static void turn_weights(const struct Conv3x3 *args, int64_t out, int64_t in, Vector turned[9 * WIDTH]) {
    for (int64_t part = 0; part < 9; part++, turned += WIDTH) {
        for (int64_t lane = 0; lane < WIDTH; lane++) {
            const Number *weight = args->weight + ((out + lane) * args->in + in) * 9;
            turned[lane] = out + lane < args->out ? read(weight + part * WIDTH) : (Vector){0};
        }
        transpose(turned);
    }
}

/* Nine weights at every point, `plane` floats apart. */
static void transform_weights_of(const Vector weight[9], int64_t plane, float *target) {
    Vector t[SPAN][3], u[SPAN];
    for (int j = 0; j < 3; j++) { /* columns, then rows */
        transform_weight((const Vector[3]){weight[j], weight[3 + j], weight[6 + j]}, u);
        for (int i = 0; i < SPAN; i++) t[i][j] = u[i];
    }
    for (int i = 0; i < SPAN; i++) {
        transform_weight(t[i], u);
        for (int j = 0; j < SPAN; j++) store(target + (i * SPAN + j) * plane, u[j]);
    }
}

/* A panel of the transformed weight, of PANEL output channels, as the product reads it: (point, in, PANEL). */
__attribute__((noinline)) static void transform_panel(const struct Plan *plan, int64_t panel, float *target) {
    for (int64_t first = 0; first < plan->args->in; first += WIDTH)
        for (int part = 0; part < COLUMNS; part++) {
            Vector turned[9 * WIDTH];
            turn_weights(plan->args, panel * PANEL + part * WIDTH, first, turned);
            for (int64_t in = 0; in < WIDTH; in++)
                transform_weights_of(turned + 9 * in, plan->weight_plane, target + (first + in) * PANEL + part * WIDTH);
        }
}

static void transform_weights(int64_t panel, int thread, void *context) {
    const struct Plan *plan = context;
    (void)thread;
    transform_panel(plan, panel, plan->weights + panel * plan->args->in * PANEL);
}

/* The inputs of a tile, all channels, into its row of every plane. Beyond the picture every pixel is `zeros`. */
static void gather_tile(const struct Plan *plan, int64_t tile, const Number *zeros, float *target) {
    const struct Conv3x3 *args = plan->args;
    const int64_t down = (args->height + TILE - 1) / TILE, picture = tile / (down * plan->across);
    const int64_t top = tile / plan->across % down * TILE - 1, left = tile % plan->across * TILE - 1;
    const int half = args->upsample ? 1 : 0;
    const Number *pixel[SPAN][SPAN];
    for (int i = 0; i < SPAN; i++)
        for (int j = 0; j < SPAN; j++) {
            const int64_t y = top + i, x = left + j;
            const int inside = y >= 0 && y < args->height && x >= 0 && x < args->width;
            const int64_t row = picture * (args->height >> half) + (y >> half);
            pixel[i][j] = inside ? args->x + (row * (args->width >> half) + (x >> half)) * args->in : zeros;
        }
    const int64_t ahead = (TILE >> half) * args->in; /* to the same place in the next tile */
    for (int64_t channel = 0; channel < args->in; channel += WIDTH) {
        Vector t[SPAN][SPAN], d[SPAN], v[SPAN];
        for (int j = SPAN - TILE; j < SPAN; j++)
            for (int i = 0; i < SPAN; i++) __builtin_prefetch(pixel[i][j] + channel + ahead);
        for (int j = 0; j < SPAN; j++) {
            for (int i = 0; i < SPAN; i++) d[i] = read(pixel[i][j] + channel);
            transform_input(d, v);
            for (int i = 0; i < SPAN; i++) t[i][j] = v[i];
        }
        for (int i = 0; i < SPAN; i++) {
            transform_input(t[i], v);
            for (int j = 0; j < SPAN; j++) store(target + (i * SPAN + j) * plan->in_plane + channel, v[j]);
        }
    }
}

/* ROWS x PANEL of a product. Every sum runs over the channels in their order, whatever the block: the bits of a result
 * depend neither on the number of threads nor on what else is computed. */
static void multiply(int64_t in, const float *tiles, int64_t row, const float *weights, float *out, int64_t out_row) {
    Vector total[ROWS][COLUMNS];
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLUMNS; j++) total[i][j] = (Vector){0};
    for (int64_t k = 0; k < in; k++, weights += PANEL) {
        Vector w[COLUMNS];
#pragma GCC unroll 16
        for (int j = 0; j < COLUMNS; j++) w[j] = load(weights + j * WIDTH);
#pragma GCC unroll 16
        for (int i = 0; i < ROWS; i++) {
            const Vector x = all(tiles[i * row + k]);
#pragma GCC unroll 16
            for (int j = 0; j < COLUMNS; j++) total[i][j] += x * w[j];
        }
    }
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLUMNS; j++) store(out + i * out_row + j * WIDTH, total[i][j]);
}

/* A panel of outputs at one point, of `count` tiles. Beyond them it computes what nobody reads. */
static void multiply_tiles(const struct Plan *plan, int64_t count, const float *in, const float *weights, float *out) {
    for (int64_t row = 0; row < count; row += ROWS)
        multiply(plan->args->in, in + row * plan->in_row, plan->in_row, weights, out + row * plan->out_row, plan->out_row);
}

/* The channels of a pixel of the residual that belong to pixel (row, column) of its four, added: what pixel_shuffle makes of it after its
 * channels were repeated until there were 4 * out of them. */
static void add_shortcut(const struct Conv3x3 *args, const Number *x, int corner, float *out) {
    const int64_t step = args->in / args->out, repeats = step >= 4 ? 1 : 4 / step;
    const Number *source = x + corner / repeats;
    if (step == 1)
        for (int64_t c = 0; c < args->out; c++) out[c] += number(source[c]);
    else if (step == 2)
        for (int64_t c = 0; c < args->out; c++) out[c] += number(source[2 * c]);
    else
        for (int64_t c = 0; c < args->out; c++) out[c] += number(source[4 * c]);
}

/* The outputs of a tile from its row of every plane, with all that follows the convolution. */
static void scatter_tile(const struct Plan *plan, int64_t tile, const float *source, float *pixels) {
    const struct Conv3x3 *args = plan->args;
    const int64_t down = (args->height + TILE - 1) / TILE, picture = tile / (down * plan->across);
    const int64_t top = tile / plan->across % down * TILE, left = tile % plan->across * TILE;
    Vector squares[PIXELS];
    for (int i = 0; i < PIXELS; i++) squares[i] = (Vector){0};
    for (int64_t channel = 0; channel < args->out; channel += WIDTH) {
        const Vector bias = args->bias ? read(args->bias + channel) : (Vector){0};
        Vector m[SPAN], t[TILE][SPAN], y[TILE];
        for (int j = 0; j < SPAN; j++) {
            for (int i = 0; i < SPAN; i++) m[i] = load(source + (i * SPAN + j) * plan->out_plane + channel);
            transform_output(m, y);
            for (int i = 0; i < TILE; i++) t[i][j] = y[i];
        }
        for (int i = 0; i < TILE; i++) {
            transform_output(t[i], y);
            for (int j = 0; j < TILE; j++) {
                const Vector value = activated(y[j] + bias, args->activation);
                squares[i * TILE + j] += value * value;
                store(pixels + (i * TILE + j) * args->out + channel, value);
            }
        }
    }
    for (int i = 0; i < PIXELS; i++) {
        const int64_t y = top + i / TILE, x = left + i % TILE;
        if (y >= args->height || x >= args->width) continue;
        const int64_t place = ((picture * args->height + y) * args->width + x) * args->out;
        float *pixel = pixels + i * args->out;
        const float scale = args->norm_weight ? 1.0f / __builtin_sqrtf(sum(squares[i]) / (float)args->out + args->eps) : 1.0f;
        for (int64_t c = 0; c < args->out; c += WIDTH) {
            Vector value = load(pixel + c);
            if (args->norm_weight) value = value * scale * read(args->norm_weight + c) + read(args->norm_bias + c);
            if (args->residual && !args->shortcut) value += read(args->residual + place + c);
            store(pixel + c, value);
        }
        if (args->shortcut) {
            const int64_t row = picture * (args->height / 2) + y / 2;
            const Number *small = args->residual + (row * (args->width / 2) + x / 2) * args->in;
            add_shortcut(args, small, (int)(y % 2 * 2 + x % 2), pixel);
        }
        for (int64_t c = 0; c < args->out; c += WIDTH) write(args->y + place + c, load(pixel + c));
    }
}

/* One block: its tiles gathered, the product at every point, its tiles scattered. A panel of weights stays in the nearest
 * caches while the tiles pass by. */
static void convolve_block(int64_t block, int thread, void *context) {
    const struct Plan *plan = context;
    const struct Conv3x3 *args = plan->args;
    float *zeros = plan->threads + thread * plan->scratch, *pixels = zeros + args->in;
    float *in = pixels + PIXELS * args->out, *out = in + POINTS * plan->in_plane;
    const int64_t first = block * plan->block;
    const int64_t count = plan->tiles - first < plan->block ? plan->tiles - first : plan->block;
    memset(zeros, 0, args->in * sizeof(float));
    for (int64_t i = 0; i < count; i++) gather_tile(plan, first + i, (const Number *)zeros, in + i * plan->in_row);
    for (int point = 0; point < POINTS; point++)
        for (int64_t column = 0; column < args->out; column += PANEL)
            multiply_tiles(plan, count, in + point * plan->in_plane,
                           plan->weights + point * plan->weight_plane + column * args->in,
                           out + point * plan->out_plane + column);
    for (int64_t i = 0; i < count; i++) scatter_tile(plan, first + i, out + i * plan->out_row, pixels);
}

/* The same in three turns, for few tiles: a panel of weights is transformed where it is multiplied, so that all of them are
 * never in memory, and threads share the panels. */
static void gather_one(int64_t tile, int thread, void *context) {
    const struct Plan *plan = context;
    float *zeros = plan->threads + thread * plan->scratch;
    memset(zeros, 0, plan->args->in * sizeof(float));
    gather_tile(plan, tile, (const Number *)zeros, plan->in_planes + tile * plan->in_row);
}

static void convolve_panel(int64_t panel, int thread, void *context) {
    const struct Plan *plan = context;
    float *weights = plan->weights + thread * POINTS * plan->weight_plane;
    transform_panel(plan, panel, weights);
    for (int point = 0; point < POINTS; point++)
        multiply_tiles(plan, plan->tiles, plan->in_planes + point * plan->in_plane, weights + point * plan->weight_plane,
                       plan->out_planes + point * plan->out_plane + panel * PANEL);
}

static void scatter_one(int64_t tile, int thread, void *context) {
    const struct Plan *plan = context;
    scatter_tile(plan, tile, plan->out_planes + tile * plan->out_row, plan->threads + thread * plan->scratch);
}

static int convolve_few(struct Plan *plan, int threads) {
    const struct Conv3x3 *args = plan->args;
    const int64_t panels = (args->out + PANEL - 1) / PANEL;
    plan->weight_plane = PANEL * args->in + 16;
    plan->scratch = args->in + PIXELS * args->out;
    const int64_t busy = panels < threads ? panels : threads;
    const int64_t weights = busy * POINTS * plan->weight_plane, planes = POINTS * (plan->in_plane + plan->out_plane);
    float *memory = workspace(weights + planes + threads * plan->scratch);
    if (!memory) return 1;
    plan->weights = memory, plan->in_planes = memory + weights;
    plan->out_planes = plan->in_planes + POINTS * plan->in_plane, plan->threads = plan->in_planes + planes;
    parallel(plan->tiles, threads, gather_one, plan);
    parallel(panels, (int)busy, convolve_panel, plan);
    parallel(plan->tiles, threads, scatter_one, plan);
    give_back(memory);
    return 0;
}

/* Tiles in a block. Few channels: both sides of the product stay in a second cache of 1 MB. Many: the weights come from far
 * away, and every visit to them should be worth it, within some 12 MB of the last cache. */
static int64_t block_of(const struct Plan *plan, int threads) {
    const int64_t bytes = POINTS * (plan->in_row + plan->out_row) * (int64_t)sizeof(float);
    const int64_t share = (plan->tiles + threads - 1) / threads, fitting = (12 << 20) / bytes;
    int64_t block = plan->args->in * plan->args->out <= 256 * 256 ? (1 << 20) / bytes / ROWS * ROWS : 72;
    if (block > fitting) block = fitting;
    if (block > share) block = share;
    if (block < 1) block = 1;
    return (block + ROWS - 1) / ROWS * ROWS;
}

static int conv3x3(const struct Conv3x3 *args) {
    const int64_t panels = (args->out + PANEL - 1) / PANEL, odd = 16;
    const int threads = args->threads < 1 ? 1 : args->threads > MAX_THREADS ? MAX_THREADS : args->threads;
    struct Plan plan = {.args = args, .across = (args->width + TILE - 1) / TILE};
    plan.tiles = args->batch * ((args->height + TILE - 1) / TILE) * plan.across;
    plan.in_row = args->in + odd, plan.out_row = panels * PANEL + odd;
    plan.block = plan.tiles <= FEW ? (plan.tiles + ROWS - 1) / ROWS * ROWS : block_of(&plan, threads);
    plan.in_plane = plan.block * plan.in_row + odd, plan.out_plane = plan.block * plan.out_row + odd;
    large_pages(args->y, args->batch * args->height * args->width * args->out * sizeof(Number));
    if (plan.tiles <= FEW) return convolve_few(&plan, threads);
    plan.weight_plane = panels * PANEL * args->in + odd;
    plan.scratch = args->in + PIXELS * args->out + POINTS * (plan.in_plane + plan.out_plane);
    const int64_t blocks = (plan.tiles + plan.block - 1) / plan.block, busy = blocks < threads ? blocks : threads;
    float *memory = workspace(POINTS * plan.weight_plane + busy * plan.scratch);
    if (!memory) return 1;
    plan.weights = memory, plan.threads = memory + POINTS * plan.weight_plane;
    parallel(panels, threads, transform_weights, &plan);
    parallel(blocks, (int)busy, convolve_block, &plan);
    give_back(memory);
    return 0;
}
