/** Kernels of points: what they are, checked. */
import { checkKnown, checkWhole, isRecord, show } from '../check';
import { ParameterError } from '../errors';
import { checkTensors } from '../ops/check';
import { Tensor } from '../tensor/tensor';

/** A length by which coordinates are divided: a number above 0, or a tensor of one, which then has a gradient. */
type Bandwidth = number | Tensor;

export type Kernel =
  /** x . y */
  | { readonly kernel: 'linear' }
  /** exp(-|x - y|^2 / (2 s^2)), s the bandwidth, 1 by default. */
  | { readonly kernel: 'gaussian'; readonly bandwidth?: Bandwidth | undefined }
  /** exp(-|x - y|_1 / s) */
  | { readonly kernel: 'laplace'; readonly bandwidth?: Bandwidth | undefined }
  /** With r = |x - y| / s: e^-r for smoothness 0.5, (1 + a) e^-a, a = sqrt(3) r, for 1.5 (default), and for 2.5 (1 + a + a^2 / 3) e^-a, a = sqrt(5) r. */
  | {
      readonly kernel: 'matern';
      readonly bandwidth?: Bandwidth | undefined;
      readonly smoothness?: 0.5 | 1.5 | 2.5 | undefined;
    }
  /** (x . y + offset)^degree, 1 and 3 by default. */
  | { readonly kernel: 'polynomial'; readonly offset?: number | undefined; readonly degree?: number | undefined }
  /** |x|^n |y|^n J_n(t) / pi of the angle t, n the order: 0, 1 (default) or 2. */
  | { readonly kernel: 'arc-cosine'; readonly order?: 0 | 1 | 2 | undefined }
  /**
   * That of a layer of attention with infinitely many random heads: points are a query and keys of `width` numbers each, side by
   * side. The mean over pairs of keys of E relu(s) relu(s') z . z', s = q^T W z, W of entries of variance 1/4, all with a 1 behind.
   */
  | { readonly kernel: 'attention'; readonly width: number };

const KERNELS = ['linear', 'gaussian', 'laplace', 'matern', 'polynomial', 'arc-cosine', 'attention'] as const;

/** What each kernel takes, with defaults. */
const DEFAULTS: Readonly<Record<Kernel['kernel'], Readonly<Record<string, number>>>> = {
  linear: {},
  gaussian: { bandwidth: 1 },
  laplace: { bandwidth: 1 },
  matern: { bandwidth: 1, smoothness: 1.5 },
  polynomial: { offset: 1, degree: 3 },
  'arc-cosine': { order: 1 },
  attention: { width: Number.NaN },
};

/** A kernel with all that it takes. */
export interface CheckedKernel {
  readonly kernel: Kernel['kernel'];
  readonly bandwidth: Bandwidth;
  readonly smoothness: number;
  readonly offset: number;
  readonly degree: number;
  readonly order: number;
  readonly width: number;
}

/** @throws {ParameterError} an unknown kernel, and what it does not take or cannot be */
export function checkKernel(kernel: Kernel): CheckedKernel {
  const given = kernel as unknown as Readonly<Record<string, unknown>>;
  if (!isRecord(kernel))
    throw new ParameterError(`kernel must be an object such as { kernel: 'gaussian' }, got ${show(kernel)}`);
  if (!KERNELS.includes(given.kernel as 'linear'))
    throw new ParameterError(`kernel of kernel must be one of ${KERNELS.join(', ')}, got ${show(given.kernel)}`);
  const own = DEFAULTS[kernel.kernel];
  checkKnown(
    'kernel',
    given,
    ['kernel', ...Object.keys(own)],
    (name) => `the ${kernel.kernel} kernel takes no '${name}'`,
  );
  const all = { bandwidth: 1, smoothness: 1.5, offset: 1, degree: 3, order: 1, width: 1, ...own };
  for (const name of Object.keys(own)) if (given[name] !== undefined) all[name as 'bandwidth'] = given[name] as number;
  const { bandwidth, smoothness, offset, degree, order, width } = all as unknown as CheckedKernel;
  if ((bandwidth as unknown) instanceof Tensor) checkTensors({ bandwidth: bandwidth as Tensor });
  else if (
    !(Number.isFinite(bandwidth) && (bandwidth as number) > 0 && Number.isFinite(1 / Math.fround(bandwidth as number)))
  )
    throw new ParameterError(
      `bandwidth must be a finite number > 0 that float32 can hold, or a tensor, got ${show(bandwidth)}`,
    );
  if (![0.5, 1.5, 2.5].includes(smoothness))
    throw new ParameterError(`smoothness must be 0.5, 1.5 or 2.5, got ${show(smoothness)}`);
  if (!Number.isFinite(offset)) throw new ParameterError(`offset must be a finite number, got ${show(offset)}`);
  checkWhole('degree', degree, 1, 64);
  checkWhole('order', order, 0, 2);
  checkWhole('width', width, 1);
  return { kernel: kernel.kernel, bandwidth, smoothness, offset, degree, order, width };
}
