/** Arc-cosine kernels of Cho and Saul 2009, of orders 0 to 2, with derivatives that have no poles. */
import { distances } from '../ops/distances';
import { multiply } from '../ops/map';
import { map } from '../ops/map/map';
import { matmul } from '../ops/matmul';
import { sum } from '../ops/reduce';
import { withDerivative } from '../tape';
import type { Tensor } from '../tensor/tensor';

/** |x|^n |y|^n J_n(t) / pi of points x [n, p] and y [m, p] -> [n, m]; not halved. */
export function arcCosineMatrix(x: Tensor, y: Tensor, order: number): Tensor {
  const [ofX, ofY] = [lengths(x), lengths(y)];
  if (order === 0) return ofAngles(unit(x, ofX), unit(y, ofY));
  return ofProducts(matmul(x, y, { transposeB: true }), ofX, ofY.reshape([1, -1]), order);
}

/** The same of order 1 or 2 from products [..., n, m] and lengths [..., n, 1] and [..., 1, m]. */
export const ofProducts = (dots: Tensor, ofX: Tensor, ofY: Tensor, order: number): Tensor =>
  withDerivative(
    (dot, a, b) => (order === 1 ? first(dot, a, b).value : second(dot, a, b).value),
    ({ inputs: [dot, a, b], gradients }) => {
      const { byDot, byA, byB } = order === 1 ? first(dot, a, b) : second(dot, a, b);
      const gradOut = gradients as Tensor;
      return [
        multiply(gradOut, byDot),
        sum(multiply(gradOut, byA), { axes: [-1], keepDims: true }),
        sum(multiply(gradOut, byB), { axes: [-2], keepDims: true }),
      ];
    },
  )(dots, ofX, ofY);

/** The length of each point [..., p] -> [..., 1], whose slope at 0 is 0. */
export function lengths(x: Tensor): Tensor {
  const squares = sum(multiply(x, x), { axes: [-1], keepDims: true });
  return withDerivative(
    (s) => map((s) => Math.sqrt(s), s) as Tensor,
    ({ inputs: [s], gradients }) => [map((s, g) => (s > 0 ? (0.5 * g) / Math.sqrt(s) : 0), s, gradients as Tensor)],
  )(squares);
}

/** Points over their lengths; 0 stays 0. */
const unit = (x: Tensor, length: Tensor): Tensor => map((x, l) => (l > 0 ? x / l : 0), x, length);

/*
 * The angle t from its cosine c: acos by a polynomial in c of error 2e-8 (Abramowitz and Stegun, 4.4.46). J_1 = sin t + (pi - t) c
 * has the derivative pi - t = J_0 by c, and J_2 = 3 sin t c + (pi - t) (1 + 2 c^2) the derivative 4 J_1.
 */
function first(dot: Tensor, a: Tensor, b: Tensor) {
  const [value, byDot, byA, byB] = map(
    (dot, a, b) => {
      const c = a * b > 0 ? Math.max(-1, Math.min(1, dot / (a * b))) : 0;
      const m = Math.abs(c);
      const low = 1.570796305 + m * (-0.2145988016 + m * (0.0889789874 - 0.0501743046 * m));
      const high = 0.030891881 + m * (-0.0170881256 + m * (0.0066700901 - 0.0012624911 * m));
      const near = Math.sqrt(1 - m) * (low + m * m * m * m * high);
      const rest = c < 0 ? near : Math.PI - near;
      const sine = Math.sqrt(Math.max(0, 1 - c * c));
      return [(a * b * (sine + rest * c)) / Math.PI, rest / Math.PI, (b * sine) / Math.PI, (a * sine) / Math.PI];
    },
    dot,
    a,
    b,
  ) as [Tensor, Tensor, Tensor, Tensor];
  return { value, byDot, byA, byB };
}

function second(dot: Tensor, a: Tensor, b: Tensor) {
  const [value, byDot, byA, byB] = map(
    (dot, a, b) => {
      const c = a * b > 0 ? Math.max(-1, Math.min(1, dot / (a * b))) : 0;
      const m = Math.abs(c);
      const low = 1.570796305 + m * (-0.2145988016 + m * (0.0889789874 - 0.0501743046 * m));
      const high = 0.030891881 + m * (-0.0170881256 + m * (0.0066700901 - 0.0012624911 * m));
      const near = Math.sqrt(1 - m) * (low + m * m * m * m * high);
      const rest = c < 0 ? near : Math.PI - near;
      const sine = Math.sqrt(Math.max(0, 1 - c * c));
      const one = sine + rest * c;
      const two = 3 * sine * c + rest * (1 + 2 * c * c);
      return [
        (a * a * b * b * two) / Math.PI,
        (4 * a * b * one) / Math.PI,
        (2 * a * b * b * (two - 2 * c * one)) / Math.PI,
        (2 * a * a * b * (two - 2 * c * one)) / Math.PI,
      ];
    },
    dot,
    a,
    b,
  ) as [Tensor, Tensor, Tensor, Tensor];
  return { value, byDot, byA, byB };
}

/**
 * (pi - t) / pi of unit vectors, from the lengths of u - v and u + v, since the cosine tells small angles badly. Equal vectors
 * have gradient 0.
 */
function ofAngles(u: Tensor, v: Tensor): Tensor {
  const apart = distances(u, v);
  const minus = multiply(v, v.runtime.tensor([-1], []));
  const along = distances(u, minus);
  return withDerivative(
    (apart, along) =>
      map(
        (apart, along) => {
          // t = 2 asin(s) of the smaller of both halves, by its series' polynomial.
          const isNear = apart < along;
          const s = 0.5 * Math.sqrt(Math.min(apart, along));
          const near = 1.570796305 + s * (-0.2145988016 + s * (0.0889789874 - 0.0501743046 * s));
          const far = 0.030891881 + s * (-0.0170881256 + s * (0.0066700901 - 0.0012624911 * s));
          const q = s * s;
          const small =
            s * (1 + q * (0.16666666666666666 + q * (0.075 + q * (0.044642857142857144 + q * 0.030381944444444444))));
          const large = Math.PI / 2 - Math.sqrt(1 - s) * (near + s * s * s * s * far);
          const half = s < 0.25 ? small : large;
          return 1 - (2 * (isNear ? half : Math.PI / 2 - half)) / Math.PI;
        },
        apart,
        along,
      ) as Tensor,
    ({ inputs: [apart, along], gradients }) => [
      // |u - v|^2 = 4 sin^2(t / 2): dt = d|u - v|^2 / (2 sin t), where 2 sin t = |u - v| |u + v|.
      map(
        (apart, along, g) => (apart * along > 0 ? -g / (Math.PI * Math.sqrt(apart * along)) : 0),
        apart,
        along,
        gradients as Tensor,
      ),
      undefined,
    ],
  )(apart, along);
}
