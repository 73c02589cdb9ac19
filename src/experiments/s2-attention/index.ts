/** Whether the shards of S2-Attention's heads make up the context, and whether fewer blocks are less time here. */
import { area } from '../../masks/area';
import { causal } from '../../masks/band';
import { oneHead } from '../../masks/mask';
import { isKvCacheEfficient, isUnionComplete, type S2Pattern, s2, s2Blocks } from '../../masks/s2';
import { sees } from '../../methods/sparse/s2-attention/reference';
import { formatPercent, formatRatio, significant } from '../../text/format';
import { byLabel, chart, defineExperiment, figure, type MeasureContext, OF_POSSIBLE, share } from '../experiment';
import { DENSE, timeBesideCausal } from '../mask-speed';

const BLOCK = 64;
/** Heads of which Phi-3-small's 32 queries share 8 keys and values. */
const PHI = { localBlocks: 16, verticalStride: 8 };

/** As the model card and the benchmark of the code have them, and one that is mostly far blocks. */
const SETTINGS = [
  { what: 'Phi-3-small', n: 8192, h: 32, ...PHI },
  { what: 'Phi-3-small', n: 131_072, h: 32, ...PHI },
  { what: "the code's benchmark", n: 8192, h: 16, localBlocks: 8, verticalStride: 16 },
  { what: "the code's benchmark", n: 32_768, h: 16, localBlocks: 8, verticalStride: 16 },
  { what: 'one local block', n: 131_072, h: 32, localBlocks: 1, verticalStride: 15 },
];

export const experiment = defineExperiment({
  title: 'the union of the shards of all heads, their density, and time beside dense causal attention',
  claims: {
    union: {
      claim: 'Each head reads a shard of the context; together the heads read all of it.',
      source: 'paper, abstract; code, get_sparse_attn_mask',
      criteria: { least: share('least share of the past blocks that some head sees', [1, 1]) },
      byConstruction: true,
    },
    phases: {
      claim: 'The union is complete exactly if the heads have as many phases as the stride, or one is dense.',
      source: 'reconstructed from the code',
      criteria: { agreeing: share('share of the settings in which that is so', [1, 1]) },
      byConstruction: true,
    },
    density: {
      claim: 'Of the blocks below the diagonal a head reads about (L + (i + 1 - L) / V) / (i + 1) in row i.',
      source: 'reconstructed from the code',
      criteria: { distance: share('largest distance from the densities expected', [0, 5e-4]) },
      byConstruction: true,
    },
    cache: {
      claim: 'A block that a head drops is never needed again, so that its cache shrinks as its work does.',
      source: 'code, is_kv_cache_efficient',
      criteria: {
        absolute: share('share of the absolute patterns for which it holds', [1, 1]),
        relative: share('of the relative ones of a stride above 1', [0, 0]),
      },
      byConstruction: true,
    },
    speed: {
      claim: 'Fewer blocks are less time: up to 25.3 times as fast as FlashAttention-2.',
      source: 'abstract, versions 1 and 5 (8.79, 15.87 and 25.3; the settings are not in it)',
      criteria: {
        step: figure('least gain from one pattern to the next sparser, ratio', [1.05, 3], [0.95, 3], [0.2, 3]),
        share: figure('least speed-up, of what the pairs saved allow', [0.5, 1.15], [0.25, 1.15], OF_POSSIBLE),
      },
      untested: 'The figures are of GPUs, and their settings are not known.',
      timed: true,
    },
  },
  measure: { union, phases, density, cache, speed },
});

/** The share of past block pairs that some head sees. */
function unionOf(pattern: S2Pattern, blocks: number, h: number, g: number): number {
  const mask = s2Blocks(pattern);
  let seen = 0;
  for (let i = 0; i < blocks; i++) {
    const isSeen = new Uint8Array(blocks);
    for (let head = 0; head < h; head++) {
      const keys = mask.intervals?.(i, { ...oneHead(blocks, blocks), h, g, head }) ?? [];
      for (let at = 0; at < keys.length; at += 2) isSeen.fill(1, keys[at], keys[at + 1]);
    }
    seen += isSeen.reduce((sum, one) => sum + one, 0);
  }
  return seen / ((blocks * (blocks + 1)) / 2);
}

function union() {
  const shares = SETTINGS.map(({ n, h, localBlocks, verticalStride }) =>
    unionOf({ localBlocks, verticalStride }, Math.min(n / BLOCK, 512), h, h),
  );
  const phi = unionOf(PHI, 128, 32, 8);
  return {
    measured: `every past block is seen by some head in ${shares.filter((share) => share === 1).length} of ${shares.length} settings, and with the 8 key/value heads of Phi-3-small: ${formatPercent(phi)}`,
    values: { least: Math.min(phi, ...shares) },
    details: 'Counted block by block, up to 512 blocks.',
  };
}

