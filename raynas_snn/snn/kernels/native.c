/* Kernels for the CPU, compiled for one type REAL (float or double); native.py calls them, eager.py says what they do.

   Maps lie in memory as rows of channels: row ((t * N + n) * H + h) * W + w, and C numbers in each row.
   Sums are taken over so many rows at a time and then in order, so that they do not depend on the number of threads. */
#include <math.h>
#include <stdint.h>

typedef REAL real;

enum { BLOCK = 64 };       /* channels at a time: what fits the first cache */
enum { LANES = 16 };       /* channels at a time where several sums are kept in registers */
enum { SUM_ROWS = 512 };   /* rows per partial sum; native.py knows it too */
enum { RECTANGULAR, ATAN };

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define PARTS(rows) (((rows) + SUM_ROWS - 1) / SUM_ROWS)
#define INLINE static inline __attribute__((always_inline))
#define PARALLEL_FOR _Pragma("omp parallel for schedule(static) num_threads(threads)") for

/* Over channels; no two of them touch the same number. */
#define EACH(c, width) _Pragma("omp simd") for (int64_t c = 0; c < width; c++)

/* Lets the compiler know the number of channels W of a call, if it is a common one. */
#define WITH_WIDTH(width, call)                \
  switch (width) {                             \
    case 16: { enum { W = 16 }; call; } break; \
    case 32: { enum { W = 32 }; call; } break; \
    case 64: { enum { W = 64 }; call; } break; \
    default: { const int64_t W = width; call; } \
  }

/* A normalisation by channel. Without a mean it is the identity; weight may be NULL, one number or one by channel. */
typedef struct {
  const real *mean, *variance, *weight, *bias;
  int64_t weight_stride;
  double eps;
} norm_t;

INLINE real inverse_deviation(const norm_t *norm, int64_t c) { return 1 / (real)sqrt(norm->variance[c] + norm->eps); }

INLINE real scale_of(const norm_t *norm, int64_t c) {
  if (!norm->mean) return 1;
  return inverse_deviation(norm, c) * (norm->weight ? norm->weight[c * norm->weight_stride] : 1);
}

INLINE real shift_of(const norm_t *norm, int64_t c) {
  if (!norm->mean) return 0;
  return (norm->bias ? norm->bias[c] : 0) - norm->mean[c] * scale_of(norm, c);
}

static void affine(const norm_t *norm, real *scale, real *shift, int64_t first, int64_t width) {
  for (int64_t c = 0; c < width; c++) {
    scale[c] = scale_of(norm, first + c);
    shift[c] = shift_of(norm, first + c);
  }
}

/* Spikes of all steps: u[t] = decay * u[t-1] * (1 - o[t-1]) + scale * x[t] + shift, o[t] = u[t] > v_th. */
INLINE void fire_row(const real *x, real *spikes, const real *scale, const real *shift, int64_t steps, int64_t step,
                     real decay, real v_th, int64_t width) {
  real carried[BLOCK];
  EACH(c, width) carried[c] = 0;
  for (int64_t t = 0; t < steps; t++, x += step, spikes += step)
    EACH(c, width) {
      const real u = x[c] * scale[c] + shift[c] + decay * carried[c];
      spikes[c] = u > v_th ? 1 : 0;
      carried[c] = u > v_th ? 0 : u;
    }
}

void fire(const real *x, real *spikes, const norm_t *norm, int64_t steps, int64_t rows, int64_t channels, double decay,
          double v_th, int threads) {
  const int64_t step = rows * channels;
  PARALLEL_FOR(int64_t part = 0; part < PARTS(rows); part++)
    for (int64_t c = 0; c < channels; c += BLOCK) {
      const int64_t width = MIN(BLOCK, channels - c);
      real scale[BLOCK], shift[BLOCK];
      affine(norm, scale, shift, c, width);
      WITH_WIDTH(width, for (int64_t row = part * SUM_ROWS; row < MIN(rows, (part + 1) * SUM_ROWS); row++)
                            fire_row(x + row * channels + c, spikes + row * channels + c, scale, shift, steps, step,
                                     (real)decay, (real)v_th, W))
    }
}

