/**
 * Kernel ridge regression from a support: the classifier of kernel continual learning.
 * Source: Derakhshani et al. 2021, arXiv 2112.13410, and the code of their earlier paper, arXiv 2107.05757.
 */
import * as valibot from 'valibot';
import { ParameterError } from '../../../errors';
import { kernelMatrix } from '../../../kernels';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { solve } from '../../../ops/linalg';
import { add, multiply } from '../../../ops/map';
import { matmul } from '../../../ops/matmul';
import { bindShapes, type Shape } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { choice, number, whole } from '../../schema';
import { reference } from './reference';

const SHAPES = { support: 's p', labels: 's c', query: 'm p' } as const;
/** What each kernel takes. */
const TAKES: Readonly<Record<string, readonly string[]>> = {
  linear: [],
  gaussian: ['bandwidth'],
  laplace: ['bandwidth'],
  polynomial: ['offset', 'degree'],
  'arc-cosine': ['order'],
};
const NUMBERS = ['bandwidth', 'offset', 'degree', 'order'] as const;

const params = valibot.strictObject({
  kernel: choice(['linear', 'gaussian', 'laplace', 'polynomial', 'arc-cosine'], 'the kernel of two points', 'gaussian'),
  bandwidth: number('of gaussian, exp(-|a - b|^2 / (2 s^2)), and laplace, exp(-|a - b|_1 / s); else 1', { above: 0 }),
  offset: number('of polynomial, (a b + offset)^degree; else 1'),
  degree: whole('of polynomial; else 3', { least: 1, most: 64 }),
  order: whole('of arc-cosine, |a|^n |b|^n J_n / pi; else 1', { least: 0, most: 2 }),
  ridge: number('added to the diagonal of the kernel matrix as it is', { least: 0, preset: 0.1 }),
});
type KernelRidgeParams = valibot.InferOutput<typeof params>;

export const kernelRidge = defineMethod({
  name: 'kernel-ridge',
  family: 'kernel',
  short: 'ridge',
  summary: 'kernel ridge regression: labels of queries from those of a support, by one solve',
  paper: '2112.13410',
  inputs: SHAPES,
  outputs: { out: 'm c' },
  params,

  reference(inputs, params, gradOut) {
    check(inputs, params);
    return reference(inputs, params, gradOut);
  },

  forward({ support, labels, query }, params) {
    checkFloat32('kernel-ridge', { support, labels, query }, {});
    checkContiguous({ support, labels, query });
    const kernel = check({ support, labels, query }, params);
    const { runtime } = support;
    const [s, p] = support.shape as [number, number];
    return runtime.scope(() => {
      if (kernel.kernel === 'linear' && p < s) return { out: matmul(query, slopes(support, labels, params.ridge)) };
      const ridge = multiply(runtime.eye(s), runtime.tensor([params.ridge], []));
      const matrix = add(kernelMatrix(kernel, support, support), ridge);
      const weights = solve(matrix, labels, { assume: 'positive-definite', refine: 2 });
      return { out: matmul(kernelMatrix(kernel, query, support), weights) };
    });
  },

  cost: ({ s, p, c, m }) => ({
    flops: 2 * s * s * p + s ** 3 / 3 + 2 * s * s * c + 2 * m * s * (p + c),
    bytes: 4 * (s * (p + c) + m * (p + c)),
    state: 4 * s * (p + c),
  }),
  variants: () => [{}, { kernel: 'linear' }, { kernel: 'laplace' }, { kernel: 'polynomial' }, { kernel: 'arc-cosine' }],
  page: () => import('./page'),
});

/** (S^T S + ridge)^-1 S^T labels, which is the same for the linear kernel, and far from singular where points are many. */
function slopes(support: Tensor, labels: Tensor, ridge: number): Tensor {
  const { runtime } = support;
  const squares = matmul(support, support, { transposeA: true });
  const matrix = add(squares, multiply(runtime.eye(support.shape[1] as number), runtime.tensor([ridge], [])));
  const along = matmul(support, labels, { transposeA: true });
  return solve(matrix, along, { assume: 'positive-definite', refine: 2 });
}

/** The kernel that the params name, of inputs whose shapes fit. */
function check(
  inputs: Readonly<Record<keyof typeof SHAPES, { readonly shape: Shape }>>,
  { kernel, ...given }: KernelRidgeParams,
): Parameters<typeof kernelMatrix>[0] {
  const { support, labels, query } = inputs;
  bindShapes(SHAPES, { support: support.shape, labels: labels.shape, query: query.shape });
  const takes = TAKES[kernel] as readonly string[];
  const wrong = NUMBERS.find((name) => given[name] !== undefined && !takes.includes(name));
  if (wrong)
    throw new ParameterError(
      `${wrong} is no param of the ${kernel} kernel${takes.length > 0 ? `, which takes ${takes.join(' and ')}` : ', which takes none'}`,
    );
  const own = Object.fromEntries(
    NUMBERS.filter((name) => given[name] !== undefined).map((name) => [name, given[name]]),
  );
  return { kernel, ...own } as Parameters<typeof kernelMatrix>[0];
}
