/** What `saccade bench long-context` compares: exact attention, windows, and each of the methods below that there is. */
import type { Cost } from '../../methods/define';
import { methods } from '../../methods/registry';

export interface LongContender {
  readonly label: string;
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
  /** Tokens that losses read at a time, from a cache, where that is not what one pass over all gives; default: all. */
  readonly chunk?: number;
  /** The share of keys and values that a step behind n tokens reads, where its method's cost is that of whole texts. */
  readonly read?: (n: number) => number;
  /** More params where weights are random: of models that were trained they depend on the weights. */
  readonly untrained?: Readonly<Record<string, unknown>>;
}

/** Positions of the decoder whose speed is measured. */
export const POSITIONS = 2 ** 18;

const LANDMARKS = { block: 63, topBlocks: 4 };

/** Keys of all landmarks, the blocks that the two query heads of a key head open, and half a block of its own. */
function readByLandmarks(n: number): number {
  const { block, topBlocks } = LANDMARKS;
  return Math.min(1, 0.5 / (block + 1) + (2 * topBlocks + 0.5) * (block / n));
}

/** Methods that the library does not have yet are passed over. */
const DECLARED: readonly LongContender[] = [
  { label: 'exact', method: 'attention', params: {} },
  { label: 'window and sinks', method: 'attention', params: { window: [1019, 0], sinks: 4 } },
  { label: 'sale', method: 'sale', params: { threshold: 0.02 } },
  { label: 'deltallm', method: 'deltallm', params: { threshold: 0.1 } },
  { label: 'landmark', method: 'landmark-attention', params: LANDMARKS, chunk: 512, read: readByLandmarks },
  { label: 'retrieval, flat', method: 'retrieval-attention', params: {} },
  { label: 'retrieval, graph', method: 'retrieval-attention', params: { index: 'graph' } },
  { label: 'retrieval, cells', method: 'retrieval-attention', params: { index: 'ivf' } },
  { label: 'sea', method: 'sea', params: { keys: 64 }, untrained: { positions: POSITIONS } },
];

export const methodOf = (name: string) => methods.find((method) => method.name === name);

/** @returns those whose methods there are, of these labels or methods, all if there are none */
export const longContenders = (only: readonly string[]): LongContender[] =>
  DECLARED.filter(
    ({ label, method }) => methodOf(method) && (only.length === 0 || only.includes(label) || only.includes(method)),
  );

export const LABELS: readonly string[] = DECLARED.map(({ label }) => label);

/** Keys and values of a layer that a step after n tokens reads, as a share of all. */
export function shareRead(
  { method, params, ...contender }: LongContender,
  n: number,
  heads: Readonly<Record<'h' | 'g' | 'd', number>>,
): number {
  if (contender.read) return contender.read(n);
  const found = methodOf(method);
  if (!found) return 1;
  const letters = { b: 1, n: 1, m: n, ...heads, e: heads.d };
  const { visited = 1, read = visited }: Cost = found.cost(letters as never, found.parse(params as never) as never);
  return read;
}
