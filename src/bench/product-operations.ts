/** Rows times weights of several types, another matrix at each call, as a decoder has them. */
import { matmul } from '../ops/matmul';
import type { PackedWeight } from '../ops/packed';
import { BLOCK } from '../ops/packed/params';
import { convert, type HostTensor, hostTensor, toFloats } from '../tensor/host';
import { normal } from '../tensor/random';
import { packWeight } from '../weights';
import { decodeBlocks } from '../weights/blocks';
import { encodeBlocks } from '../weights/encode-blocks';
import { knownRows, someOf } from './expected';
import { tensorOperation } from './operation';
import type { Operation, Problem } from './problem';

export const PRODUCT_TYPES = ['f32', 'bf16', 'f16', 'q8', 'q4'] as const;
type ProductType = (typeof PRODUCT_TYPES)[number];

/** Columns of the matrix that larger ones repeat. */
export const COLUMNS = 3072;
/** Those of a language model's head. */
export const HEAD_COLUMNS = 151_936;

const BYTES = { f32: 4, bf16: 2, f16: 2, q8: 34 / BLOCK, q4: 18 / BLOCK };
const BLOCKS = { q8: 'q8_0', q4: 'q4_0' } as const;

const isInBlocks = (type: ProductType) => type === 'q8' || type === 'q4';

/** Integers up to 127, which each block has: rounding to 8 bits changes none, so all contenders can be held to one result. */
const rowsOf = ({ n, d }: Problem): Float32Array =>
  normal(n * d, 1).map((value, i) => (i % BLOCK === 0 ? 127 : Math.max(-127, Math.min(127, Math.round(40 * value)))));

const weightsOf = (d: number) => normal(COLUMNS * d, 5).map((value) => value / Math.sqrt(d));

const made = new Map<string, ReturnType<typeof makeWeights>>();

/** A matrix [columns, d] as `packWeight` takes it, and the numbers of its first rows, which the others repeat. */
function storedWeights(type: ProductType, d: number, columns: number) {
  const key = `${type} ${d} ${columns}`;
  const found = made.get(key) ?? makeWeights(type, d, columns);
  made.set(key, found);
  return found;
}

function makeWeights(type: ProductType, d: number, columns: number) {
  const shape = [columns, d] as const;
  if (isInBlocks(type)) {
    const block = BLOCKS[type as 'q8'];
    const bytes = encodeBlocks(block, weightsOf(d));
    const all = repeated(bytes, (bytes.length / COLUMNS) * columns);
    return { source: { type: block, shape, bytes: all }, bytes, numbers: decodeBlocks(block, bytes) };
  }
  const first = convert(hostTensor(weightsOf(d), [COLUMNS, d]), type as 'f32');
  const all = repeated(first.data, columns * d);
  return { source: { dtype: type, shape, data: all } as HostTensor, bytes: undefined, numbers: toFloats(first) };
}

function repeated<T extends Uint8Array | Float32Array>(first: T, length: number): T {
  const all = new (first.constructor as new (length: number) => T)(length);
  for (let at = 0; at < length; at += first.length) all.set(first.subarray(0, Math.min(first.length, length - at)), at);
  return all;
}

interface ProductOptions {
  /** Whether rows of x are not rounded to 8 bits. */
  readonly exact?: boolean;
  /** Whether each call packs the weights that it multiplies by. */
  readonly packsEach?: boolean;
  /** Whether results are of the type of the weights, which rounds them, and not f32. */
  readonly isNarrow?: boolean;
}

