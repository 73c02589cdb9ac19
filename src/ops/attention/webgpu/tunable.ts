/** What is tuned of attention: other sizes to try than the table's, and the calls to try them on. */

import type { Tensor } from '../../../tensor/tensor';
import type { Tunable, Work } from '../../sizes/tunable';
import { attention } from '..';
import { type AttentionSizes, type RowsSizes, type Sizes, type TiledSizes, tableSizes } from './sizes';

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
    run({ q, k, v }, control) {
      const { out, lse } = attention(q as Tensor, k as Tensor, v as Tensor, { causal, ...control });
      return [out, lse];
    },
  };
}

const TILED: readonly TiledSizes[] = [
  { queries: 32, keys: 32, columns: 8, rows: 4, depth: 32, values: 8 },
  { queries: 32, keys: 32, columns: 4, rows: 4, depth: 16, values: 16 },
  { queries: 32, keys: 64, columns: 16, rows: 4, depth: 32, values: 16 },
  { queries: 64, keys: 32, columns: 8, rows: 4, depth: 32, values: 16 },
  { queries: 64, keys: 32, columns: 8, rows: 8, depth: 32, values: 16 },
  { queries: 64, keys: 64, columns: 8, rows: 4, depth: 32, values: 16 },
  { queries: 64, keys: 64, columns: 8, rows: 4, depth: 32, values: 32 },
  { queries: 64, keys: 64, columns: 8, rows: 8, depth: 16, values: 16 },
  { queries: 64, keys: 64, columns: 16, rows: 4, depth: 16, values: 16 },
  { queries: 64, keys: 64, columns: 16, rows: 8, depth: 16, values: 16 },
  { queries: 128, keys: 32, columns: 8, rows: 8, depth: 16, values: 16 },
  { queries: 128, keys: 64, columns: 16, rows: 8, depth: 16, values: 16 },
];

/** Kernels of short loops, since software takes long to compile others. */
function rowsFor(subgroup: number | undefined): RowsSizes[] {
  const alone = [
    { lanes: 8, rows: 2, keys: 8, shares: false },
    { lanes: 8, rows: 4, keys: 4, shares: false },
  ];
  if (!subgroup || subgroup % 4 !== 0 || subgroup > 16) return alone;
  const together = [4, 8].flatMap((keys) =>
    [16, 32].map((queries) => ({ lanes: subgroup, rows: queries / subgroup, keys, shares: true })),
  );
  return [...alone, ...together];
}

const inWords = (sizes: object) =>
  Object.entries(sizes)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');

export const TUNABLE: { readonly [Name in keyof Sizes]: Tunable<Sizes[Name]> } = {
  // Its last kernel, that of large problems.
  attention: {
    table: (device) => tableSizes(device).attention,
    candidates(table, device) {
      const last: readonly AttentionSizes[] = device.isSoftware
        ? rowsFor(device.subgroupSize).map((rows) => ({ rows }))
        : TILED.map((tiled) => ({ tiled }));
      return last.map((kernel) => [...table.slice(0, -1), kernel]);
    },
    label(kernels) {
      const kernel = kernels.at(-1) as AttentionSizes;
      return 'rows' in kernel ? `by rows: ${inWords(kernel.rows)}` : `tiled: ${inWords(kernel.tiled)}`;
    },
    // So large that software takes them for large problems too.
    trials: (quick) => [
      attentionWork({ n: 523, m: 541, h: 2, g: 1, d: 60, e: 64, causal: true }),
      ...(quick ? [] : [attentionWork({ n: 523, m: 541, h: 1, d: 128, e: 124 })]),
    ],
    timed(isSoftware, quick) {
      const [n, h] = isSoftware ? [512, 2] : [4096, 16];
      if (quick) return [attentionWork({ n: isSoftware ? n : n / 2, h, d: 64 })];
      return [attentionWork({ n, h, d: 64 }), attentionWork({ n: n / 2, h: 2 * h, d: 128 })];
    },
  },
  // Over which a decoding step splits its keys.
  workgroups: {
    table: (device) => tableSizes(device).workgroups,
    candidates: (_, { isSoftware }) => (isSoftware ? [2, 4, 8, 16] : [64, 128, 256, 512, 1024, 2048]),
    label: String,
    trials: () => [attentionWork({ n: 1, m: 1031, h: 2, g: 1, d: 64 })],
    timed: (isSoftware) =>
      (isSoftware ? [1024, 4096] : [4096, 32768]).map((m) => attentionWork({ n: 1, m, h: 8, g: 2, d: 64 })),
  },
};
