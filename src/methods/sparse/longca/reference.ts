/** Which keys a query sees under each mask: the definitions, of what was drawn. */
import type { BlockSparse } from '../../../masks/block-sparse';
import type { LongCaParams } from '../../../masks/longca';
import type { Sees } from '../../../ops/attention/softmax';
import type { MaskProblem } from '../../define';

/** Documents: the number of that of a token, its first token, and how many there are. */
interface Documents {
  of(token: number): number;
  start(token: number): number;
  readonly count: number;
}

type Keeps = (q: number, k: number, params: LongCaParams, documents: Documents) => boolean;

const isNear: Keeps = (q, k, { window }) => Math.abs(q - k) <= window;
const isOwn: Keeps = (q, k, _, { of }) => of(q) === of(k);

const KEEPS: Readonly<Record<string, Keeps>> = {
  full: () => true,
  causal: (q, k) => q >= k,
  'full-document': isOwn,
  'causal-document': (q, k, ...rest) => q >= k && isOwn(q, k, ...rest),
  'sliding-window': isNear,
  'sliding-window-causal': (q, k, ...rest) => q >= k && isNear(q, k, ...rest),
  'share-question': (q, k, ...rest) => (rest[1].of(q) !== 0 && rest[1].of(k) === 0) || (q >= k && isOwn(q, k, ...rest)),
  'causal-blockwise'(q, k, ...rest) {
    const { of, count } = rest[1];
    return (of(q) === count - 1 && of(k) !== count - 1) || (q >= k && isOwn(q, k, ...rest));
  },
  'prefix-lm-causal': (q, k, { prefix }) => k < prefix || q >= k,
  'prefix-lm-document': (q, k, params, documents) =>
    isOwn(q, k, params, documents) && (k - documents.start(k) < params.prefix || q >= k),
  'global-sliding-window'(q, k, ...rest) {
    const globals = 2 * rest[0].window;
    return isNear(q, k, ...rest) || q < globals || k < globals;
  },
  'block-causal-document'(q, k, ...rest) {
    const [{ block }, { start }] = rest;
    const within = (token: number) => Math.floor((token - start(token)) / block);
    return isOwn(q, k, ...rest) && within(q) >= within(k);
  },
};

/** A fixed mask. */
export function seesFixed(mask: string, params: LongCaParams): Sees {
  const keeps = KEEPS[mask] as Keeps;
  const ids = params.lengths.flatMap((length, document) => new Array<number>(length).fill(document));
  const documents: Documents = {
    of: (token) => ids[token] as number,
    start: (token) => ids.indexOf(ids[token] as number),
    count: params.lengths.length,
  };
  return (q, k) => keeps(q, k, params, documents);
}

interface Drawn extends BlockSparse {
  /** Lengths of the blocks of queries and of keys, by head of keys. */
  readonly lengths: readonly (readonly (readonly number[])[])[];
  /** [query blocks][key blocks], by head of keys. */
  readonly scores: readonly Float64Array[];
}

/** Chosen blocks: one is seen if fewer than are kept have a larger score. */
export function seesChosen(drawn: Drawn, { h, g }: Pick<MaskProblem, 'h' | 'g'>): Sees {
  const { tokens, block, ratio, acrossQueries, variable, lengths, scores } = drawn;
  const count = Math.ceil(tokens / block);
  const blockOf = (side: number, head: number, token: number) => {
    if (!variable) return Math.floor(token / block);
    const own = lengths[side]?.[head] as readonly number[];
    let past = 0;
    return own.findIndex((length) => {
      past += length;
      return token < past;
    });
  };
  return (q, k, queryHead) => {
    const head = Math.floor((queryHead * g) / h);
    const all = scores[head] as Float64Array;
    const row = blockOf(0, head, q);
    const rivals = acrossQueries ? all : all.subarray(row * count, (row + 1) * count);
    const own = all[row * count + blockOf(1, head, k)] as number;
    const kept = Math.max(1, Math.floor(ratio * rivals.length + 1e-9));
    return rivals.filter((score) => score > own).length < kept;
  };
}