INLINE real slope_at(real distance, int kind, real parameter) {
  if (kind == RECTANGULAR) return (distance < 0 ? -distance : distance) < parameter / 2 ? 1 / parameter : 0;
  const real scaled = (real)1.57079632679489661923 * parameter * distance;
  return parameter / 2 / (1 + scaled * scaled);
}

/* Gradient of `fire` with respect to the currents; the potentials are computed once more.
   Adds the gradient and its product with x to sums [2, BLOCK]. */
INLINE void fire_row_backward(const real *x, const real *grad, real *grad_in, const real *scale, const real *shift,
                              real *sums, real *potentials, int64_t steps, int64_t step, real decay, real v_th,
                              int detach_reset, int kind, real parameter, int64_t width) {
  real carried[BLOCK];
  EACH(c, width) carried[c] = 0;
  for (int64_t t = 0; t < steps; t++)
    EACH(c, width) {
      const real u = x[t * step + c] * scale[c] + shift[c] + decay * carried[c];
      potentials[t * BLOCK + c] = u;
      carried[c] = u > v_th ? 0 : u;
    }
  EACH(c, width) carried[c] = 0; /* from here on decay * d loss / d u[t+1] */
  for (int64_t t = steps - 1; t >= 0; t--)
    EACH(c, width) {
      const real u = potentials[t * BLOCK + c];
      const real through_spike = detach_reset ? grad[t * step + c] : grad[t * step + c] - carried[c] * u;
      const real g = through_spike * slope_at(u - v_th, kind, parameter) + (u > v_th ? 0 : carried[c]);
      grad_in[t * step + c] = g;
      sums[c] += g;
      sums[BLOCK + c] += g * x[t * step + c];
      carried[c] = decay * g;
    }
}

static void keep_sums(const real *sums, double *partial, int64_t part, int64_t channels, int64_t c, int64_t width) {
  for (int64_t i = 0; i < width; i++) {
    partial[part * 2 * channels + c + i] = sums[i];
    partial[(part * 2 + 1) * channels + c + i] = sums[BLOCK + i];
  }
}

/* Adds up what keep_sums has kept, into the first part. */
static void add_parts(double *partial, int64_t parts, int64_t numbers) {
  for (int64_t part = 1; part < parts; part++)
    for (int64_t i = 0; i < numbers; i++) partial[i] += partial[part * numbers + i];
}

/* Gradients of a normalisation's bias and weight from the sums of the gradient and of its product with x. */
static void parameter_gradients(const norm_t *norm, const double *sums, real *grad_weight, real *grad_bias,
                                int64_t channels) {
  for (int64_t c = 0; norm->mean && c < channels; c++) {
    grad_bias[c] = sums[c];
    grad_weight[c] = (sums[channels + c] - norm->mean[c] * sums[c]) * inverse_deviation(norm, c);
  }
}

void fire_backward(const real *x, const real *grad, real *grad_in, const norm_t *norm, double *partial,
                   real *grad_weight, real *grad_bias, int64_t steps, int64_t rows, int64_t channels, double decay,
                   double v_th, int detach_reset, int kind, double parameter, int threads) {
  const int64_t step = rows * channels;
  PARALLEL_FOR(int64_t part = 0; part < PARTS(rows); part++)
    for (int64_t c = 0; c < channels; c += BLOCK) {
      const int64_t width = MIN(BLOCK, channels - c);
      real scale[BLOCK], shift[BLOCK], sums[2 * BLOCK] = {0}, potentials[steps * BLOCK];
      affine(norm, scale, shift, c, width);
#define ROWS(detach_reset, kind, W)                                                                                \
  for (int64_t at = part * SUM_ROWS * channels + c; at < MIN(rows, (part + 1) * SUM_ROWS) * channels; at += channels) \
    fire_row_backward(x + at, grad + at, grad_in + at, scale, shift, sums, potentials, steps, step, (real)decay,   \
                      (real)v_th, detach_reset, kind, (real)parameter, W)
      if (kind == ATAN) { WITH_WIDTH(width, ROWS(detach_reset, ATAN, W)) }
      else { WITH_WIDTH(width, ROWS(detach_reset, RECTANGULAR, W)) }
      keep_sums(sums, partial, part, channels, c, width);
    }
  add_parts(partial, PARTS(rows), 2 * channels);
  parameter_gradients(norm, partial, grad_weight, grad_bias, channels);
}

