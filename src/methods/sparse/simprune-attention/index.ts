/**
 * Attention of the tokens of a picture without those that are much like others, whose results are copied.
 * Sources: OptiPrune, 2025, arXiv 2507.00789, by a third party's summary; formulas and defaults from the code of SiTo, on which it builds.
 */
import * as valibot from 'valibot';
import { ParameterError } from '../../../errors';
import { attention } from '../../../ops/attention';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { bindShapes } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { choice, number, scale, whole } from '../../schema';
import { type Pruning, pruned, rowsAt, together } from './prune';
import { reference } from './reference';

const extent = valibot.pipe(valibot.number(), valibot.integer(), valibot.minValue(1));

export const simpruneAttention = defineMethod({
  name: 'simprune-attention',
  short: 'SimPrune',
  family: 'sparse',
  summary: 'exact attention of the tokens of a picture that are least alike; the others copy its results',
  paper: '2507.00789',
  inputs: { q: 'b n h d', k: 'b n h d', v: 'b n h e', tokens: 'b n c' },
  optional: { noise: 'b n' },
  constants: ['tokens', 'noise'],
  outputs: { out: 'b n h e', kept: 'b n' },
  params: valibot.strictObject({
    grid: valibot.pipe(valibot.tuple([extent, extent]), valibot.description('rows and columns of the picture')),
    patch: whole('side of the squares of which one token each is always kept', { least: 1, preset: 2 }),
    ratio: number('share of the tokens that is pruned', { least: 0, below: 1, preset: 0.5 }),
    alpha: number('factor on the noise', { least: 0, preset: 0.1 }),
    recover: choice(
      ['after', 'before'],
      'whether pruned tokens copy the result of attention among the kept, or before it their queries, keys and values',
      'after',
    ),
    scale,
  }),
  isCausal: () => false,

  reference,

  forward({ q, k, v, tokens, noise }, params, control = {}) {
    const given = { q, k, v, tokens, ...(noise && { noise }) };
    checkFloat32(simpruneAttention.name, given, {});
    checkContiguous(given);
    const specs: Record<string, string> = { ...simpruneAttention.inputs, ...(noise && { noise: 'b n' }) };
    const shapes = { q: q.shape, k: k.shape, v: v.shape, tokens: tokens.shape, ...(noise && { noise: noise.shape }) };
    const { b, n } = bindShapes(specs, shapes) as { b: number; n: number };
    const pruning = pruningOf(params, n);
    const options = { ...(params.scale !== undefined && { scale: params.scale }), ...control };
    if (pruning.count === 0) {
      const { out } = attention(q, k, v, options);
      return { out: out as Tensor<'f32'>, kept: q.runtime.tensor(new Int32Array(b * n).fill(1), [b, n], 'i32') };
    }
    return q.runtime.scope(() => {
      const pictures = Array.from({ length: b }, (_, at) => {
        const own = (x: Tensor) => x.slice(0, at, at + 1).reshape(x.shape.slice(1));
        const { flags, tokens: kept, sources } = pruned(own(tokens), noise && own(noise), pruning);
        const all = (x: Tensor) => rowsAt(x, sources);
        const [queries, keys, values] = [q, k, v].map((x) => rowsAt(own(x), kept)) as [Tensor, Tensor, Tensor];
        const [seen, weighed] = params.recover === 'before' ? [all(keys), all(values)] : [keys, values];
        const one = (x: Tensor) => x.reshape([1, ...x.shape]);
        const { out } = attention(one(queries), one(seen), one(weighed), options);
        return { out: all((out as Tensor).reshape(out.shape.slice(1))), flags };
      });
      return {
        out: together(pictures.map(({ out }) => out)),
        kept: together(pictures.map(({ flags }) => flags)) as Tensor as Tensor<'i32'>,
      };
    });
  },

  layer: () => ({ parameters: {}, inputs: (x) => ({ tokens: x }) }),

  cost({ b, n, h, d, e, c }, params) {
    const count = Math.floor(params.ratio * n);
    const [left, bases] = [n - count, Math.floor(n / params.patch ** 2)];
    const keys = params.recover === 'before' ? n : left;
    const choosing = count === 0 ? 0 : 2 * c * (2 * n + n * bases + count * left);
    return {
      flops: b * (choosing + 2 * h * (d + e) * left * keys),
      bytes: 4 * b * n * (c + h * 2 * (d + e)),
      state: 0,
      visited: (left * keys) / (n * n),
    };
  },

  variants: ({ n }) => {
    const rows = Array.from({ length: Math.floor(Math.sqrt(n)) }, (_, at) => at + 1).filter((each) => n % each === 0);
    const most = rows.at(-1) as number;
    const grid: [number, number] = [most, n / most];
    return [{ grid, ratio: most > 1 ? 0.5 : 0 }];
  },
  page: () => import('./page'),
});

interface Params {
  readonly grid: readonly [number, number];
  readonly patch: number;
  readonly ratio: number;
  readonly alpha: number;
}

/** Throws unless the grid has n places and the ratio leaves the bases. */
function pruningOf({ grid, patch, ratio, alpha }: Params, n: number): Pruning {
  const [rows, columns] = grid;
  if (rows * columns !== n)
    throw new ParameterError(
      `grid must have the ${n} places of q, got ${rows} x ${columns}, which are ${rows * columns}`,
    );
  const bases = Math.floor(rows / patch) * Math.floor(columns / patch);
  const count = Math.floor(ratio * n);
  if (count > 0 && bases === 0)
    throw new ParameterError(`patch must be at most the sides of the grid, ${rows} x ${columns}, got ${patch}`);
  if (count > n - bases)
    throw new ParameterError(
      `ratio must leave one token of each patch, so be at most ${(n - bases) / n} here, got ${ratio}: ${count} of ${n} tokens, ${bases} patches`,
    );
  return { grid, patch, count, alpha };
}
