/** What `saccade bench longca` compares: Saccade and other systems, each in a process of its own. */
import { extname } from 'node:path';
import type { Contender } from '../contender';
import { hosted, peersSource } from '../peers';
import { pytorch } from '../pytorch';
import type { LongCaProblem } from './cases';

/** Where contenders run. */
export interface LongCaPlace {
  readonly threads: number;
  /** The folder of the peers from npm, if they are wanted. */
  readonly peers?: string | undefined;
  /** Bytes that a process may take; default: most of what is free. */
  readonly memory?: number | undefined;
}

export interface LongCaContender {
  readonly name: string;
  readonly label: string;
  readonly how: string;
  /** Whether it is one of those from npm. */
  readonly isFromNpm?: true;
  /** Whether its time goes with the pairs that are seen; else with all pairs. */
  readonly isSparse?: true;
  /** Whether what it calls backward has the forward pass in it. */
  readonly hasForward?: true;
  /** Seconds until its process answers, about. */
  readonly start: number;
  /** Multiplications and additions a nanosecond, about, before any was measured. */
  readonly rate: number;
  /** What it cannot do. */
  lacks?(problem: LongCaProblem): string | undefined;
  open(place: LongCaPlace, problem: LongCaProblem): Contender;
}

const ours = (backend: 'wasm' | 'webgpu') => ({
  isSparse: true as const,
  start: 1,
  open: ({ threads, memory }: LongCaPlace) =>
    hosted(
      new URL(`./ours${extname(import.meta.url)}`, import.meta.url).href,
      peersSource(),
      { threads, backend },
      memory,
    ),
});

const fromNpm = (module: string | ((problem: LongCaProblem) => string)) => ({
  isFromNpm: true as const,
  open({ threads, peers, memory }: LongCaPlace, problem: LongCaProblem) {
    const name = typeof module === 'string' ? module : module(problem);
    return hosted(name, peers as string, { threads }, memory);
  },
});

const torch = {
  start: 3,
  rate: 30,
  open: ({ threads, memory }: LongCaPlace) =>
    pytorch('pytorch', peersSource(), {
      backend: 'wasm',
      threads,
      script: 'pytorch_masks.py',
      ...(memory && { memory }),
    }),
};

const isGrouped = ({ h, g }: LongCaProblem) => g < h;
/** Masks that GroupQueryAttention has attributes for. */
const CAUSAL_BANDS = ['causal', 'sliding-window-causal'];

const onnxruntime = (name: 'onnxruntime-node' | 'onnxruntime-web') => ({
  ...fromNpm((problem) => (isGrouped(problem) ? `${name}-gqa` : name)),
  lacks(problem: LongCaProblem) {
    if (problem.pass === 'backward') return 'it has no gradients';
    if (isGrouped(problem) && !CAUSAL_BANDS.includes(problem.mask))
      return 'heads in groups are for causal masks and windows only';
    return undefined;
  },
});

export const LONGCA_CONTENDERS: readonly LongCaContender[] = [
  { name: 'saccade', label: 'Saccade', how: 'WebAssembly: tiles that are not empty', rate: 60, ...ours('wasm') },
  { name: 'saccade-webgpu', label: 'Saccade, WebGPU', how: 'tiles that are not empty', rate: 500, ...ours('webgpu') },
  {
    name: 'pytorch-dense',
    label: 'PyTorch, dense',
    how: 'scaled_dot_product_attention without a mask, or with is_causal',
    ...torch,
    lacks: ({ mask }) => (['full', 'causal'].includes(mask) ? undefined : 'it takes no mask'),
  },
  {
    name: 'pytorch-masked',
    label: 'PyTorch, masked',
    how: 'scaled_dot_product_attention with a boolean mask of all pairs',
    ...torch,
  },
  {
    name: 'onnxruntime-node',
    label: 'onnxruntime-node',
    how: 'native code: MultiHeadAttention with a bias of all pairs; grouped: GroupQueryAttention',
    start: 2,
    rate: 30,
    ...onnxruntime('onnxruntime-node'),
  },
  {
    name: 'onnxruntime-web',
    label: 'onnxruntime-web',
    how: 'WebAssembly: as onnxruntime-node',
    start: 2,
    rate: 10,
    ...onnxruntime('onnxruntime-web'),
  },
  {
    name: 'jax-js',
    label: 'jax-js',
    how: 'WebAssembly: nn.dotProductAttention with a mask of all pairs',
    hasForward: true,
    start: 2,
    rate: 4,
    ...fromNpm('jax-js-masks'),
  },
  {
    name: 'tfjs',
    label: 'TensorFlow.js',
    how: 'WebAssembly: matmul, softmax, matmul with a bias of all pairs',
    hasForward: true,
    start: 2,
    rate: 4,
    ...fromNpm('tfjs-masks'),
  },
];
