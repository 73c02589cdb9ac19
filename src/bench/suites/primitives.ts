import {
  firstSums,
  lastSums,
  layerNormRows,
  mapped,
  product,
  productGradients,
  rowsCopy,
  softmaxRows,
} from '../primitive-operations';
import { MASKS } from '../problem';
import type { Goal } from '../report';
import { operationRows, TIMING, timedSuite } from '../suite';

/** A share of the bytes a second of a copy. */
const ofCopy = (share: number): Goal => ({ measure: 'ratio', atLeast: share });
const ofPeak = (share: number): Goal => ({ measure: 'peakShare', atLeast: share });

const ROWS = { h: 1, mask: MASKS.full };

/** Each group beside its first row. */
export const primitivesSuite = timedSuite({
  name: 'primitives',
  summary: 'maps, norms, softmax and sums beside a copy; products of matrices beside the multiply-add peak',
  defaults: { ...TIMING, repeats: 15 },
  ratio: 'bytes read and written a millisecond over those of the first row of the group, a copy of as many rows',
  ratioOf: 'bytes',
  groups: () => [
    operationRows({ ...ROWS, n: 10_000, d: 1000 }, [
      ['copy-long', rowsCopy],
      ['map', mapped, ofCopy(0.5)],
    ]),
    operationRows({ ...ROWS, n: 4096, d: 1024 }, [
      ['copy', rowsCopy],
      ['softmax', softmaxRows, ofCopy(0.6)],
      ['layer-norm', layerNormRows, ofCopy(0.6)],
      ['sum-last', lastSums, ofCopy(0.6)],
      ['sum-first', firstSums, ofCopy(0.6)],
    ]),
    operationRows({ ...ROWS, n: 1024, d: 768 }, [
      ['matmul', product(false), ofPeak(0.88)],
      ['matmul-gelu', product(true), ofPeak(0.75)],
      ['matmul-gradients', productGradients, ofPeak(0.7)],
    ]),
  ],
});