/** n rows [n, d] times weights [columns, d] of a type. */
export function packedProduct(
  type: ProductType,
  columns = COLUMNS,
  { exact = false, packsEach = false, isNarrow = false }: ProductOptions = {},
): Operation {
  const activations = isInBlocks(type) && !exact ? 'q8' : 'f32';
  const bytesOf = (d: number) => BYTES[type] * d * columns;
  return {
    ...tensorOperation({
      name: `${type}${exact ? ', rows in f32' : ''}${packsEach ? ', packed at each call' : ''}`,
      flops: ({ n, d }) => 2 * n * d * columns,
      bytes: ({ d }) => bytesOf(d),
      expected(problem) {
        const expected = expectedProducts(problem, storedWeights(type, problem.d, columns).numbers, columns);
        return [isNarrow ? { ...expected, rounding: expected.largest * 2 ** -8 } : expected];
      },
      outputs: ({ n }) => ({ out: [n, columns] }),
      operands: (runtime, { problem }) => ({ x: runtime.tensor(rowsOf(problem), [problem.n, problem.d]) }),
      streamed(runtime, { problem: { d } }) {
        const { source } = storedWeights(type, d, columns);
        return () => ({ source, weight: packsEach ? undefined : packWeight(runtime, source) });
      },
      run({ x, weight: packed, source, out }) {
        using own = packed ? undefined : packWeight(x.runtime, source);
        return matmul(x, (packed ?? own) as PackedWeight, { transposeB: true, activations, out });
      },
    }),
    given: (problem) => ({
      tensors: givenTensors(type, problem),
      settings: { ...settingsOf(problem, bytesOf(problem.d)), type, columns },
    }),
  };
}

/** Integers of 8 bits times integers, without scales, for peers: n rows [n, d] by [d, 3072]. */
export const integerProduct: Operation = {
  ...packedProduct('q8'),
  name: 'integers',
  expected(problem) {
    const codes = Float32Array.from(codesOf('q8', problem.d));
    return [expectedProducts(problem, codes, COLUMNS)];
  },
  given: (problem) => ({
    tensors: givenTensors('q8', problem),
    settings: { ...settingsOf(problem, problem.d * COLUMNS), type: 'integer', columns: COLUMNS },
  }),
};

/** Bytes of weights that calls pass through; many rows need no more than two matrices. */
const settingsOf = ({ n, d }: Problem, bytes: number) => ({
  n,
  d,
  copies: n > 16 ? 2 : Math.max(1, Math.ceil(2 ** 28 / bytes)),
});

function givenTensors(type: ProductType, problem: Problem): Record<string, HostTensor> {
  const { n, d } = problem;
  const { numbers } = storedWeights(type, d, COLUMNS);
  const x = hostTensor(rowsOf(problem), [n, d]);
  if (!isInBlocks(type)) return { x, weights: hostTensor(numbers as Float32Array, [COLUMNS, d]) };
  const codes = codesOf(type as 'q8', d);
  return {
    x,
    codes: hostTensor(codes, [COLUMNS, d]),
    scales: hostTensor(scalesOf(type as 'q8', d), [COLUMNS, d / BLOCK]),
  };
}

const blocksOf = (type: 'q8' | 'q4', d: number) => {
  const bytes = storedWeights(type, d, COLUMNS).bytes as Uint8Array<ArrayBuffer>;
  const size = BYTES[type] * BLOCK;
  return { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length), size, count: bytes.length / size };
};

/** Integers of blocks; those of 4 bits are from -8 to 7. */
function codesOf(type: 'q8' | 'q4', d: number): Int32Array {
  const { view, size, count } = blocksOf(type, d);
  const nibble = (at: number, j: number) => ((view.getUint8(at + 2 + (j % 16)) >> (j < 16 ? 0 : 4)) & 15) - 8;
  return Int32Array.from({ length: count * BLOCK }, (_, i) => {
    const [at, j] = [Math.floor(i / BLOCK) * size, i % BLOCK];
    return type === 'q8' ? view.getInt8(at + 2 + j) : nibble(at, j);
  });
}

function scalesOf(type: 'q8' | 'q4', d: number): Float32Array {
  const { view, size, count } = blocksOf(type, d);
  const halves = Uint16Array.from({ length: count }, (_, block) => view.getUint16(block * size, true));
  return toFloats(hostTensor(halves, [count], 'f16')) as Float32Array;
}

function expectedProducts(problem: Problem, numbers: ArrayLike<number>, columns: number) {
  const { n, d } = problem;
  const x = rowsOf(problem);
  const rows = someOf(n).slice(0, 16);
  const result = new Float64Array(rows.length * columns);
  for (const [at, row] of rows.entries()) {
    for (let c = 0; c < COLUMNS; c++) {
      let sum = 0;
      for (let k = 0; k < d; k++) sum += (x[row * d + k] as number) * (numbers[c * d + k] as number);
      for (let to = c; to < columns; to += COLUMNS) result[at * columns + to] = sum;
    }
  }
  return knownRows(result, rows);
}