/* Adds a and a * b, both less a pivot by channel, to sums [2, BLOCK]. */
INLINE void sum_row(const real *a, const real *b, const real *pivot, real *sums, int64_t width) {
  EACH(c, width) {
    sums[c] += a[c] - pivot[c];
    sums[BLOCK + c] += (a[c] - pivot[c]) * (b[c] - pivot[c]);
  }
}

INLINE void add_row(const real *x, real *sums, int64_t width) { EACH(c, width) sums[c] += x[c]; }

/* Mean and variance. Each part is summed twice, the second time less its own mean, which keeps all digits; it comes
   from the cache then. */
void observe(const real *x, double *partial, real *mean, real *variance, int64_t rows, int64_t channels, int threads) {
  PARALLEL_FOR(int64_t part = 0; part < PARTS(rows); part++)
    for (int64_t c = 0; c < channels; c += BLOCK) {
      const int64_t width = MIN(BLOCK, channels - c), first = part * SUM_ROWS, end = MIN(rows, first + SUM_ROWS);
      real sums[2 * BLOCK] = {0}, pivot[BLOCK] = {0};
      WITH_WIDTH(width, for (int64_t row = first; row < end; row++) add_row(x + row * channels + c, pivot, W))
      EACH(i, width) pivot[i] /= end - first;
      WITH_WIDTH(width, for (int64_t row = first; row < end; row++)
                            sum_row(x + row * channels + c, x + row * channels + c, pivot, sums, W))
      for (int64_t i = 0; i < width; i++) { /* the part's sum, and its squares less its own mean */
        const double number = end - first, off = sums[i] / number;
        partial[part * 2 * channels + c + i] = number * (pivot[i] + off);
        partial[(part * 2 + 1) * channels + c + i] = sums[BLOCK + i] - number * off * off;
      }
    }
  for (int64_t c = 0; c < channels; c++) {
    double total = 0, squares = 0;
    for (int64_t part = 0; part < PARTS(rows); part++) total += partial[part * 2 * channels + c];
    for (int64_t part = 0; part < PARTS(rows); part++) {
      const double number = MIN(SUM_ROWS, rows - part * SUM_ROWS);
      const double off = partial[part * 2 * channels + c] / number - total / rows;
      squares += partial[(part * 2 + 1) * channels + c] + number * off * off;
    }
    mean[c] = total / rows;
    variance[c] = MAX(0.0, squares / rows);
  }
}

void sum_gradients(const real *grad, const real *x, const norm_t *norm, double *partial, real *grad_weight,
                   real *grad_bias, int64_t rows, int64_t channels, int threads) {
  const real zeros[BLOCK] = {0};
  PARALLEL_FOR(int64_t part = 0; part < PARTS(rows); part++)
    for (int64_t c = 0; c < channels; c += BLOCK) {
      const int64_t width = MIN(BLOCK, channels - c);
      real sums[2 * BLOCK] = {0};
      WITH_WIDTH(width, for (int64_t row = part * SUM_ROWS; row < MIN(rows, (part + 1) * SUM_ROWS); row++)
                            sum_row(grad + row * channels + c, x + row * channels + c, zeros, sums, W))
      keep_sums(sums, partial, part, channels, c, width);
    }
  add_parts(partial, PARTS(rows), 2 * channels);
  parameter_gradients(norm, partial, grad_weight, grad_bias, channels);
}

/* out = of_a * a + of_x * x + constant; out may be a. */
INLINE void combine_row(const real *a, const real *x, real *out, const real *of_a, const real *of_x,
                        const real *constant, int64_t width) {
  EACH(c, width) out[c] = of_a[c] * a[c] + of_x[c] * x[c] + constant[c];
}

INLINE void shift_row(const real *x, real *out, const real *scale, const real *shift, int64_t width) {
  EACH(c, width) out[c] = scale[c] * x[c] + shift[c];
}

