import { chain, OPS } from '../chain-operations';
import { appending, decoding, prefill, readOfKeys, readOfWeights, skinnyProduct } from '../decode-operations';
import { MASKS } from '../problem';
import type { Goal } from '../report';
import { operationRows, type PlannedRow, TIMING, timedSuite } from '../suite';

/** Over the first row's time. */
const times = (most: number): Goal => ({ measure: 'ratio', atMost: most });
/** A share of the bytes a second of the first row, a read. */
const ofRead = (share: number): Goal => times(1 / share);
const within = (milliseconds: number): Goal => ({ measure: 'time', atMost: milliseconds });

const cached = (name: string, more: Partial<Parameters<typeof decoding>[0]> = {}) =>
  decoding({ name, dtype: 'f32', ...more });

const KEYS = { n: 8192, h: 8, d: 128, mask: MASKS.causal };
const WEIGHTS = { h: 1, d: 1024, mask: MASKS.causal };

const besideRead = (n: number): PlannedRow[] =>
  operationRows({ ...KEYS, n }, [
    [`read-${n}`, readOfKeys],
    [`tensors-${n}`, decoding({ name: 'one query, plain tensors' }), ofRead(0.7)],
    [`cache-${n}`, cached('one query, cache in f32'), ofRead(0.7)],
  ]);

/** Products of n rows and cold weights of both layouts beside a read of these in f32. */
const besideWeights = (n: number, goals: Partial<Record<'f32' | 'bf16' | 'f16', Goal>>): PlannedRow[] =>
  operationRows({ ...WEIGHTS, n }, [
    [`weights-${n}`, readOfWeights],
    ...(['f32', 'bf16', 'f16'] as const).flatMap((dtype) =>
      [false, true].map(
        (transposeB) =>
          [
            `product-${n}-${dtype}${transposeB ? '-transposed' : ''}`,
            skinnyProduct({ dtype, transposeB }),
            goals[dtype],
          ] as const,
      ),
    ),
  ]);

/** Each group beside its first row. */
export const decodeSuite = timedSuite({
  name: 'decode',
  summary:
    'a token of a decoder: attention to a cache and products of few rows beside a read of memory, and what is around them',
  defaults: { ...TIMING, repeats: 15 },
  ratio: 'time over that of the first row of the group: mostly a read, by as many threads, of what must be read',
  ratioOf: 'time',
  groups: () => [
    besideRead(8192),
    besideRead(65536),
    operationRows(KEYS, [
      ['f32', cached('cache in f32')],
      ['bf16', cached('cache in bf16', { dtype: 'bf16' }), times(0.65)],
      ['f16', cached('cache in f16', { dtype: 'f16' }), times(0.75)],
      ['i8', cached('cache in 8 bits', { dtype: 'i8' }), times(0.6)],
      ['alibi', cached('ALiBi as a function', { isSloped: true }), times(1.3)],
      ['queries-16', cached('16 queries', { queries: 16 }), times(2)],
    ]),
    [
      ...operationRows({ ...KEYS, n: 256 }, [['keys-256', cached('256 keys in all')]]),
      ...operationRows(KEYS, [['window', cached('a window of 256', { window: 256 }), times(1.3)]]),
    ],
    besideWeights(1, { f32: ofRead(0.85), bf16: ofRead(2 * 0.85), f16: ofRead(2 * 0.7) }),
    besideWeights(4, { f32: ofRead(0.85) }),
    besideWeights(16, { f32: { measure: 'peakShare', atLeast: 0.65 } }),
    besideWeights(64, { f32: { measure: 'peakShare', atLeast: 0.75 } }),
    operationRows({ ...KEYS, h: 2 }, [
      ['prefill', prefill(undefined)],
      ['prefill-chunks', prefill(512), times(1.1)],
    ]),
    operationRows({ ...KEYS, n: 1 }, [['append', appending, within(0.1)]]),
    // What a decoder step costs beside its products: less than 5 microseconds an op.
    operationRows({ ...WEIGHTS, n: 1 }, [['small-ops', chain(false), within(OPS * 0.005)]]),
  ],
});
