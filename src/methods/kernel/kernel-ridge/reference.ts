/** Kernel ridge regression by plain loops in float64. */
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { addTo, dot, rowOf, tensor, type Wide, zeros } from '../../reference';

interface Params {
  readonly kernel: string;
  readonly bandwidth?: number | undefined;
  readonly offset?: number | undefined;
  readonly degree?: number | undefined;
  readonly order?: number | undefined;
  readonly ridge: number;
}

type Inputs = Readonly<Record<'support' | 'labels' | 'query', HostTensor>>;

/** The kernel of two points, and `weight` times its gradients, added to those of the points. */
interface PointKernel {
  value(a: Float64Array, b: Float64Array): number;
  addGradients(a: Float64Array, b: Float64Array, weight: number, gradA: Float64Array, gradB: Float64Array): void;
}

/** out = K(query, support) (K(support, support) + ridge I)^-1 labels. */
export function reference(
  { support, labels, query }: Inputs,
  params: Params,
  gradOut?: HostTensor,
): Record<string, Wide> {
  const [s, p] = support.shape as [number, number];
  const [m, c] = [query.shape[0] as number, labels.shape[1] as number];
  const kernel = kernelOf(params);
  const [points, targets, asked] = [support, labels, query].map(toFloat64) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const matrix = Array.from({ length: s }, (_, i) =>
    Float64Array.from(
      { length: s },
      (_, j) => kernel.value(rowOf(points, i, p), rowOf(points, j, p)) + (i === j ? params.ridge : 0),
    ),
  );
  const solveFor = (right: Float64Array) => solved(matrix, right, c);
  const weights = solveFor(targets);
  const out = zeros([m, c]);
  const across = Array.from({ length: m }, (_, i) =>
    Float64Array.from({ length: s }, (_, j) => kernel.value(rowOf(asked, i, p), rowOf(points, j, p))),
  );
  for (let i = 0; i < m; i++)
    for (let j = 0; j < s; j++) addTo(rowOf(out.data, i, c), rowOf(weights, j, c), across[i]![j]!);
  if (!gradOut) return { out };

  const byOut = toFloat64(gradOut);
  const [gradSupport, gradQuery] = [zeros([s, p]), zeros([m, p])];
  const byWeights = new Float64Array(s * c);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < s; j++) {
      addTo(rowOf(byWeights, j, c), rowOf(byOut, i, c), across[i]![j]!);
      const weight = dot(rowOf(byOut, i, c), rowOf(weights, j, c));
      kernel.addGradients(
        rowOf(asked, i, p),
        rowOf(points, j, p),
        weight,
        rowOf(gradQuery.data, i, p),
        rowOf(gradSupport.data, j, p),
      );
    }
  }
  const gradLabels = solveFor(byWeights);
  for (let i = 0; i < s; i++) {
    for (let j = 0; j < s; j++) {
      const weight = -dot(rowOf(gradLabels, i, c), rowOf(weights, j, c));
      kernel.addGradients(
        rowOf(points, i, p),
        rowOf(points, j, p),
        weight,
        rowOf(gradSupport.data, i, p),
        rowOf(gradSupport.data, j, p),
      );
    }
  }
  return { out, grad_support: gradSupport, grad_labels: tensor(gradLabels, [s, c]), grad_query: gradQuery };
}

/** By elimination with pivoting. */
function solved(matrix: readonly Float64Array[], right: Float64Array, columns: number): Float64Array {
  const n = matrix.length;
  const a = matrix.map((row) => row.slice());
  const x = Array.from({ length: n }, (_, i) => right.slice(i * columns, (i + 1) * columns));
  for (let k = 0; k < n; k++) {
    let best = k;
    for (let i = k; i < n; i++) if (Math.abs(a[i]![k]!) > Math.abs(a[best]![k]!)) best = i;
    [a[k], a[best]] = [a[best]!, a[k]!];
    [x[k], x[best]] = [x[best]!, x[k]!];
    for (let i = k + 1; i < n; i++) {
      const factor = -a[i]![k]! / a[k]![k]!;
      addTo(a[i]!, a[k]!, factor);
      addTo(x[i]!, x[k]!, factor);
    }
  }
  for (let k = n - 1; k >= 0; k--) {
    for (let j = k + 1; j < n; j++) addTo(x[k]!, x[j]!, -a[k]![j]!);
    for (let c = 0; c < columns; c++) x[k]![c]! /= a[k]![k]!;
  }
  return Float64Array.from(x.flatMap((row) => [...row]));
}