/* out = normalised x, and total where there is one; out may be total. */
void normalise(const real *total, const real *x, real *out, const norm_t *norm, int64_t rows, int64_t channels,
               int threads) {
  PARALLEL_FOR(int64_t part = 0; part < PARTS(rows); part++)
    for (int64_t c = 0; c < channels; c += BLOCK) {
      const int64_t width = MIN(BLOCK, channels - c), first = part * SUM_ROWS, end = MIN(rows, first + SUM_ROWS);
      real scale[BLOCK], shift[BLOCK], ones[BLOCK];
      affine(norm, scale, shift, c, width);
      EACH(i, width) ones[i] = 1;
      if (total) {
        WITH_WIDTH(width, for (int64_t at = first * channels + c; at < end * channels; at += channels)
                              combine_row(total + at, x + at, out + at, ones, scale, shift, W))
      } else {
        WITH_WIDTH(width, for (int64_t at = first * channels + c; at < end * channels; at += channels)
                              shift_row(x + at, out + at, scale, shift, W))
      }
    }
}

/* Gradient of `normalise` with respect to x; out may be grad. */
void input_gradient(const real *grad, const real *x, real *out, const norm_t *norm, const real *grad_weight,
                    const real *grad_bias, int of_batch, int64_t rows, int64_t channels, int threads) {
  PARALLEL_FOR(int64_t part = 0; part < PARTS(rows); part++)
    for (int64_t c = 0; c < channels; c += BLOCK) {
      const int64_t width = MIN(BLOCK, channels - c), first = part * SUM_ROWS, end = MIN(rows, first + SUM_ROWS);
      real scale[BLOCK], of_x[BLOCK], constant[BLOCK];
      for (int64_t i = 0; i < width; i++) {
        scale[i] = scale_of(norm, c + i);
        of_x[i] = of_batch ? -scale[i] * inverse_deviation(norm, c + i) * grad_weight[c + i] / rows : 0;
        constant[i] = of_batch ? -scale[i] * grad_bias[c + i] / rows - of_x[i] * norm->mean[c + i] : 0;
      }
      WITH_WIDTH(width, for (int64_t at = first * channels + c; at < end * channels; at += channels)
                            combine_row(grad + at, x + at, out + at, scale, of_x, constant, W))
    }
}

/* totals[e] += sum over k of weights[e, k] * maps[k]; all maps have so many numbers. */
enum { CHUNK = 2048 };

void mix(real *const *totals, const real *const *maps, const real *weights, int64_t edges, int64_t kinds,
         int64_t numbers, int threads) {
  PARALLEL_FOR(int64_t first = 0; first < numbers; first += CHUNK)
    for (int64_t e = 0; e < edges; e++)
      for (int64_t k = 0; k < kinds; k++) {
        real *total = totals[e] + first;
        const real *map = maps[k] + first, weight = weights[e * kinds + k];
        EACH(i, MIN(CHUNK, numbers - first)) total[i] += weight * map[i];
      }
}

/* Gradients of `mix`: of the maps, and partial sums [chunk, e, k] for the weights, added up into the first chunk. */
void mix_backward(const real *const *grads, const real *const *maps, const real *weights, real *const *grad_maps,
                  double *partial, int64_t edges, int64_t kinds, int64_t numbers, int threads) {
  PARALLEL_FOR(int64_t first = 0; first < numbers; first += CHUNK)
    for (int64_t k = 0; k < kinds; k++) {
      const int64_t width = MIN(CHUNK, numbers - first);
      real *grad_map = grad_maps[k] + first;
      const real *map = maps[k] + first;
      EACH(i, width) grad_map[i] = 0;
      for (int64_t e = 0; e < edges; e++) {
        const real *grad = grads[e] + first, weight = weights[e * kinds + k];
        real sums[LANES] = {0};
        EACH(i, width) grad_map[i] += weight * grad[i];
        int64_t i = 0;
        for (; i + LANES <= width; i += LANES)
          EACH(lane, LANES) sums[lane] += grad[i + lane] * map[i + lane];
        for (; i < width; i++) sums[0] += grad[i] * map[i];
        double sum = 0;
        for (int lane = 0; lane < LANES; lane++) sum += sums[lane];
        partial[((first / CHUNK) * edges + e) * kinds + k] = sum;
      }
    }
  add_parts(partial, (numbers + CHUNK - 1) / CHUNK, edges * kinds);
}

/* Gradient of a depthwise convolution's weight, as [K, K, C]: sums over images and pixels of grad * x. */
typedef struct {
  int64_t lines, pixels;                        /* a rectangle of the output */
  int64_t x_line, x_pixel, grad_line, channels; /* from one to the next; from pixel to pixel grad moves by its channels */
  int64_t tap;                                  /* from one tap of a kernel's row to the next, in x */
} rectangle_t;

