/** Constants of the elementary functions, in float32 where they are used; coefficients of polynomials lie one after the other, that of the highest power first. */
export const CONSTANTS = {
  ONE: 1,
  TWO: 2,
  HALF: 0.5,
  MINUS_HALF: -0.5,
  // The sign bit.
  SIGN: -0,
  INFINITE: Number.POSITIVE_INFINITY,
  ROOT_HALF: 0.7071067811865475,
  LOG2E: Math.LOG2E,
  // -ln 2 in two parts, the first exact in 9 bits.
  LN2_HIGH: -0.693359375,
  LN2_LOW: 2.1219444e-4,
  // e^r = 1 + r + r^2 (...) on [-ln 2 / 2, ln 2 / 2], largest relative error 3.1e-9.
  EXP: [1.38146366e-3, 8.36872216e-3, 4.1668389e-2, 1.66665211e-1, 4.9999994e-1],
  // Beyond these every result is infinite or 0.
  EXP_MOST: 89,
  EXP_LEAST: -104,
  // Like MAGIC, with twice the bias of exponents in the low bits.
  EXP_MAGIC: 12583166,
  EXP_NEAR: 0.34,
  // log(1 + m) = m - m^2 / 2 + m^3 (...) for 1 + m from the root of a half to that of 2.
  LOG: [
    7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
    2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
  ],
  LOG_NORMAL: 1.17549435e-38,
  LOG_SCALE: 8388608,
  LOG_BELOW: -0.29,
  LOG_ABOVE: 0.41,
  // tanh x = x + x^3 (...) for |x| below 0.625.
  TANH: [-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1],
  TANH_NEAR: 0.625,
  // sin r = r + r^3 (...) and cos r = 1 - r^2 / 2 + r^4 (...) on [-pi / 4, pi / 4].
  SIN: [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1],
  COS: [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2],
  // Half of erfc(z) e^(z^2) (1 + z / 2), in powers of 1 / (1 + z / 2), for z up to 10.5; and a half of the root of a half.
  TAIL: [
    0.141042784, 0.141195029, 0.121498309, 0.101554967, -0.013811728, 0.139756307, -0.244230449, 0.142591417,
    -0.0295966659,
  ],
  HALF_ROOT: 0.3535533906,
  // 2 / root pi times (-1)^i / (i! (2 i + 1)), from i = 9 down.
  ERF: [
    -1.6365844691e-7, 1.6462114365e-6, -1.4925650358e-5, 1.2055332982e-4, -8.5483270234e-4, 5.2239776254e-3,
    -2.6866170645e-2, 1.1283791671e-1, -3.7612638903e-1, 1.1283791671,
  ],
  // Above these magnitudes an exponential may not be a normal number: in `exp` and the like, and in tanh and erf.
  EXP_REACH: 87,
  TANH_REACH: 9,
} as const satisfies Readonly<Record<string, number | readonly number[]>>;