function kernelOf({ kernel, bandwidth = 1, offset = 1, degree = 3, order = 1 }: Params): PointKernel {
  switch (kernel) {
    case 'gaussian':
      return ofDifferences(
        (difference) => Math.exp(-dot(difference, difference) / (2 * bandwidth ** 2)),
        (difference, value) => difference.map((each) => (-value * each) / bandwidth ** 2),
      );
    case 'laplace':
      return ofDifferences(
        (difference) => Math.exp(-difference.reduce((sum, each) => sum + Math.abs(each), 0) / bandwidth),
        (difference, value) => difference.map((each) => (-value * Math.sign(each)) / bandwidth),
      );
    case 'arc-cosine':
      return arcCosine(order);
    case 'polynomial':
      return ofProducts(
        (t) => (t + offset) ** degree,
        (t) => degree * (t + offset) ** (degree - 1),
      );
    default:
      return ofProducts(
        (t) => t,
        () => 1,
      );
  }
}

const ofDifferences = (
  kernelAt: (difference: Float64Array) => number,
  slopeOf: (difference: Float64Array, value: number) => Float64Array,
): PointKernel => {
  const between = (a: Float64Array, b: Float64Array) => a.map((each, k) => each - b[k]!);
  return {
    value: (a, b) => kernelAt(between(a, b)),
    addGradients(a, b, weight, gradA, gradB) {
      const difference = between(a, b);
      const slope = slopeOf(difference, kernelAt(difference));
      addTo(gradA, slope, weight);
      addTo(gradB, slope, -weight);
    },
  };
};

const ofProducts = (kernelAt: (t: number) => number, slopeOf: (t: number) => number): PointKernel => ({
  value: (a, b) => kernelAt(dot(a, b)),
  addGradients(a, b, weight, gradA, gradB) {
    const factor = weight * slopeOf(dot(a, b));
    const [left, right] = [a.slice(), b.slice()];
    addTo(gradA, right, factor);
    addTo(gradB, left, factor);
  },
});

/** |a|^n |b|^n J_n(t) / pi; the angle of a point with itself has no gradient. */
function arcCosine(order: number): PointKernel {
  const partsOf = (a: Float64Array, b: Float64Array) => {
    const [x, y] = [Math.sqrt(dot(a, a)), Math.sqrt(dot(b, b))];
    const isSame = a.every((each, k) => each === b[k]);
    const cosine = isSame ? 1 : Math.max(-1, Math.min(1, dot(a, b) / (x * y)));
    return { x, y, cosine, angle: Math.acos(cosine), isSame };
  };
  const jOf = (t: number) =>
    [
      Math.PI - t,
      Math.sin(t) + (Math.PI - t) * Math.cos(t),
      3 * Math.sin(t) * Math.cos(t) + (Math.PI - t) * (1 + 2 * Math.cos(t) ** 2),
    ] as const;
  return {
    value(a, b) {
      const { x, y, angle } = partsOf(a, b);
      return ((x * y) ** order * jOf(angle)[order]!) / Math.PI;
    },
    addGradients(a, b, weight, gradA, gradB) {
      const { x, y, cosine, angle, isSame } = partsOf(a, b);
      const j = jOf(angle);
      const slope = isSame ? 0 : [1 / Math.sin(angle), j[0], 4 * j[1]][order]!;
      const scale = (weight * (x * y) ** order) / Math.PI;
      const [left, right] = [a.slice(), b.slice()];
      // d cosine / da = b / (x y) - cosine a / x^2, and d x^n / da = n x^n a / x^2.
      addTo(gradA, right, (scale * slope) / (x * y));
      addTo(gradB, left, (scale * slope) / (x * y));
      addTo(gradA, left, (scale * (order * j[order]! - slope * cosine)) / x ** 2);
      addTo(gradB, right, (scale * (order * j[order]! - slope * cosine)) / y ** 2);
    },
  };
}
