import { availableParallelism } from 'node:os';
import { full } from '../../masks/band';
import { summarise } from '../../measure/statistics';
import { blockMap, blockMapBytes } from '../../ops/attention/block-map/cpu';
import { backward } from '../attention-operations';
import { CHOSEN_LABEL, chosenMask, selectedBackward, selectedForward } from '../chosen-blocks';
import { checkBlockMap, timeBlockMap } from '../map-building';
import { PATIENCE } from '../measure';
import type { BenchOptions } from '../options';
import { PEERS, type PeerName, peer } from '../peers';
import { extentOf, MASKS, type Problem } from '../problem';
import type { BenchRow, Goal } from '../report';
import { type Context, type PlannedRow, rowBy, type Suite, timedSuite } from '../suite';
import { gridMasks, MAPS, type MeasuredMap, powerMask, type SparseMask, s2Mask, sequenceMasks } from './sparse-masks';

const D = 64;
const DENSE = 'dense';
const GROUPED = 's2-grouped';
/** The share of the heads they get: the first keeps all scores, 9 GiB for four heads at n = 16384. */
const NATIVE = [
  { name: 'onnxruntime-node', part: 1 / 2 },
  { name: 'onnxruntime-node-gqa', part: 1 },
] as const satisfies readonly { readonly name: PeerName; readonly part: number }[];
/** What is measured beside native dense attention, over twice the tokens. */
const BESIDE_NATIVE = [powerMask, s2Mask];
/** Rows of a selection of blocks beside the same blocks as a mask: the baseline, and the selection. */
const SELECTIONS = [
  { name: 'selection', beside: 'blocks', what: CHOSEN_LABEL, passes: [undefined, selectedForward] },
  {
    name: 'selection-backward',
    beside: 'blocks-backward',
    what: `gradients by ${CHOSEN_LABEL}`,
    passes: [backward, selectedBackward],
  },
] as const;
const SELECTION_GOAL: Goal = { measure: 'ratio', atMost: 1.05 };
/** Beside the time of native dense attention. */
const NATIVE_GOAL: Goal = { measure: 'ratio', atMost: 1 / 5 };

const attentionRows = timedSuite({
  name: 'sparse',
  summary:
    'masks beside dense attention of the same extents: how much of the time goes with the tiles that are skipped',
  defaults: {
    n: [8192],
    heads: 8,
    threads: availableParallelism(),
    simd: undefined,
    repeats: 9,
    peers: false,
    only: [],
  },
  measures: ['time', 'spread', 'rounds', 'visited', 'ratio', 'efficiency', 'rate', 'peakShare', 'memory', 'error'],
  ratio:
    'time over that of the first of the rows measured in turns: dense attention of the same extents or, of a selection, the same blocks as a mask',
  ratioOf: 'time',
  names: () => [
    DENSE,
    ...[...sequenceMasks(D).flat(), ...gridMasks().flatMap(({ masks }) => masks)].map(({ mask }) => mask.name),
    GROUPED,
    ...SELECTIONS.flatMap(({ name, beside }) => [beside, name]),
    ...MAPS.map(({ name }) => name),
    ...NATIVE.flatMap(({ name }) => [name, ...BESIDE_NATIVE.map(({ mask }) => nameBeside(name, mask.name))]),
  ],
  groups(options, { peers }) {
    const { heads: h } = options;
    const groups = options.n.flatMap((n) => [
      ...sequenceMasks(n).map((masks) => besideDense(options, { n, h }, masks)),
      groupedHeads(options, n),
      ...selections(options, { n, h }),
      ...(peers ? NATIVE.map((native) => besideNative(native, peers, options, n)) : []),
    ]);
    const grids = gridMasks().map(({ n, part = 1, masks }) =>
      besideDense(options, { n, h: Math.ceil(h * part) }, masks),
    );
    return [...groups, ...grids];
  },
});

/** The rows of attention, and how long it takes to build a tile map. */
export const sparseSuite: Suite = {
  ...attentionRows,
  async *run(context, options) {
    const { n, only } = options;
    yield* attentionRows.run(context, options);
    for (const extent of n)
      for (const map of MAPS)
        if (only.length === 0 || only.includes(map.name)) yield [await mapRow(context, options, extent, map)];
  },
};

