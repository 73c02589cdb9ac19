import { rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import type { Contender } from '../contender';
import { readOfWeights } from '../decode-operations';
import { DECODER_SHAPES, WEIGHT_TYPES, type WeightType, weightBytes } from '../decoder-file';
import { cacheBytes, type DecoderWork, decoderFile, decoderFolder, decoderProblem } from '../decoder-operations';
import type { BenchOptions } from '../options';
import { peer } from '../peers';
import { MASKS } from '../problem';
import type { Goal } from '../report';
import { type Place, type PlannedRow, type Suite, timedSuite } from '../suite';

const ofRead = (share: number): Goal => ({ measure: 'ratio', atLeast: share });

/** By row, in the shape of Qwen3-0.6B. */
const GOALS: Readonly<Record<string, Goal>> = {
  'step-0-q8': ofRead(0.75),
  'step-0-q4': ofRead(0.6),
  'step-0-f16': ofRead(0.8),
  'step-4096-q8': ofRead(0.6),
  'overhead-f32': ofRead(1 / 1.1),
  'overhead-q8': ofRead(1 / 1.1),
  'overhead-q4': ofRead(1 / 1.1),
  'batch-8-q8': { measure: 'ratio', atLeast: 4 },
  'batch-8-f32': { measure: 'ratio', atLeast: 2.5 },
};

/** What WebAssembly's memory holds. */
const MOST_BYTES = 2 ** 32;

interface Peer {
  readonly label: string;
  readonly how: string;
  readonly types: readonly WeightType[];
  readonly batches?: boolean;
}

const PEERS: Readonly<Record<string, Peer>> = {
  'node-llama-cpp': { label: 'node-llama-cpp', how: 'native code: llama.cpp', types: WEIGHT_TYPES, batches: true },
  wllama: { label: 'wllama', how: 'WebAssembly in Chromium: llama.cpp', types: ['f16', 'q8', 'q4'] },
  'onnxruntime-node': {
    label: 'onnxruntime-node',
    how: 'native code: GroupQueryAttention, MatMul or MatMulNBits',
    types: ['f32', 'q8', 'q4'],
  },
  'onnxruntime-web': {
    label: 'onnxruntime-web',
    how: 'WebAssembly: GroupQueryAttention, MatMulNBits',
    types: ['q8', 'q4'],
  },
};

/** A read, and the row beside it; the products of a step, and a step; one sequence, and eight. */
function groups(options: BenchOptions, { peers }: Place): PlannedRow[][] {
  const { shape, types, quick } = options;
  const prompts = quick ? [128] : options.n;
  const cached = quick ? [0, 1024] : options.cached;
  const goalOf = (name: string) => (shape === 'qwen3-0.6b' ? GOALS[name] : undefined);
  const own = (work: DecoderWork, name = nameOf(work)): PlannedRow => ({
    name,
    label: labelOf(work),
    problem: decoderProblem(work),
    goal: goalOf(name),
  });
  return types.flatMap((type) => {
    const step = { shape, type, kind: 'step', n: 0 } as const;
    const works = [
      ...prompts.map((n): DecoderWork => ({ shape, type, kind: 'prompt', n })),
      ...cached.map((n) => ({ ...step, n })),
    ].filter((work) => weightBytes(DECODER_SHAPES[shape], type) + cacheBytes(work) < MOST_BYTES);
    return [
      ...works.map((work) => [read(), own(work)]),
      [own({ ...step, kind: 'products' }), own(step, `overhead-${type}`)],
      batch(own, step),
      ...(peers === undefined ? [] : besides(peers, works, step)),
    ];
  });

  function besides(folder: string, works: readonly DecoderWork[], step: DecoderWork): PlannedRow[][] {
    const known = Object.entries(PEERS).filter(([, { types }]) => types.includes(step.type));
    return known.flatMap(([peerName, { label, how, batches }]) => {
      const row = (work: DecoderWork, name = nameOf(work)): PlannedRow => ({
        ...own(work),
        name: `${peerName}-${name}`,
        label: `${label}: ${labelOf(work)}`,
        goal: undefined,
        how,
        narrow: { peers: true },
        contender: withFile(peer(`${peerName}-decoder`, folder, options.threads), work),
      });
      return [...works.map((work) => [read(), row(work)]), ...(batches ? [batch(row, step)] : [])];
    });
  }
}

function batch(row: (work: DecoderWork, name: string) => PlannedRow, step: DecoderWork): PlannedRow[] {
  return [1, 8].map((rows) => row({ ...step, rows }, `batch-${rows}-${step.type}`));
}

const read = (): PlannedRow => ({
  name: 'read',
  label: 'a read of weights in f32',
  problem: { n: 1, h: 1, d: 1024, mask: MASKS.full, operation: readOfWeights },
});
const nameOf = ({ kind, n, type }: DecoderWork) => (kind === 'products' ? `products-${type}` : `${kind}-${n}-${type}`);
const labelOf = ({ kind, n, type, rows = 1 }: DecoderWork) =>
  kind === 'prompt'
    ? `prompt of ${n}, ${type}`
    : kind === 'products'
      ? `products of a step, ${type}`
      : `step after ${n}${rows > 1 ? ` of ${rows} sequences` : ''}, ${type}`;

/** The contender, which finds the file of the weights. */
const withFile = (contender: Contender, work: DecoderWork): Contender => ({
  ...contender,
  async open(task, signal) {
    await decoderFile(work);
    return contender.open(task, signal);
  },
});

const timed = timedSuite({
  name: 'decoder',
  summary:
    'prompts and steps of a decoder with random weights of several types, beside a read of memory and other systems',
  defaults: {
    shape: 'qwen3-0.6b',
    types: WEIGHT_TYPES,
    n: [128, 512, 4096],
    cached: [0, 1024, 4096, 16_384],
    quick: false,
    budget: 86_400,
    threads: availableParallelism(),
    simd: undefined,
    repeats: 5,
    limit: 1800,
    peers: false,
    only: [],
  },
  measures: ['time', 'spread', 'rounds', 'tokens', 'bandwidth', 'memory', 'ratio', 'error'],
  ratio:
    'bytes of weights, keys and values a millisecond over those of the row before: a read, the products alone, or of a batch tokens over those of one sequence',
  ratioOf: 'bytes',
  names: (options) => [...new Set(groups(options, { peers: '' }).flatMap((rows) => rows.map(({ name }) => name)))],
  groups,
});

/** Until the budget is spent; the files of weights are deleted. */
export const decoderSuite: Suite = {
  ...timed,
  async *run(context, options) {
    const end = performance.now() + 1000 * options.budget;
    try {
      for await (const rows of timed.run(context, options)) {
        yield rows;
        if (performance.now() > end) return;
      }
    } finally {
      await rm(decoderFolder(), { recursive: true, force: true });
    }
  },
};
