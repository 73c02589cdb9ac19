import { availableParallelism } from 'node:os';
import { full } from '../../masks/band';
import { WrongResultError } from '../../measure/gate';
import { summarise } from '../../measure/statistics';
import { blockMap, blockMapBytes } from '../../ops/attention/wasm-map';
import { backward } from '../attention-operations';
import { CHOSEN_LABEL, chosenMask, selectedBackward, selectedForward } from '../chosen-blocks';
import { checkBlockMap, timeBlockMap } from '../map-building';
import { PATIENCE } from '../measure';
import { type BenchOptions, commandLine } from '../options';
import { PEERS, type PeerName, peer } from '../peers';
import { extentOf, MASKS, type Problem, rowOf } from '../problem';
import type { BenchRow, Goal } from '../report';
import { runtimeOptions } from '../runtimes';
import { saccade } from '../saccade';
import { type Context, type PlannedRow, type Suite, timedSuite } from '../suite';
import { gridMasks, MAPS, type MeasuredMap, powerMask, type SparseMask, s2Mask, sequenceMasks } from './sparse-masks';

const D = 64;
const DENSE = 'dense';
const GROUPED = 's2-grouped';
/** With which part of the heads: the first keeps the scores of all, 9 GiB for four heads at n = 16384. */
const NATIVE = [
  { name: 'onnxruntime-node', part: 1 / 2 },
  { name: 'onnxruntime-node-gqa', part: 1 },
] as const satisfies readonly { readonly name: PeerName; readonly part: number }[];
/** What is measured beside native dense attention, over twice the tokens. */
const BESIDE_NATIVE = [powerMask, s2Mask];
/** Of the time of native dense attention. */
/** Rows of a selection of blocks beside the same blocks as a mask: the baseline, and the selection. */
const SELECTIONS = [
  { name: 'selection', beside: 'blocks', what: CHOSEN_LABEL, passes: [undefined, selectedForward] },
  {
    ...{ name: 'selection-backward', beside: 'blocks-backward', what: `gradients by ${CHOSEN_LABEL}` },
    passes: [backward, selectedBackward],
  },
] as const;
const SELECTION_GOAL: Goal = { measure: 'ratio', atMost: 1.05 };
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
  groups(context, options) {
    const { peers } = context;
    const { heads: h } = options;
    const groups = options.n.flatMap((n) => [
      ...sequenceMasks(n).map((masks) => besideDense(context, options, { n, h }, masks)),
      groupedHeads(context, options, n),
      ...selections(context, options, { n, h }),
      ...(peers ? NATIVE.map((native) => besideNative(native, peers, { context, options, n })) : []),
    ]);
    const grids = gridMasks().map(({ n, part = 1, masks }) =>
      besideDense(context, options, { n, h: Math.ceil(h * part) }, masks),
    );
    return [...groups, ...grids];
  },
});

/** Besides, how long it takes to build a tile map. */
export const sparseSuite: Suite = {
  ...attentionRows,
  async *run(context, options) {
    const { n, only } = options;
    yield* attentionRows.run(context, options);
    for (const extent of n)
      for (const map of MAPS)
        if (only.length === 0 || only.includes(map.name)) yield [mapRow(context, options, extent, map)];
  },
};

/** Dense attention and masks of the same extents. */
function besideDense(
  context: Context,
  options: BenchOptions,
  extents: Pick<Problem, 'n' | 'h' | 'g'>,
  masks: readonly SparseMask[],
): PlannedRow[] {
  const dense = ownRow(context, options, { ...extents, d: D, mask: MASKS.full });
  return [
    { ...dense, name: DENSE, label: DENSE, goal: undefined },
    ...masks.map(({ mask, label, goal }) => {
      const row = ownRow(context, options, { ...extents, d: D, mask });
      return { ...row, label, goal: goal ?? row.goal };
    }),
  ];
}

/** Blocks that are known when the call is, beside the same blocks as a mask, forward and backward. */
function selections(context: Context, options: BenchOptions, extents: Pick<Problem, 'n' | 'h'>): PlannedRow[][] {
  const mask = chosenMask(extents.n, extents.h);
  return SELECTIONS.map(({ name, beside, what, passes }) => {
    const [known, selected] = passes.map((operation) =>
      ownRow(context, options, { ...extents, d: D, mask, ...(operation && { operation }) }),
    ) as [PlannedRow, PlannedRow];
    return [
      { ...known, name: beside, label: `${what}, as a mask`, goal: undefined },
      { ...selected, name, label: `${what}, as a tensor`, goal: SELECTION_GOAL },
    ];
  });
}