/* A few taps of one kernel row over a rectangle where all of them hit the image; sums are kept in registers. */
INLINE void taps(const real *x, const real *grad, double *sums, const rectangle_t *over, int64_t number, int64_t width) {
  real total[5][LANES];
  for (int64_t j = 0; j < number; j++) EACH(c, width) total[j][c] = 0;
  for (int64_t line = 0; line < over->lines; line++)
    for (int64_t i = 0; i < over->pixels; i++) {
      const real *from = x + line * over->x_line + i * over->x_pixel;
      const real *g = grad + line * over->grad_line + i * over->channels;
      for (int64_t j = 0; j < number; j++) EACH(c, width) total[j][c] += from[j * over->tap + c] * g[c];
    }
  for (int64_t j = 0; j < number; j++) EACH(c, width) sums[j * over->channels + c] += total[j][c];
}

static void taps_of_all_channels(const real *x, const real *grad, double *sums, const rectangle_t *over,
                                 int64_t number) {
  for (int64_t c = 0; c < over->channels && over->pixels > 0; c += LANES) {
    const int64_t width = MIN(LANES, over->channels - c);
    if (width < LANES) taps(x + c, grad + c, sums + c, over, number, width);
    else if (number == 5) taps(x + c, grad + c, sums + c, over, 5, LANES);
    else if (number == 3) taps(x + c, grad + c, sums + c, over, 3, LANES);
    else taps(x + c, grad + c, sums + c, over, number, LANES);
  }
}

/* Along an axis: the first place of the output whose tap hits the image, and the first behind those that do. */
static int64_t first_hit(int64_t offset, int64_t stride, int64_t out_size) {
  return offset < 0 ? MIN(out_size, (-offset + stride - 1) / stride) : 0;
}

static int64_t end_of_hits(int64_t offset, int64_t stride, int64_t size, int64_t out_size) {
  return offset >= size ? 0 : MIN(out_size, (size - offset - 1) / stride + 1);
}

void depthwise_weight_gradient(const real *x, const real *grad, double *partial, int64_t images, int64_t parts,
                               int64_t channels, int64_t height, int64_t width, int64_t out_height,
                               int64_t out_width, int64_t kernel, int64_t stride, int64_t padding,
                               int64_t dilation, int threads) {
  const int64_t x_line = width * channels, grad_line = out_width * channels, pixel = stride * channels;
  const int64_t first = first_hit(-padding, stride, out_width); /* all taps of a row hit from here to there */
  const int64_t end = MAX(first, end_of_hits((kernel - 1) * dilation - padding, stride, width, out_width));
  PARALLEL_FOR(int64_t part = 0; part < parts; part++)
    for (int64_t image = images * part / parts; image < images * (part + 1) / parts; image++)
      for (int64_t i = 0; i < kernel; i++) {
        const int64_t above = i * dilation - padding, top = first_hit(above, stride, out_height);
        const int64_t lines = end_of_hits(above, stride, height, out_height) - top;
        const real *x_row = x + (image * height + top * stride + above) * x_line;
        const real *grad_row = grad + (image * out_height + top) * grad_line;
        double *sums = partial + (part * kernel + i) * kernel * channels;
        const int64_t tap = dilation * channels;
        const rectangle_t middle = {lines, end - first, stride * x_line, pixel, grad_line, channels, tap};
        taps_of_all_channels(x_row + first * pixel - padding * channels, grad_row + first * channels, sums, &middle,
                             kernel);
        for (int64_t j = 0; j < kernel; j++) { /* the borders, tap by tap */
          const int64_t left = j * dilation - padding;
          const int64_t from = first_hit(left, stride, out_width), to = end_of_hits(left, stride, width, out_width);
          const int64_t from_right = MAX(from, end), pixels[2] = {MIN(first, to) - from, to - from_right};
          const int64_t starts[2] = {from, from_right};
          for (int side = 0; side < 2; side++) {
            const rectangle_t border = {lines, pixels[side], stride * x_line, pixel, grad_line, channels, tap};
            taps_of_all_channels(x_row + starts[side] * pixel + left * channels, grad_row + starts[side] * channels,
                                 sums + j * channels, &border, 1);
          }
        }
      }
}
