import type { Contender } from '../contender';
import { readOfWeights } from '../decode-operations';
import type { BenchOptions } from '../options';
import { peer } from '../peers';
import { MASKS, type Operation } from '../problem';
import { COLUMNS, HEAD_COLUMNS, integerProduct, PRODUCT_TYPES, packedProduct } from '../product-operations';
import { pytorch } from '../pytorch';
import type { Goal } from '../report';
import { type Place, type PlannedRow, TIMING, timedSuite } from '../suite';

const ofRead = (share: number): Goal => ({ measure: 'ratio', atLeast: share });
const ofPeak = (share: number): Goal => ({ measure: 'peakShare', atLeast: share });

/** By rows and type; of a read for few rows. */
const GOALS: Readonly<Record<string, Goal>> = {
  'f32-1': ofRead(0.9),
  'bf16-1': ofRead(0.9),
  'f16-1': ofRead(0.7),
  'q8-1': ofRead(0.85),
  'q4-1': ofRead(0.8),
  'f32-4': ofRead(0.8),
  'q8-4': ofRead(0.6),
  'q8-16': ofPeak(1),
};

const ROWS = [1, 2, 4, 8, 16, 64, 512];
/** Those for which it is told what packing at each call takes. */
const EACH_ROWS = [1, 16, 512];
const HEAD = 'head';

/** Peers with the types that they know. */
const ONNX = { 'onnxruntime-node': 'native code', 'onnxruntime-web': 'WebAssembly' } as const;
const HOW: Readonly<Record<string, string>> = {
  f32: 'MatMul',
  q8: 'MatMulNBits',
  q4: 'MatMulNBits',
  integers: 'MatMulInteger',
};
const TORCH = ['f32', 'bf16', 'f16'] as const;

const problemOf = (n: number, operation: Operation) => ({ n, h: 1, d: 1024, mask: MASKS.full, operation });

function group(n: number, columns: number, options: BenchOptions, { peers }: Place): PlannedRow[] {
  const suffix = columns === COLUMNS ? `${n}` : HEAD;
  const row = (name: string, label: string, operation: Operation, more: Partial<PlannedRow> = {}): PlannedRow => ({
    name: `${name}-${suffix}`,
    label,
    problem: problemOf(n, operation),
    goal: GOALS[`${name}-${suffix}`],
    ...more,
  });
  const own = PRODUCT_TYPES.map((type) => row(type, type, packedProduct(type, columns)));
  const exact = (['q8', 'q4'] as const).map((type) =>
    row(`${type}-exact`, `${type}, rows in f32`, packedProduct(type, columns, { exact: true })),
  );
  const each = (['f32', 'q8', 'q4'] as const).map((type) =>
    row(`${type}-each`, `${type}, packed at each call`, packedProduct(type, columns, { packsEach: true })),
  );
  return [
    row('read', 'a read of weights in f32', readOfWeights),
    ...own,
    ...exact,
    ...(columns === COLUMNS && EACH_ROWS.includes(n) ? each : []),
    ...(peers === undefined ? [] : besides(peers)),
  ];

  function besides(folder: string): PlannedRow[] {
    const { threads } = options;
    const operations = [
      ...(['f32', 'q8', 'q4'] as const).map((type) => [type, packedProduct(type, columns)] as const),
      ...(columns === COLUMNS ? [['integers', integerProduct] as const] : []),
    ];
    const onnx = Object.entries(ONNX).flatMap(([name, how]) =>
      operations.map(([type, operation]) =>
        row(`${name}-${type}`, `${name}, ${type}`, operation, {
          contender: peer(`${name}-products`, folder, threads),
          how: `${how}: ${HOW[type]}`,
        }),
      ),
    );
    const torch = TORCH.map((type) =>
      row(`pytorch-${type}`, `PyTorch, ${type}`, packedProduct(type, columns, { isNarrow: type !== 'f32' }), {
        contender: inType(
          type,
          pytorch('pytorch', folder, { backend: 'wasm', threads, script: 'pytorch_products.py' }),
        ),
        how: 'native code: linear',
      }),
    );
    return [...onnx, ...torch];
  }
}

/** The contender, whose label also says the type. */
const inType = (type: string, contender: Contender): Contender => ({
  ...contender,
  async open(task, signal) {
    const session = await contender.open(task, signal);
    return { ...session, label: `${session.label}, ${type}` };
  },
});

export const productsSuite = timedSuite({
  name: 'products',
  summary:
    'rows times weights in f32, bf16, f16, 8 and 4 bits, a different matrix at each call, beside a read and other systems',
  // Peers lay the weights of a head out anew before they answer.
  defaults: { ...TIMING, limit: 180, peers: false },
  ratio: 'bytes of weights a millisecond over those of a read of f32 by as many threads',
  ratioOf: 'bytes',
  names: (options) => groups(options, { peers: '' }).flatMap((rows) => rows.map(({ name }) => name)),
  groups: (options, place) => groups(options, place),
});

const groups = (options: BenchOptions, place: Place): PlannedRow[][] => [
  ...ROWS.map((n) => group(n, COLUMNS, options, place)),
  group(1, HEAD_COLUMNS, options, place),
];
