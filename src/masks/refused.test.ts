/** Params that no mask can have: each is refused by name. */
import { expect, test } from 'vitest';
import { ParameterError } from '../errors';
import {
  and,
  blockCausal,
  blocks,
  causal,
  causalBlockwise,
  chosenChunks,
  dilated,
  dilatedBlocks,
  documentIds,
  documents,
  firstQueries,
  fromSlices,
  globalSliding,
  longNet,
  type Mask,
  maskText,
  not,
  oneHead,
  or,
  power,
  prefix,
  prefixDocuments,
  randomPermutation,
  type S2Pattern,
  type Slice,
  s2,
  shareQuestion,
  sinks,
  slidingBlocks,
  stochastic,
  strided,
  strideSlash,
} from './index';

const pattern: S2Pattern = { localBlocks: 1, verticalStride: 2 };
const slice: Slice = { queries: [0, 2], keys: [0, 2], kind: 'full' };

test.each<[make: () => unknown, message: string]>([
  [() => sinks(-1), 'count of sinks must be an integer >= 0, got -1'],
  [() => prefix(1.5), 'count of prefix must be an integer >= 0, got 1.5'],
  [() => firstQueries(Number.NaN), 'count of first queries must be an integer >= 0, got NaN'],
  [() => dilated(-1, 2), 'reach of a dilated window must be an integer >= 0, got -1'],
  [() => dilated(4, 0), 'step of a dilated window must be an integer >= 1, got 0'],
  [() => strided(0), 'stride must be an integer >= 1, got 0'],
  [() => globalSliding(-1, 2), 'window must be an integer >= 0, got -1'],
  [() => globalSliding(1, -2), 'count of globals must be an integer >= 0, got -2'],
  [() => blockCausal(0), 'size of blocks must be an integer >= 1, got 0'],
  [
    () => chosenChunks({ chunk: 0, tokens: 5, chosen: Uint8Array.of(1), batches: 1, heads: 1 }),
    'chunk must be an integer >= 1, got 0',
  ],
  [
    () => chosenChunks({ chunk: 2, tokens: 5, chosen: Uint8Array.of(1, 0), batches: 1, heads: 1 }),
    'chosen must be [1, 1, 3], 3 numbers, got 2',
  ],
  [() => longNet({ levels: [] }), 'levels of LongNet must be at least one, got none'],
  [() => longNet({ levels: [{ segment: 0, dilation: 1 }] }), 'segment of LongNet must be an integer >= 1, got 0'],
  [() => longNet({ levels: [{ segment: 8, dilation: 0 }] }), 'dilation of LongNet must be an integer >= 1, got 0'],
  [() => power({ block: 0, window: 2 }), 'size of blocks must be an integer >= 1, got 0'],
  [() => power({ block: 2, window: 0 }), 'window must be an integer >= 1, got 0'],
  [() => slidingBlocks({ block: 2, window: 1, sink: -1 }), 'count of sinks must be an integer >= 0, got -1'],
  [() => strideSlash({ block: 2, window: 1, stride: 0 }), 'stride must be an integer >= 1, got 0'],
  [() => dilatedBlocks({ block: 2, reach: 0, step: 2 }), 'reach of dilated blocks must be an integer >= 1, got 0'],
  [() => documents(Int32Array.of(), 1), 'document ids must be [1, tokens], a positive multiple of 1 numbers, got 0'],
  [
    () => documents(Int32Array.of(1, 2, 3), 2),
    'document ids must be [2, tokens], a positive multiple of 2 numbers, got 3',
  ],
  [() => documents([0, 1.5]), 'document ids must be integers that int32 can hold, got 1.5 at element 1'],
  [() => documentIds([3, 0]), 'lengths of documents must be integers >= 1, got 0 at element 1'],
  [() => documentIds([2 ** 40, 1]), 'length of all documents must be at most 268435456, got 1099511627777'],
  [() => shareQuestion([]), 'lengths of documents must be at least one, got none'],
  [() => causalBlockwise([2, -1]), 'lengths of documents must be integers >= 1, got -1 at element 1'],
  [() => prefixDocuments([2, 3], -1), 'count of prefix must be an integer >= 0, got -1'],
  [() => s2({ block: 0, ...pattern }), 'size of blocks must be an integer >= 1, got 0'],
  [() => and(undefined as unknown as Mask), 'mask 0 of and() must be a Mask, got undefined'],
  [() => or(causal(), 'full' as unknown as Mask), "mask 1 of or() must be a Mask, got 'full'"],
  [() => not(null as unknown as Mask), 'mask of not() must be a Mask, got null'],
  [() => blocks(4, {} as Mask), 'mask of blocks() must be a Mask, got an object'],
  [
    () => and(causal(), { name: 'mine', sees: () => true }),
    'mask 1 of and() must have intervals or words besides sees, got neither in "mine"',
  ],
  [
    () => s2({ block: 16, ...pattern, localBlocks: undefined as unknown as number }),
    'localBlocks must be an integer >= 1, got undefined',
  ],
  [() => s2({ block: 16, ...pattern, localBlocks: 0 }), 'localBlocks must be an integer >= 1, got 0'],
  [() => s2({ block: 16, ...pattern, verticalStride: 0 }), 'verticalStride must be an integer >= 1, got 0'],
  [() => s2({ block: 16, ...pattern, headStep: -1 }), 'headStep must be an integer >= 0, got -1'],
  [() => s2({ block: 16, ...pattern, headOffset: 0.5 }), 'headOffset must be an integer, got 0.5'],
  [() => s2({ block: 16, ...pattern, denseHeads: -1 }), 'denseHeads must be an integer >= 0, got -1'],
  [
    () => s2({ block: 16, ...pattern, denseHeads: 1, homogeneous: true }),
    'denseHeads must be 0 if all heads are alike',
  ],
  [
    () => s2({ block: 16, ...pattern, positions: 'middle' as 'absolute' }),
    "positions must be absolute or relative, got 'middle'",
  ],
  [() => stochastic({ permutation: Int32Array.of(0), window: 0 }), 'window must be an integer >= 1, got 0'],
  [
    () => stochastic({ permutation: 'x' as unknown as number[], window: 1 }),
    "permutation must be an array of numbers, got 'x'",
  ],
  [() => stochastic({ permutation: Int32Array.of(0), window: 1, strict: true }), 'strict needs causal: true'],
  [
    () => stochastic({ permutation: Int32Array.of(0), window: 1, clamped: 1 as unknown as boolean }),
    'clamped must be true or false, got 1',
  ],
  [() => randomPermutation(0, 1), 'length of a permutation must be an integer >= 1, got 0'],
  [() => randomPermutation(2 ** 40, 1), 'length of a permutation must be at most 268435456, got 1099511627776'],
  [
    () => fromSlices([slice, { ...slice, keys: [3, 3] }]),
    'keys of slice 1 must be [first, past] with 0 <= first < past, got [3, 3]',
  ],
  [
    () => fromSlices([{ ...slice, kind: 'upper' as 'full' }]),
    "kind of slice 0 must be one of full, causal, inverse, bicausal, got 'upper'",
  ],
])('%s', (make, message) => {
  expect(make).toThrow(ParameterError);
  expect(make).toThrow(message);
});

test('plain arrays do as well as typed ones', () => {
  const place = oneHead(6, 6);
  const choice = { chunk: 2, tokens: 6, batches: 1, heads: 1 };
  const pairs = [
    [documents([0, 0, 1, 1, 1, -3]), documents(Int32Array.of(0, 0, 1, 1, 1, -3))],
    [documents(documentIds([2, 4])), documents(documentIds(Uint8Array.of(2, 4)))],
    [
      stochastic({ permutation: [5, 0, 4, 1, 3, 2], window: 2 }),
      stochastic({ permutation: Int32Array.of(5, 0, 4, 1, 3, 2), window: 2 }),
    ],
    [chosenChunks({ ...choice, chosen: [1, 0, 1] }), chosenChunks({ ...choice, chosen: Uint8Array.of(1, 0, 1) })],
  ] as const;
  for (const [plain, typed] of pairs) expect(maskText(plain, place, 80)).toBe(maskText(typed, place, 80));
});
