/** What is tuned: for entries of the table of sizes, other sizes to try and the calls to try them on. */
import { attention } from '../../ops/attention';
import type { Tensor } from '../../tensor/tensor';
import type { Control } from '../backend';
import type { Runtime } from '../runtime';
import type { Sizes } from './sizes';

type Inputs = Readonly<Record<string, Tensor>>;

/** A call. */
export interface Work {
  inputs(runtime: Runtime): Inputs;
  run(inputs: Inputs, control: Control): Promise<readonly Tensor[]>;
}

export interface Tunable<S> {
  /** To try on software or hardware, beside the table's. */
  candidates(table: S, isSoftware: boolean): readonly S[];
  /** Small ones of odd extents, whose results are checked. */
  trials(quick: boolean): readonly Work[];
  /** Those that are timed, one after the other. */
  timed(isSoftware: boolean, quick: boolean): readonly Work[];
}

interface Extents {
  readonly n: number;
  readonly m?: number;
  readonly h: number;
  readonly g?: number;
  readonly d: number;
  readonly e?: number;
  readonly causal?: boolean;
}

function attentionWork({ n, m = n, h, g = h, d, e = d, causal = false }: Extents): Work {
  return {
    inputs: (runtime) => ({
      q: runtime.random([1, n, h, d], { seed: 1 }),
      k: runtime.random([1, m, g, d], { seed: 2 }),
      v: runtime.random([1, m, g, e], { seed: 3 }),
    }),
    async run({ q, k, v }, control) {
      const { out, lse } = await attention(q as Tensor, k as Tensor, v as Tensor, { causal, ...control });
      return [out, lse];
    },
  };
}

/** Software takes long to compile large kernels. */
const ATTENTION: Readonly<Record<'software' | 'hardware', readonly Sizes['attention'][]>> = {
  software: [
    { queries: 16, keys: 16, columns: 4, rows: 4, depth: 16, values: 16 },
    { queries: 32, keys: 32, columns: 8, rows: 4, depth: 32, values: 8 },
    { queries: 32, keys: 16, columns: 4, rows: 4, depth: 16, values: 16 },
    { queries: 32, keys: 32, columns: 4, rows: 8, depth: 16, values: 16 },
    { queries: 64, keys: 32, columns: 8, rows: 8, depth: 32, values: 16 },
  ],
  hardware: [
    { queries: 32, keys: 32, columns: 8, rows: 4, depth: 32, values: 8 },
    { queries: 32, keys: 32, columns: 4, rows: 4, depth: 16, values: 16 },
    { queries: 32, keys: 64, columns: 16, rows: 4, depth: 32, values: 16 },
    { queries: 64, keys: 32, columns: 8, rows: 4, depth: 32, values: 16 },
    { queries: 64, keys: 32, columns: 8, rows: 8, depth: 32, values: 16 },
    { queries: 64, keys: 64, columns: 8, rows: 4, depth: 32, values: 32 },
    { queries: 64, keys: 64, columns: 8, rows: 8, depth: 16, values: 16 },
    { queries: 64, keys: 64, columns: 16, rows: 4, depth: 16, values: 16 },
    { queries: 64, keys: 64, columns: 16, rows: 8, depth: 16, values: 16 },
    { queries: 128, keys: 32, columns: 8, rows: 8, depth: 32, values: 16 },
    { queries: 128, keys: 64, columns: 16, rows: 8, depth: 16, values: 16 },
  ],
};

export const TUNABLE: { readonly [Name in keyof Sizes]?: Tunable<Sizes[Name]> } = {
  attention: {
    candidates: (_, isSoftware) => ATTENTION[isSoftware ? 'software' : 'hardware'],
    trials: (quick) => [
      attentionWork({ n: 75, m: 131, h: 2, g: 1, d: 60, e: 64, causal: true }),
      ...(quick ? [] : [attentionWork({ n: 67, m: 97, h: 1, d: 128, e: 124 })]),
    ],
    timed(isSoftware, quick) {
      const [n, h] = isSoftware ? [512, 2] : [4096, 16];
      if (quick) return [attentionWork({ n: n / 2, h, d: 64 })];
      return [attentionWork({ n, h, d: 64 }), attentionWork({ n: n / 2, h, d: 128 })];
    },
  },
};