/** Dense attention and masks of the same extents. */
function besideDense(
  options: BenchOptions,
  extents: Pick<Problem, 'n' | 'h' | 'g'>,
  masks: readonly SparseMask[],
): PlannedRow[] {
  const dense = ownRow(options, { ...extents, d: D, mask: MASKS.full });
  return [
    { ...dense, name: DENSE, label: DENSE, goal: undefined },
    ...masks.map(({ mask, label, goal }) => {
      const row = ownRow(options, { ...extents, d: D, mask });
      return { ...row, label, goal: goal ?? row.goal };
    }),
  ];
}

/** Blocks that are known when the call is made, beside the same blocks as a mask, forward and backward. */
function selections(options: BenchOptions, extents: Pick<Problem, 'n' | 'h'>): PlannedRow[][] {
  const mask = chosenMask(extents.n, extents.h);
  return SELECTIONS.map(({ name, beside, what, passes }) => {
    const [known, selected] = passes.map((operation) =>
      ownRow(options, { ...extents, d: D, mask, ...(operation && { operation }) }),
    ) as [PlannedRow, PlannedRow];
    return [
      { ...known, name: beside, label: `${what}, as a mask`, goal: undefined },
      { ...selected, name, label: `${what}, as a tensor`, goal: SELECTION_GOAL },
    ];
  });
}

/** S2 with as many query heads for each key/value head as Phi-3-small; half as long, since dense attention is slow. */
function groupedHeads(options: BenchOptions, n: number): PlannedRow[] {
  const { heads: g } = options;
  const h = 4 * g;
  const rows = besideDense(options, { n: Math.ceil(n / 2), h, g }, [s2Mask]);
  return rows.map(({ name, label, ...row }) => ({
    ...row,
    name: name === DENSE ? DENSE : GROUPED,
    label: `${label}, ${h} heads on ${g}`,
    narrow: { n: [n] },
  }));
}

/** Masks beside dense causal attention of another system, over twice as many tokens. */
function besideNative(
  { name, part }: (typeof NATIVE)[number],
  folder: string,
  options: BenchOptions,
  n: number,
): PlannedRow[] {
  const h = Math.ceil(options.heads * part);
  const extents = { n: 2 * n, h, d: D };
  const narrow = { n: [n], peers: true };
  const { label, how } = PEERS[name];
  return [
    {
      name,
      label: `${label}, ${DENSE}, ${h} heads`,
      how,
      problem: { ...extents, mask: MASKS.causal },
      contender: peer(name, folder, options.threads),
      narrow,
    },
    ...BESIDE_NATIVE.map((sparse) => ({
      ...ownRow(options, { ...extents, mask: sparse.mask }),
      name: nameBeside(name, sparse.mask.name),
      label: `${sparse.label}, ${h} heads`,
      goal: NATIVE_GOAL,
      narrow,
    })),
  ];
}

function nameBeside(peer: PeerName, mask: string): string {
  return `${mask}-beside-${peer}`;
}

/** A row of Saccade, whose goal is the time that its share of tiles predicts. */
function ownRow({ n }: BenchOptions, problem: Problem) {
  const visited = visitedShare(problem);
  return {
    name: problem.mask.name,
    problem,
    known: { visited },
    goal: { measure: 'ratio', atMost: 1.15 * visited + 0.01 } as Goal,
    // Grids have their own extents.
    narrow: { n: n.includes(problem.n) ? [problem.n] : n },
  };
}

/** Share of the tiles of dense attention that the mask visits. */
function visitedShare(problem: Problem): number {
  const extent = extentOf(problem);
  return blockMap(problem.mask, extent).visited / blockMap(full(), extent).visited;
}

async function mapRow(
  { patience = PATIENCE, signal }: Context,
  options: BenchOptions,
  n: number,
  { name, label, times, goal, make, definition = make }: MeasuredMap,
): Promise<BenchRow> {
  const { repeats, heads: h } = options;
  const tokens = times * n;
  const problem: Problem = { n: tokens, h, d: D, mask: make(tokens) };
  const extent = extentOf(problem);
  const measure = async () => {
    const sample = timeBlockMap(() => make(tokens), extent, { rounds: repeats, warmUp: patience.warmUp });
    const map = blockMap(problem.mask, extent);
    checkBlockMap(map, definition(tokens), extent);
    const { median: time, spread } = summarise(sample);
    return { time, spread, rounds: repeats, visited: visitedShare(problem), memory: blockMapBytes(map) };
  };
  const row = { name, label, problem, threads: 1, goal, narrow: { n: [n] } };
  return rowBy(sparseSuite, options, row, measure, signal);
}