/** S2 with as many query heads to a key/value head as in Phi-3-small; half as long, since dense attention takes its time. */
function groupedHeads(context: Context, options: BenchOptions, n: number): PlannedRow[] {
  const { heads: g } = options;
  const h = 4 * g;
  const [dense, row] = besideDense(context, options, { n: Math.ceil(n / 2), h, g }, [s2Mask]) as [
    PlannedRow,
    PlannedRow,
  ];
  const narrow = { n: [n] };
  const label = `${h} heads on ${g}`;
  return [
    { ...dense, label: `${dense.label}, ${label}`, narrow },
    { ...row, name: GROUPED, label: `${row.label}, ${label}`, narrow },
  ];
}

/** Masks beside dense causal attention of another system, over twice as many tokens. */
function besideNative(
  { name, part }: (typeof NATIVE)[number],
  folder: string,
  { context, options, n }: { readonly context: Context; readonly options: BenchOptions; readonly n: number },
): PlannedRow[] {
  const h = Math.ceil(options.heads * part);
  const extents = { n: 2 * n, h, d: D };
  const narrow = { n: [n], peers: true };
  const { label, how } = PEERS[name];
  const problem = { ...extents, mask: MASKS.causal };
  const heads = `${h} heads`;
  return [
    {
      name,
      label: `${label}, ${DENSE}, ${heads}`,
      how,
      problem,
      contender: peer(name, folder, options.threads),
      narrow,
    },
    ...BESIDE_NATIVE.map((sparse) => ({
      ...ownRow(context, options, { ...extents, mask: sparse.mask }),
      name: nameBeside(name, sparse.mask.name),
      label: `${sparse.label}, ${heads}`,
      goal: NATIVE_GOAL,
      narrow,
    })),
  ];
}

function nameBeside(peer: PeerName, mask: string): string {
  return `${mask}-beside-${peer}`;
}

/** A row of Saccade's, whose goal is the time that its share of tiles promises. */
function ownRow({ runtimes }: Context, { n, threads, simd }: BenchOptions, problem: Problem) {
  const visited = visitedShare(problem);
  return {
    name: problem.mask.name,
    problem,
    contender: saccade(runtimes, runtimeOptions({ threads, simd })),
    simd,
    known: { visited },
    goal: { measure: 'ratio', atMost: 1.15 * visited + 0.01 } as Goal,
    // Grids have extents of their own, whatever n is.
    narrow: { n: n.includes(problem.n) ? [problem.n] : n },
  };
}

/** Share of the tiles of dense attention that the mask visits. */
function visitedShare(problem: Problem): number {
  const extent = extentOf(problem);
  return blockMap(problem.mask, extent).visited / blockMap(full(), extent).visited;
}

function mapRow(
  { patience = PATIENCE }: Context,
  options: BenchOptions,
  n: number,
  { name, label, times, goal, make, definition = make }: MeasuredMap,
): BenchRow {
  const { repeats, heads: h } = options;
  const tokens = times * n;
  const problem: Problem = { n: tokens, h, d: D, mask: make(tokens) };
  const extent = extentOf(problem);
  const common = {
    name,
    label,
    ...rowOf(problem),
    threads: 1,
    goal,
    command: commandLine(sparseSuite.name, { ...options, n: [n], peers: false, only: [name] }, sparseSuite.defaults),
  };
  const sample = timeBlockMap(() => make(tokens), extent, { rounds: repeats, warmUp: patience.warmUp });
  const map = blockMap(problem.mask, extent);
  try {
    checkBlockMap(map, definition(tokens), extent);
  } catch (error) {
    if (!(error instanceof WrongResultError)) throw error;
    return { ...common, status: 'wrong', reason: error.message, measures: {} };
  }
  const { median: time, spread } = summarise(sample);
  const measures = { time, spread, rounds: repeats, visited: visitedShare(problem), memory: blockMapBytes(map) };
  return { ...common, status: 'ok', measures };
}