function phases() {
  const pattern = { localBlocks: 2, verticalStride: 8 };
  const heads = [1, 2, 4, 6, 8, 12, 16];
  const shares = heads.map((g) => unionOf(pattern, 128, g, g));
  const homogeneous = unionOf({ ...pattern, homogeneous: true }, 128, 8, 8);
  const dense = unionOf({ ...pattern, denseHeads: 1 }, 128, 4, 4);
  // The pattern follows key/value heads, however many query heads share one.
  const grouped = heads.filter((g) => 16 % g === 0).map((g) => ({ g, share: unionOf(pattern, 128, 16, g) }));
  const agrees = [
    ...grouped.map(({ g, share }) => (share === 1) === g >= 8 && isUnionComplete(pattern, { h: 16, g }) === g >= 8),
    homogeneous < 1,
    dense === 1,
  ];
  return {
    measured: `stride 8, 16 query heads: ${grouped.map(({ g, share }) => `${formatPercent(share)} with ${g}`).join(', ')} key/value heads; alike ${formatPercent(homogeneous)}, one of 4 dense ${formatPercent(dense)}`,
    values: { agreeing: agrees.filter(Boolean).length / agrees.length },
    details: 'Two local blocks of 128.',
    series: chart(
      'Past blocks seen by some head, by the number of heads (default step, stride 8)',
      { heads: heads },
      { share: shares },
    ),
  };
}

function density({ quick }: MeasureContext) {
  // Computed from the formula, independently of the mask.
  const known = [0.329, 0.1386, 0.1756, 0.0915, 0.0676];
  const rows = SETTINGS.map((setting, at) => ({ ...setting, known: known[at]! })).filter(
    ({ n }) => !quick || n < 10_000,
  );
  const densities = rows.map(({ n, h, localBlocks, verticalStride }) => {
    const extent = { b: 1, n: n / BLOCK, m: n / BLOCK, h, g: h };
    return area(s2Blocks({ localBlocks, verticalStride }), extent) / area(causal(), extent);
  });
  const distances = densities.map((share, at) => Math.abs(share - (rows[at] as { known: number }).known));
  return {
    measured: rows.map(({ what, n }, at) => `${what}, n = ${n}: ${significant(densities[at]!)}`).join('; '),
    values: { distance: Math.max(...distances) },
    details: `Expected: ${rows.map((row) => row.known).join(', ')}. In blocks of ${BLOCK}, averaged over all heads.`,
  };
}

function cache() {
  const patterns = [1, 2, 4].flatMap((localBlocks) =>
    [1, 2, 3, 8].map((verticalStride) => ({ localBlocks, verticalStride })),
  );
  const place = { ...oneHead(32, 32), h: 8, g: 8, head: 3 };
  const efficient = (positions: 'absolute' | 'relative') =>
    patterns.filter((pattern) => isKvCacheEfficient(s2Blocks({ ...pattern, positions }), place));
  const [absolute, relative] = [efficient('absolute'), efficient('relative')];
  const strided = (list: typeof patterns) => list.filter(({ verticalStride }) => verticalStride > 1).length;
  return {
    measured: `holds for ${absolute.length} of ${patterns.length} absolute patterns and ${relative.length} relative ones, those of stride 1`,
    values: { absolute: absolute.length / patterns.length, relative: strided(relative) / strided(patterns) },
    details: 'Asked of every pair of 32 blocks.',
  };
}

async function speed(context: MeasureContext) {
  const { quick } = context;
  const [n, h, d, block] = quick ? [1024, 8, 16, 8] : [8192, 16, 64, BLOCK];
  const patterns: (typeof PHI)[] = [
    PHI,
    { localBlocks: 8, verticalStride: 16 },
    { localBlocks: 4, verticalStride: 16 },
    { localBlocks: 1, verticalStride: 15 },
  ];
  const labels = patterns.map(({ localBlocks, verticalStride }) => `local ${localBlocks}, stride ${verticalStride}`);
  const settings = { headOffset: 0, denseHeads: 0, homogeneous: false, positions: 'absolute' } as const;
  const problem = {
    ...{ n, h, d },
    masks: byLabel(labels, (_, at) => s2({ block, ...patterns[at]! })),
    sees: byLabel(labels, (_, at) => sees({ block, ...patterns[at]!, ...settings }, { n, m: n, h, g: h })),
  };
  const { contest, densities, error } = await timeBesideCausal([problem], 40, context);
  const densityOf = (label: string) => densities[label]![0]!;
  const sparse = labels.map((label) => ({
    label,
    density: densityOf(label),
    speedup: contest.speedup(label, DENSE, 0).value,
  }));
  const realised = sparse.map(({ speedup, density }) => speedup * density);
  const step = contest.over((times) => {
    const all = Object.values(times).map(([time]) => time!);
    return Math.min(...all.slice(1).map((time, at) => all[at]! / time));
  });
  const share = contest.over((times) =>
    Math.min(...labels.map((label) => (times[DENSE]![0]! / times[label]![0]!) * densityOf(label))),
  );
  const all = { pattern: [DENSE, ...labels] };
  return {
    measured: sparse
      .map(
        ({ label, speedup, density }) => `${formatRatio(speedup)} at ${formatPercent(density)} of the pairs (${label})`,
      )
      .join('; '),
    values: { step, share },
    details: `Between ${formatPercent(Math.min(...realised))} and ${formatPercent(Math.max(...realised))} of what the pairs saved allow. Against dense causal attention of the same kernels, n = ${n}, h = ${h}, d = ${d}, f32, blocks of ${block}, forward only; the first setting is Phi-3-small's, which has 32 heads of 128. Each result was first checked against float64 on 12 queries: largest error ${error.toExponential(1)} of the largest |v|.`,
    series: [
      chart(`Speed-up over dense causal attention, n = ${n}`, all, {
        measured: [1, ...sparse.map(({ speedup }) => speedup)],
        'that the pairs saved allow': [1, ...sparse.map(({ density }) => 1 / density)],
      }),
      chart(`Milliseconds, n = ${n}`, all, { ms: Object.values(contest.medians).flat() }),
    ],
  };
}
