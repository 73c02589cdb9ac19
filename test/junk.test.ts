/** Every public function with junk in each argument and option: an error that names it, or one of the acceptances below. */
import { globSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import * as adapters from '../src/adapters';
import * as cluster from '../src/cluster';
import * as defaultModel from '../src/default-model';
import * as featureMaps from '../src/feature-maps';
import type { HostTensor, Tensor } from '../src/index';
import * as saccade from '../src/index';
import * as io from '../src/io';
import * as kernels from '../src/kernels';
import * as masks from '../src/masks';
import * as library from '../src/methods';
import { settled } from '../src/methods/outputs';
import * as models from '../src/models';
import { decoderModel } from '../src/models/decoder-model';
import * as nn from '../src/nn';
import * as pictures from '../src/pictures';
import * as pipelines from '../src/pipelines';
import { predictorParameters as describedPredictor } from '../src/pipelines/regions/predictor';
import { viewerParameters as describedViewer } from '../src/pipelines/regions/viewer';
import * as scores from '../src/scores';
import * as simulate from '../src/simulate';
import * as train from '../src/train';
import { writeCheckpoint } from '../src/train/checkpoint';
import { characterTokenizer } from '../src/train/tokenizer';
import * as weightFiles from '../src/weights';
import { EMPTY_OBJECTS, type Entry, junkOf, type Slot, type Slots, sweep } from './junk';
import { entriesOfOps } from './junk-of-ops';

const runtime = await saccade.createRuntime({ backend: 'reference' });
const other = await saccade.createRuntime({ backend: 'reference' });
const shared = new Set<unknown>([runtime, other]);
const keep = <T extends Tensor>(tensor: T) => {
  shared.add(tensor);
  return tensor;
};
const random = (...shape: number[]) => keep(runtime.random(shape, { seed: shape.length }));
const filled = (value: number, ...shape: number[]) =>
  keep(runtime.tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value), shape));
const disposed = runtime.empty([1]);
disposed.dispose();
const junk = junkOf(random(1), keep(other.random([1])), disposed);

const scratch = mkdtempSync(join(tmpdir(), 'saccade-'));

afterAll(() => {
  quick.dispose();
  runtime.dispose();
  other.dispose();
  rmSync(scratch, { recursive: true });
});

// Kinds of arguments, and which junk is as good as any of them.
const leaf = (value: unknown, ...takes: string[]): Slot => ({
  make: () => value,
  // What takes any fraction takes these too.
  takes: takes.includes('1.5') ? [...takes, '0.5', '2 ** 53'] : takes,
});
const maybe = (slot: Slot): Slot => ({ ...slot, takes: [...slot.takes, 'undefined'] });
const notGiven = (slot: Slot): Slot => ({ ...maybe(slot), given: false });
const called = (name: string, slot: Slot): Slot => ({ ...slot, called: name });
const finite = (value: number) => leaf(value, '-1', '0', '1.5', '3');
const atLeast0 = (value: number) => leaf(value, '0', '1.5', '3');
const above0 = (value: number) => leaf(value, '1.5', '3');
const whole = (value: number) => leaf(value, '3');
const few = (value: number) => leaf(value, '3');
const from0 = (value: number) => leaf(value, '0', '3');
const integer = (value: number) => leaf(value, '-1', '0', '3');
const boolean = (value = true) => leaf(value, 'true');
const choice = (value: unknown, ...takes: string[]) => leaf(value, ...takes);
const RECORDS = [...EMPTY_OBJECTS, 'tensor of another runtime', 'disposed tensor', 'proxy of a tensor'];
/** Whatever has properties may be captured; a function may use them or not. */
const CAPTURED: Slot = leaf({}, 'undefined', ...RECORDS);
const text = (value: string) => leaf(value, 'text', 'empty text');
const fn = (value: (...args: never[]) => unknown) => leaf(value, 'function');
const plain = (...shape: number[]) => leaf(random(...shape));
/** Of a fixed shape: bytes, more axes and no elements are refused. */
const tensor = (...shape: number[]): Slot => ({
  ...leaf(random(...shape)),
  wrong: {
    u8: keep(runtime.empty(shape, 'u8')),
    'another rank': random(...shape, 2, 2),
    empty: keep(runtime.empty([...shape.slice(0, -1), 0])),
  },
});
/** Alone it may be of any runtime. */
const lone = (...shape: number[]) => leaf(random(...shape), 'tensor of another runtime');
/** Objects whose names are known; those whose fields all may be left out may be empty. */
const object = (fields: Slots, ...takes: string[]): Slot => ({ make: () => undefined, takes, fields, closed: true });
/** Other names are the caller's. */
const open = (fields: Slots): Slot => ({ ...object(fields), closed: false });
const options = (fields: Slots): Slot => object(fields, 'undefined', ...EMPTY_OBJECTS);
const control: Slots = {
  signal: maybe(leaf(new AbortController().signal)),
  onProgress: maybe(fn(() => {})),
};
const result = (...shape: number[]): Slots => ({ out: notGiven(leaf(keep(runtime.empty(shape)))), ...control });
const host = (...shape: number[]): HostTensor =>
  saccade.hostTensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape);
const aMask = leaf(masks.causal());
const aScore = leaf(scores.softcap(3));
const place: Slots = {
  b: whole(1),
  n: few(3),
  m: few(3),
  h: few(1),
  g: leaf(1),
  batch: leaf(0, '0'),
  head: leaf(0, '0'),
};
const extent: Slots = { b: whole(1), n: few(3), m: few(3), h: few(1), g: leaf(1) };

// biome-ignore lint/suspicious/noExplicitAny: the table calls functions of every signature.
type Any = any;
const rooms: Readonly<Record<string, unknown>>[] = await Promise.all(
  globSync('src/{nn/*,cache/*,ops/*/{index,core,pack},ops/linalg/{cholesky,decompose,qr,solve,triangular-solve}}.ts', {
    exclude: ['**/*.test.ts'],
  }).map((file) => import(join(process.cwd(), file))),
);
const entries: Record<string, Entry> = { ...entriesOfOps(rooms, runtime, control, keep) };
const entry = (name: string, args: Slots, call: (...args: Any[]) => unknown) => {
  if (name in entries) throw new Error(`${name} has an entry, or one from its declaration`);
  entries[name] = { args, call };
};

const [q, k, v] = [
  [1, 3, 2, 2],
  [1, 3, 1, 2],
  [1, 3, 1, 2],
] as const;
const qkv: Slots = { q: tensor(...q), k: tensor(...k), v: tensor(...v) };
const sdpaOptions: Slots = {
  layout: choice('bnhd'),
  attn_mask: maybe(leaf({ data: new Uint8Array(3), shape: [3] })),
  is_causal: maybe(boolean()),
  dropout_p: maybe(leaf(0, '0')),
  scale: maybe(finite(1)),
  enable_gqa: maybe(boolean()),
  num_heads: maybe(leaf(2)),
  kv_num_heads: maybe(leaf(1)),
  unidirectional: maybe(leaf(1, 'true', '0')),
  local_window_size: maybe(leaf(2, '-1', '3')),
  softcap: maybe(atLeast0(1)),
  attention_bias: maybe(leaf({ data: new Float32Array(3), shape: [3] })),
  runtime: maybe(leaf(runtime)),
  ...control,
};
entry('sdpa', { ...qkv, options: object(sdpaOptions) }, saccade.sdpa);
const indexedKeys = keep(runtime.random([1, 6, 1, 2], { seed: 8 }));
const index = saccade.keyIndex(indexedKeys, { first: 1, recent: 1 });
entry('saveKeyIndex', { index: leaf(index), k: leaf(indexedKeys, 'tensor of another runtime') }, saccade.saveKeyIndex);
const savedIndex = await saccade.saveKeyIndex(index, indexedKeys);
entry('loadKeyIndex', { k: leaf(indexedKeys), saved: leaf(savedIndex) }, saccade.loadKeyIndex);
const statistics: Slots = { mean: leaf(filled(1, 2)), variance: leaf(filled(1, 2)) };
const counts = { counts: maybe(leaf([1])) };
const cached = (use: (cache: saccade.KeyValueCache, ...args: Any[]) => unknown, ...[first]: Any[]) => {
  using cache = saccade.createKeyValueCache(runtime, { layers: 1, heads: 1, d: 4, capacity: 9, rope: {} });
  using start = runtime.random([1, 2, 1, 4]);
  cache.append(0, start, start);
  return use(cache, ...first);
};
const onCache =
  (use: (cache: saccade.KeyValueCache, ...args: Any[]) => unknown) =>
  (...args: Any[]) =>
    cached(use, args);
const token = plain(1, 1, 1, 4);
entry(
  'KeyValueCache.append',
  { layer: leaf(0, '0'), k: token, v: token, options: options({ ...counts, ...control }) },
  onCache((cache, ...args) => cache.append(...(args as [0, Tensor, Tensor]))),
);
entry(
  'KeyValueCache.truncate',
  { lengths: leaf(1, '0') },
  onCache((cache, lengths) => cache.truncate(lengths)),
);
entry(
  'KeyValueCache.fork',
  { rows: leaf([0]) },
  onCache((cache, rows) => cache.fork(rows).dispose()),
);
entry(
  'KeyValueCache.layer',
  { layer: leaf(0, '0') },
  onCache((cache, layer) => void cache.layer(layer)),
);
entry(
  'rotate',
  { q: token, options: options(counts) },
  onCache((cache, q, given) => cache.layer(0).rotate(q, given)),
);
entry(
  'map',
  {
    fn: called(
      'function',
      fn((x: number) => x),
    ),
    x: lone(3, 2),
    // What may be another tensor is called one.
    options: called('tensor 1', options({ captured: maybe(CAPTURED), dtype: maybe(choice('f32')), ...result(3, 2) })),
  },
  saccade.map,
);
const picture = [1, 3, 3, 2];
entry(
  'elementwise',
  {
    fn: called(
      'function',
      fn((x: number) => x),
    ),
    captured: CAPTURED,
  },
  saccade.elementwise,
);
const indices = leaf(keep(runtime.tensor([0, 1], [2], 'i32')));
entry('map of a captured tensor', { table: plain(3) }, (table: never) =>
  saccade.map((i, { table }) => table[i] as number, indices.make() as Tensor, {
    captured: { table } as { table: Tensor },
  }),
);
entry(
  'nn.dynamicProjection',
  { inputs: object({ x: tensor(1, 3, 2), router: tensor(2, 2), bank: tensor(2, 2, 2) }) },
  nn.dynamicProjection,
);
const concentration = object({
  first: plain(3, 3, 2),
  firstBias: plain(2),
  gain: plain(2),
  bias: plain(2),
  second: plain(3, 3, 2),
  secondBias: plain(2),
});
const running = options({ statistics: maybe(object(statistics)), ...control });
entry(
  'nn.localConcentration',
  { x: tensor(...picture), weights: concentration, options: running },
  nn.localConcentration,
);

const layers = (kernels: Readonly<Record<string, readonly [number, number]>>) =>
  object(
    Object.fromEntries(
      Object.entries({ ...kernels, pwconv: undefined }).flatMap(([name, kernel]) => [
        [`${name}.weight`, tensor(2, kernel ? 1 : 2, ...(kernel ?? [1, 1]))],
        [`${name}.bias`, tensor(2)],
      ]),
    ),
  );
const channels = tensor(1, 2, 3, 3);
entry(
  'nn.lska',
  {
    x: channels,
    weights: layers({ DW_conv_h: [1, 3], DW_conv_v: [3, 1], DW_D_conv_h: [1, 3], DW_D_conv_v: [3, 1] }),
    dilation: few(1),
    options: options(control),
  },
  nn.lska,
);
entry(
  'nn.slak',
  { x: channels, weights: layers({ small: [3, 3], across: [3, 5], down: [5, 3] }), options: options(control) },
  nn.slak,
);
entry(
  'nn.fullConvFusion',
  { x: tensor(1, 3, 2), y: tensor(1, 2, 2, 3), padding: maybe(choice('same')), options: options(control) },
  nn.fullConvFusion,
);
const norms = (name: string) =>
  Object.fromEntries(['weight', 'bias', 'running_mean', 'running_var'].map((each) => [`${name}.${each}`, tensor(2)]));
entry(
  'nn.mergeDilatedReparam',
  {
    parameters: object({ 'lk_origin.weight': tensor(2, 1, 5, 5), ...norms('origin_bn') }),
    kernel: leaf(5),
  },
  nn.mergeDilatedReparam,
);

entry(
  'effectiveReceptiveField',
  {
    network: fn((x: Tensor) => x),
    pictures: leaf(random(1, 2, 2, 1), 'tensor of another runtime'),
    options: options({ channelsFirst: maybe(leaf(false, 'true', 'false')), ...control }),
  },
  saccade.effectiveReceptiveField as Any,
);

// Runtimes and tensors.
entry(
  'createRuntime',
  {
    options: options({
      backend: maybe(choice('reference')),
      threads: notGiven(few(1)),
      simd: notGiven(choice('relaxed')),
      native: notGiven(choice('auto', 'true', 'false')),
      webgpu: notGiven(leaf({})),
    }),
  },
  async (given) => (await saccade.createRuntime(given)).dispose(),
);
entry('defaultRuntime', {}, saccade.defaultRuntime);
entry('warm', { runtime: leaf(runtime), ops: leaf(['map'], 'array') }, (...args: [Any, Any]) => saccade.warm(...args));
entry(
  'Runtime.tensor',
  { data: leaf([1, 2], 'float64'), shape: maybe(leaf([2])), dtype: maybe(choice('f32')) },
  (...args: [Any, Any, Any]) => runtime.tensor(...args),
);
entry(
  'Runtime.full',
  { shape: leaf([2], 'array'), value: leaf(1, '-1', '0', '1.5', '3', 'NaN', 'Infinity'), dtype: maybe(choice('f32')) },
  (...args: [Any, Any, Any]) => runtime.full(...args),
);
entry('Runtime.zeros', { shape: leaf([2], 'array'), dtype: maybe(choice('f32')) }, (...args: [Any, Any]) =>
  runtime.zeros(...args),
);
entry('Runtime.ones', { shape: leaf([2], 'array'), dtype: maybe(choice('f32')) }, (...args: [Any, Any]) =>
  runtime.ones(...args),
);
entry(
  'Runtime.arange',
  {
    end: finite(2),
    options: options({ start: maybe(finite(1)), step: maybe(leaf(1, '-1', '1.5', '3')), dtype: maybe(choice('f32')) }),
  },
  (...args: [Any, Any]) => runtime.arange(...args),
);
entry('Runtime.eye', { n: integer(2), dtype: maybe(choice('f32')) }, (...args: [Any, Any]) => runtime.eye(...args));
entry(
  'Runtime.fromHost',
  { host: open({ dtype: choice('f32'), shape: leaf([2]), data: leaf(new Float32Array(2)) }) },
  (given) => runtime.fromHost(given),
);
entry('Runtime.empty', { shape: leaf([2], 'array'), dtype: maybe(choice('f32')) }, (...args: [Any, Any]) =>
  runtime.empty(...args),
);
entry(
  'Runtime.random',
  {
    shape: leaf([2], 'array'),
    options: options({ seed: maybe(integer(1)), distribution: maybe(choice('uniform')), dtype: maybe(choice('f32')) }),
  },
  (...args: [Any, Any]) => runtime.random(...args),
);
entry('stopGradient', { x: lone(2) }, saccade.stopGradient);
entry('straightThrough', { fn: fn((x: Tensor) => saccade.relu(x)), x: lone(2) }, saccade.straightThrough);
entry('recompute', { fn: fn((x: Tensor) => saccade.relu(x)), x: lone(2) }, saccade.recompute);
entry('withDerivative', { fn: fn((x: Tensor) => x), derivative: fn(() => []) }, saccade.withDerivative);
entry(
  'differentiate',
  { fn: fn((x: Tensor) => saccade.sum(x)), parameters: called('inputs', lone(2)), control: options(control) },
  saccade.differentiate,
);
entry('pullback', { fn: fn((x: Tensor) => saccade.relu(x)), inputs: lone(2) }, saccade.pullback);
entry('Runtime.scope', { work: fn(() => 1) }, (work) => runtime.scope(work));
const matrix = random(2, 3);
const square = random(3, 3);
entry('Tensor.reshape', { shape: leaf([3, 2]) }, (shape) => matrix.reshape(shape));
entry(
  'Tensor.slice',
  { axis: leaf(1, '0'), start: called('slice', leaf(1, '0')), end: called('slice', leaf(2, '3')) },
  (...args: [Any, Any, Any]) => square.slice(...args),
);
entry('Tensor.permute', { axes: leaf([1, 0]) }, (axes) => matrix.permute(axes));
entry('Tensor.expand', { shape: called('expand', leaf([4, 2, 3])) }, (shape) => matrix.expand(shape));
entry(
  'hostTensor',
  { data: leaf([1, 2], 'float64'), shape: maybe(leaf([2])), dtype: maybe(choice('f32')) },
  saccade.hostTensor,
);
entry(
  'convert',
  { host: open({ dtype: choice('f32'), shape: leaf([2]), data: leaf(new Float32Array(2)) }), dtype: choice('f16') },
  saccade.convert,
);

// Files.
const file = (bytes: Uint8Array) => leaf(bytes);
entry('io.readNpy', { file: called('npy', file(io.writeNpy(host(2)))) }, io.readNpy);
entry(
  'io.readNpz',
  {
    file: called('npz', file(io.writeNpz({ a: host(2) }))),
    options: options({ maxBytes: maybe(leaf(1000, 'Infinity', '2 ** 53')) }),
  },
  io.readNpz,
);
entry(
  'io.readSafetensors',
  { file: called('safetensors', file(io.writeSafetensors({ a: host(2) }))) },
  io.readSafetensors,
);
entry('io.writeNpy', { tensor: leaf(host(2)) }, io.writeNpy);
entry(
  'io.writeNpz',
  {
    tensors: called("'storage'", leaf({ a: host(2) }, ...EMPTY_OBJECTS)),
    options: options({ compress: maybe(boolean()) }),
  },
  io.writeNpz,
);
entry(
  'io.readSafetensorsMetadata',
  { file: called('safetensors', file(io.writeSafetensors({ a: host(2) }))) },
  io.readSafetensorsMetadata,
);
entry(
  'io.writeSafetensors',
  {
    tensors: called("'storage'", leaf({ a: host(2) }, ...EMPTY_OBJECTS)),
    options: options({ metadata: maybe(leaf({ a: 'b' }, ...RECORDS)) }),
  },
  io.writeSafetensors,
);

// Weights.
const opened = await weightFiles.openWeights(io.writeSafetensors({ a: host(2, 2) }));
const rows = leaf([0, 1]);
entry(
  'weights.openWeights',
  {
    from: called('bytes', file(io.writeSafetensors({ a: host(2) }))),
    options: options({ signal: control.signal!, cache: maybe(boolean(false)) }),
  },
  weightFiles.openWeights,
);
entry('weights.ggufTokenizer', { metadata: leaf({}, ...RECORDS) }, weightFiles.ggufTokenizer);
entry('weights.Weights.select', { pattern: text('a') }, (pattern) => opened.select(pattern));
entry(
  'weights.Weights.read',
  {
    name: text('a'),
    options: options({ dtype: maybe(choice('f16')), rows: maybe(rows), signal: control.signal! }),
  },
  (name, given) => opened.read(name, given),
);
entry(
  'weights.Weights.download',
  { options: options({ sha256: maybe(leaf({}, ...EMPTY_OBJECTS)), ...control }) },
  (given) => opened.download(given),
);
entry(
  'weights.writeWeights',
  {
    tensors: called("'storage'", leaf({ a: host(2) }, ...EMPTY_OBJECTS)),
    options: options({
      metadata: maybe(leaf({ a: 'b' }, ...RECORDS)),
      config: maybe(leaf({ a: 1 }, ...RECORDS)),
      shardBytes: maybe(leaf(8, '3')),
      ...control,
    }),
  },
  (tensors, given) => weightFiles.writeWeights(mkdtempSync(join(scratch, 'weights-')), tensors, given),
);
entry(
  'weights.packWeight',
  { runtime: leaf(runtime), source: leaf(host(2, 2)), options: options({ type: maybe(choice('bf16')) }) },
  async (...args: [Any, Any, Any]) => (await weightFiles.packWeight(...args)).dispose(),
);
entry(
  'weights.quantizeWeights',
  {
    weights: leaf(opened),
    options: object({
      type: choice('q8'),
      keep: maybe(leaf(['a'], 'array', 'array of text')),
      shardBytes: maybe(leaf(8, '3')),
      ...control,
    }),
  },
  (weights, options) => weightFiles.quantizeWeights(weights, mkdtempSync(join(scratch, 'weights-')), options),
);
entry('decodeMap', { head: leaf('AAA=', 'empty text') }, saccade.decodeMap);

// Masks.
const lengths = leaf([2, 1]);
entry('masks.area', { mask: aMask, extent: open(extent) }, masks.area);
entry('masks.band', { left: leaf(1, '-1', '0', '3'), right: leaf(1, '-1', '0', '3') }, masks.band);
entry('masks.causal', {}, masks.causal);
entry('masks.full', {}, masks.full);
entry('masks.blocks', { size: whole(2), mask: aMask }, masks.blocks);
entry('masks.blockCausal', { size: whole(2) }, masks.blockCausal);
entry('masks.causalBlockwise', { lengths }, masks.causalBlockwise);
entry(
  'masks.chosenChunks',
  {
    params: object({
      chunk: leaf(2, '3'),
      tokens: leaf(4, '3'),
      chosen: leaf([1, 0], 'float64'),
      batches: called('chosen', leaf(1)),
      heads: called('chosen', leaf(1)),
      own: maybe(boolean()),
    }),
  },
  masks.chosenChunks,
);
entry('masks.and', { mask: aMask }, (mask) => masks.and(mask, masks.full()));
entry('masks.or', { mask: aMask }, (mask) => masks.or(mask, masks.full()));
entry('masks.not', { mask: aMask }, masks.not);
entry('masks.dilated', { reach: from0(2), step: whole(2) }, masks.dilated);
entry('masks.documents', { ids: leaf([0, 0, 1], 'float64', 'uint8'), batches: maybe(leaf(1, '3')) }, masks.documents);
entry('masks.documentIds', { lengths }, masks.documentIds);
entry('masks.firstQueries', { count: from0(1) }, masks.firstQueries);
entry('masks.prefix', { count: from0(1) }, masks.prefix);
entry('masks.sinks', { count: from0(1) }, masks.sinks);
entry('masks.flashMaskColumns', { mask: aMask, place: open(place) }, masks.flashMaskColumns);
entry(
  'masks.from',
  {
    fn: called(
      'function',
      leaf((_b: number, _h: number, q: number, k: number) => q === k),
    ),
    captured: CAPTURED,
  },
  masks.from,
);
entry('masks.globalSliding', { window: from0(1), globals: from0(1) }, masks.globalSliding);
entry('masks.KeyWords', {}, () => new masks.KeyWords().count());
entry(
  'masks.keyWords',
  { mask: aMask, queries: leaf([0, 1], 'array', 'float64', 'uint8'), place: open(place) },
  masks.keyWords,
);
entry('masks.LONGCA_MASKS', {}, () => masks.LONGCA_MASKS.length);
for (const { name, mask, slices } of masks.LONGCA_MASKS) {
  const params = object({ tokens: few(3), lengths, window: from0(1), prefix: from0(1), block: few(1) });
  entry(`masks.LONGCA_MASKS ${name} mask`, { params }, mask);
  entry(`masks.LONGCA_MASKS ${name} slices`, { params }, slices);
}
entry(
  'masks.longNet',
  { params: options({ block: maybe(whole(2)), levels: maybe(leaf([{ segment: 4, dilation: 1 }])) }) },
  masks.longNet,
);
entry('masks.longNet levels', { level: called('levels', object({ segment: whole(4), dilation: whole(1) })) }, (level) =>
  masks.longNet({ levels: [level] }),
);
entry('masks.oneHead', { n: whole(3), m: whole(3) }, masks.oneHead);
const neighborhoodFields: Slots = {
  grid: leaf([4, 4]),
  window: few(3),
  stride: maybe(few(1)),
  dilation: maybe(leaf(1)),
  causal: maybe(boolean()),
};
entry(
  'masks.neighborhood',
  {
    params: object(neighborhoodFields),
    tiles: maybe(object({ queries: leaf([2, 2]), keys: leaf([2, 2]), padding: maybe(leaf([0, 0], 'float64')) })),
  },
  masks.neighborhood,
);
entry('masks.maskText', { mask: aMask, place: open(place), columns: whole(40) }, masks.maskText);
entry(
  'masks.maskSvg',
  { mask: aMask, place: open(place), options: options({ title: maybe(text('a')), bare: maybe(boolean()) }) },
  masks.maskSvg,
);
const sinkWindow: Slots = { block: whole(2), window: whole(2), sink: maybe(from0(1)) };
entry('masks.power', { params: object(sinkWindow) }, masks.power);
entry('masks.slidingBlocks', { params: object(sinkWindow) }, masks.slidingBlocks);
entry('masks.strideSlash', { params: object({ ...sinkWindow, stride: whole(2) }) }, masks.strideSlash);
entry(
  'masks.dilatedBlocks',
  { params: object({ block: whole(2), reach: whole(2), step: whole(2) }) },
  masks.dilatedBlocks,
);
entry('masks.powersOfTwo', {}, masks.powersOfTwo);
entry('masks.prefixDocuments', { lengths, count: from0(1) }, masks.prefixDocuments);
const pattern: Slots = {
  localBlocks: whole(2),
  verticalStride: whole(2),
  headStep: maybe(from0(1)),
  headOffset: maybe(leaf(1, '-1', '0', '3')),
  denseHeads: maybe(from0(1)),
  homogeneous: maybe(boolean(false)),
  positions: maybe(choice('absolute')),
};
const noDense = { ...pattern, denseHeads: maybe(from0(0)) };
entry('masks.s2', { params: object({ block: whole(2), ...noDense, homogeneous: maybe(boolean(true)) }) }, masks.s2);
entry('masks.s2Blocks', { pattern: object({ ...noDense }) }, masks.s2Blocks);
entry('masks.isKvCacheEfficient', { mask: aMask, place: open(place) }, masks.isKvCacheEfficient);
const heads: Slots = { h: few(1), g: leaf(1) };
entry('masks.isUnionComplete', { pattern: object(noDense), heads: object(heads) }, masks.isUnionComplete);
entry(
  'masks.cachedBlocks',
  { pattern: object(noDense), last: leaf(2, '0', '3'), heads: object({ ...heads, head: leaf(0, '0') }) },
  masks.cachedBlocks,
);
entry('masks.shareQuestion', { lengths }, masks.shareQuestion);
const slice: Slots = { queries: leaf([0, 2]), keys: leaf([0, 2]), kind: choice('full') };
entry(
  'masks.fromSlices',
  { slices: called('slice', leaf([{ queries: [0, 2], keys: [0, 2], kind: 'full' }], 'array')) },
  masks.fromSlices,
);
entry('masks.fromSlices slice', { slice: object(slice) }, (given) => masks.fromSlices([given]));
entry('masks.sliceArea', { slice: object(slice) }, masks.sliceArea);
entry('masks.sliceKeys', { slice: object(slice), i: leaf(1, '0') }, masks.sliceKeys);
entry('masks.randomPermutation', { length: few(4), seed: integer(1) }, masks.randomPermutation);
entry(
  'masks.stochastic',
  { params: object({ permutation: leaf([1, 0, 2]), window: whole(2), causal: maybe(boolean()) }) },
  masks.stochastic,
);
entry('masks.strided', { stride: whole(2) }, masks.strided);

// Scores.
const table = open({ dtype: choice('f32'), shape: leaf([1, 3]), data: leaf(new Float32Array(3)) });
entry('scores.additiveBias', { table }, scores.additiveBias);
const seenTable = open({ dtype: choice('u8'), shape: leaf([1, 3]), data: leaf(new Uint8Array(3), 'uint8') });
entry('masks.fromTable', { table: seenTable }, masks.fromTable);
entry('scores.relativeBias', { table }, scores.relativeBias);
entry(
  'scores.alibi',
  { slopes: leaf([0.5, 0.25], 'array', 'float64', 'uint8', 'tensor of another runtime') },
  scores.alibi,
);
entry('scores.compose', { score: aScore }, (score) => scores.compose(score, scores.softcap(2)));
entry(
  'scores.from',
  {
    fn: called(
      'function',
      fn((score: number) => score),
    ),
    captured: CAPTURED,
  },
  scores.from,
);
entry('scores.softcap', { c: called('softcap', above0(2)) }, scores.softcap);

// Feature maps.
const drawn: Slots = {
  dimension: few(2),
  features: few(4),
  seed: maybe(integer(1)),
  orthogonal: maybe(boolean()),
  norms: maybe(choice('chi')),
};
const even = { ...drawn, features: leaf(4) };
entry('featureMaps.arcCosine', { options: object({ ...drawn, degree: maybe(leaf(1, '0')) }) }, featureMaps.arcCosine);
entry(
  'featureMaps.fourier',
  { options: object({ ...even, bandwidth: maybe(above0(1)), phases: maybe(choice('pairs')) }) },
  featureMaps.fourier,
);
entry(
  'featureMaps.positive',
  { options: object({ ...even, antithetic: maybe(boolean()), stabilise: maybe(choice('none')) }) },
  featureMaps.positive,
);
entry('featureMaps.power', { exponent: few(2) }, featureMaps.power);
const maps = { ...featureMaps, drawn: featureMaps.positive({ dimension: 2, features: 4 }) };
for (const [name, map] of Object.entries(maps)) {
  if (typeof map === 'function') continue;
  const signal = options({ signal: maybe(leaf(new AbortController().signal)) });
  entry(`featureMaps.${name}`, { x: lone(3, 2), options: signal }, map.forward);
  entry(`featureMaps.${name} features`, { d: name === 'drawn' ? called('x', leaf(2)) : whole(2) }, map.features);
}

// Simulations.
const setting = open({ ...neighborhoodFields, dilation: maybe(leaf(1)) });
const sweepSetting = open(Object.fromEntries(Object.entries(neighborhoodFields).filter(([name]) => name !== 'stride')));
const tiles = open({ queryTile: leaf([2, 2]), keyTile: leaf([2, 2]), tiling: maybe(choice('static')) });
entry('simulate.simulateGna', { setting: called('params', setting), tiles }, simulate.simulateGna);
entry(
  'simulate.endToEndSpeedup',
  { speedup: leaf(2, '1.5', '3', 'Infinity'), attentionShare: leaf(0.5, '0', '0.5') },
  simulate.endToEndSpeedup,
);
entry('simulate.publishedRows', {}, () => simulate.publishedRows.length);
entry('simulate.sweepStrides', { setting: sweepSetting, tiles }, simulate.sweepStrides);
entry('simulate.tilesOfMenu', { menu: choice('hopper'), rank: called('grid', leaf(2, '3')) }, simulate.tilesOfMenu);
const link = maybe(object({ seconds: above0(1e-6), bytesPerSecond: above0(1e9) }));
const onDevices = object({
  ...{ devices: few(2), tokens: few(6), heads: few(3), keyHeads: maybe(leaf(1, '3')), d: few(4) },
  ...{ causal: maybe(boolean()), documents: notGiven(leaf([6])), bytes: maybe(few(4)), node: maybe(few(2)) },
  ...{ within: link, between: link, flopsPerSecond: maybe(above0(1e12)), window: maybe(from0(3)) },
  edges: maybe(object({ keys: from0(4), devices: from0(1), both: from0(6) })),
});
entry('simulate.simulateContextParallel', { options: onDevices }, simulate.simulateContextParallel);
entry('simulate.contiguousImbalance', { options: onDevices }, simulate.contiguousImbalance);
entry(
  'simulate.expectedRandomField',
  { size: few(8), window: leaf(2, '3'), layers: few(2) },
  simulate.expectedRandomField,
);
entry('simulate.keysOfMask', { mask: aMask, extent: open(extent) }, simulate.keysOfMask);
entry(
  'simulate.receptiveField',
  {
    keysOf: leaf((_: number, query: number) => [0, query + 1]),
    size: few(4),
    options: object({ query: maybe(leaf(2, '0', '3')), layers: few(2), changes: maybe(boolean()) }),
  },
  simulate.receptiveField,
);
entry(
  'nn.lightningDecays',
  { schedule: choice('paper'), heads: few(2), place: open({ layer: leaf(0, '0'), layers: few(1) }) },
  nn.lightningDecays,
);
entry('nn.seaPositions', { extents: object({ b: few(1), m: few(2), g: few(1), width: few(2) }) }, nn.seaPositions);

// Ranks: one alone makes every call.
const ranks = await cluster.communicator(runtime);
shared.add(ranks);
const axis = maybe(leaf(0, '0'));
const parts = maybe(leaf([3]));
const zero = maybe(leaf(0, '0'));
entry(
  'cluster sendRecv',
  { x: plain(3), to: zero, from: zero, options: options({ shape: maybe(leaf([3], 'array')), ...control }) },
  (...args: [Any, Any, Any, Any]) => ranks.sendRecv(...args),
);
entry(
  'cluster allToAll',
  {
    x: plain(3),
    options: object({ split: leaf(0, '0'), concat: axis, counts: parts, received: parts, ...control }),
  },
  (...args: [Any, Any]) => ranks.allToAll(...args),
);
const gathering = { x: plain(3), options: options({ axis, counts: parts, ...control }) };
entry('cluster allGather', gathering, (...args: [Any, Any]) => ranks.allGather(...args));
entry('cluster reduceScatter', gathering, (...args: [Any, Any]) => ranks.reduceScatter(...args));
entry(
  'cluster allReduce',
  { x: plain(3), options: options({ operation: maybe(choice('sum')), ...control }) },
  (...args: [Any, Any]) => ranks.allReduce(...args),
);
entry('cluster broadcast', { x: plain(3), root: zero, options: options(control) }, (...args: [Any, Any, Any]) =>
  ranks.broadcast(...args),
);
entry('cluster split', { colour: maybe(from0(0)), key: maybe(integer(0)) }, (...args: [Any, Any]) =>
  ranks.split(...args),
);
entry('cluster barrier', {}, () => ranks.barrier());
const perhapsSeconds = maybe(above0(1));
entry(
  'cluster.communicator',
  { runtime: leaf(runtime), options: options({ seconds: perhapsSeconds }) },
  cluster.communicator,
);
entry(
  'cluster.asRank',
  {
    work: fn(() => 0),
    options: options({ runtime: maybe(options({ backend: maybe(choice('reference')) })), seconds: perhapsSeconds }),
  },
  cluster.asRank,
);
/** A worker whose rank ends as soon as it has begun. */
const ended = () => ({
  on: (event: string, listener: (end: object) => void) => event === 'message' && listener({ result: 1 }),
  postMessage: () => {},
  terminate: () => {},
});
entry(
  'cluster.runRanks',
  {
    count: few(1),
    open: fn(ended),
    options: options({ data: leaf(1, ...Object.keys(junk)), seconds: perhapsSeconds, signal: control.signal as Slot }),
  },
  cluster.runRanks,
);
const summand = random(3);
entry('cluster.sumOver', { communicator: leaf(ranks) }, (given) => cluster.sumOver(given)([summand]));
const overRanks: Slots = { communicator: leaf(ranks), tokens: few(3) };
const ofRanks = [random(...q), random(...k), random(...v)] as const;
const sharded = cluster.contextParallel(saccade.attention, { communicator: ranks, tokens: 3 });
entry(
  'cluster.contextParallel',
  {
    op: choice(saccade.attention),
    options: object({
      ...overRanks,
      ...{ mechanism: maybe(choice('auto')), batch: maybe(few(1)), heads: maybe(few(2)), keyHeads: maybe(leaf(1)) },
      ...{ shards: maybe(leaf(sharded.shards)), costs: maybe(options({ node: maybe(few(1)), within: link })) },
      ...{ causal: maybe(boolean()), window: notGiven(leaf([1, 1])), mask: notGiven(aMask) },
    }),
  },
  (op, options) => cluster.contextParallel(op, options)(...ofRanks),
);
entry(
  'cluster.contextParallel()()',
  {
    ...{ ...qkv, q: called('d', tensor(...q)) },
    options: options({ scale: maybe(finite(1)), lse: maybe(boolean()) }),
  },
  sharded as Any,
);
const states = {
  op: choice(saccade.linearAttention),
  options: object({ ...overRanks, mechanism: maybe(choice('auto')) }),
};
entry('cluster.contextParallel, states', states, (op, options) => cluster.contextParallel(op, options));
entry('cluster dispatch', { x: lone(2, 3), axis: leaf(1, 'undefined') }, sharded.dispatch);
entry('cluster undispatch', { x: plain(2, 3), axis: leaf(1, 'undefined') }, sharded.undispatch);

// Networks.
const seed = maybe(integer(1));
const aRuntime = leaf(runtime);
// What is in a tensor of another library is that library's.
const foreign = leaf({
  type: 'float32',
  dims: [3],
  dtype: 'float32',
  shape: [3],
  location: 'cpu',
  data: new Float32Array(3),
});
const waiting = async () => new Float32Array(3);
const awaited = leaf({ dtype: 'float32', shape: [3], data: waiting, dataToGPU: waiting, ref: { data: waiting } });
const gpuOption = options({ gpu: maybe(leaf(false)) });
entry('adapters.fromOnnxruntime', { runtime: aRuntime, x: foreign }, adapters.fromOnnxruntime);
entry(
  'adapters.toOnnxruntime',
  { ort: leaf({ Tensor: class {} }), x: lone(3), options: gpuOption },
  adapters.toOnnxruntime,
);
entry('adapters.fromTensorFlow', { runtime: aRuntime, x: awaited, options: gpuOption }, adapters.fromTensorFlow);
entry(
  'adapters.toTensorFlow',
  { tf: leaf({ tensor: () => 0 }), x: lone(3), options: gpuOption },
  adapters.toTensorFlow,
);
entry('adapters.fromJax', { runtime: aRuntime, x: awaited, options: gpuOption }, adapters.fromJax);
entry('adapters.toJax', { numpy: leaf({ array: () => 0 }), x: lone(3) }, adapters.toJax);
const training = new nn.TrainingPass();
const moduleControl = options({
  signal: maybe(leaf(new AbortController().signal)),
  training: maybe(leaf(training)),
});
const attentionConfig: Slots = {
  method: maybe(leaf(library.exactAttention)),
  params: called('param', maybe(leaf({}, ...EMPTY_OBJECTS))),
  width: few(4),
  heads: few(2),
  keyHeads: maybe(leaf(1)),
  d: maybe(few(2)),
  e: maybe(few(2)),
  bias: maybe(object({ qkv: maybe(boolean()), out: maybe(boolean()) }, ...EMPTY_OBJECTS)),
  projections: maybe(
    object({ fused: maybe(text('qkv')), out: maybe(text('out')), transposed: maybe(boolean()) }, ...EMPTY_OBJECTS),
  ),
  qkNorm: maybe(object({ epsilon: maybe(atLeast0(1)) }, ...EMPTY_OBJECTS)),
  rope: maybe(object({ theta: maybe(above0(100)), layout: maybe(choice('half')) }, ...EMPTY_OBJECTS)),
  grid: leaf(undefined, 'undefined'),
  layer: maybe(from0(0)),
  layers: maybe(few(4)),
};
const feedForward: Slots = {
  width: few(4),
  hidden: few(2),
  activation: maybe(choice('relu')),
  bias: maybe(boolean(false)),
  transposed: maybe(boolean(false)),
};
const modules: Record<string, Slots> = {
  attention: attentionConfig,
  norm: {
    kind: maybe(choice('batch')),
    width: few(4),
    epsilon: maybe(atLeast0(1)),
    momentum: maybe(leaf(0.1, '0', '0.5')),
  },
  mlp: { ...feedForward, names: maybe(leaf(['a', 'b'])) },
  glu: { ...feedForward, names: maybe(leaf(['a', 'b', 'c'])) },
  gatedLinearAttention: {
    width: leaf(4),
    heads: leaf(2),
    decay: maybe(leaf([0.5, 0.5])),
    lrpe: maybe(boolean()),
  },
  simpleGlu: { width: few(4), hidden: few(2) },
  snnkAdapter: {
    width: few(4),
    features: few(2),
    hidden: maybe(few(2)),
    floor: maybe(finite(0.1)),
    seed: maybe(integer(1)),
  },
  transnormerBlock: {
    width: leaf(4),
    heads: leaf(2),
    hidden: few(3),
    layer: from0(0),
    layers: whole(4),
    schedule: maybe(choice('paper')),
  },
};
for (const [name, fields] of Object.entries(modules)) {
  const make = { ...nn }[name as keyof typeof nn] as (config: Any) => nn.Module;
  entry(`nn.${name}`, { config: object(fields) }, make);
  const module = make(Object.fromEntries(Object.entries(fields).map(([key, slot]) => [key, slot.make()])));
  const parameters = Object.entries(nn.initial(module, runtime)).map(([key, value]) => [key, leaf(keep(value))]);
  const slots = { x: tensor(1, 3, 4), parameters: object(Object.fromEntries(parameters)), control: moduleControl };
  entry(`nn.${name} forward`, slots, (...args) => {
    try {
      return module.forward(...(args as Parameters<nn.Module['forward']>));
    } finally {
      training.dispose();
    }
  });
}
entry(
  'nn.activationWaves',
  {
    activation: object(
      {
        transform: fn(() => [1, 0]),
        isPinned: maybe(boolean()),
        constant: maybe(finite(1)),
        linear: maybe(finite(1)),
      },
      'function',
    ),
    options: object({ count: few(2), radius: maybe(above0(2)), most: maybe(above0(2)) }),
  },
  nn.activationWaves,
);
entry(
  'nn.snnkLayer',
  {
    inputs: object({ x: tensor(3, 2), w: tensor(4, 2), projections: tensor(2, 2), bias: maybe(tensor(4)) }),
    waves: leaf(nn.activationWaves(Math.tanh, { count: 2 })),
  },
  nn.snnkLayer,
);
const network = nn.mlp({ width: 2, hidden: 2 });
const ofNetwork = Object.entries(nn.initial(network, runtime)).map(([key, value]) => [key, leaf(keep(value))]);
entry(
  'nn.bundleLayers',
  {
    network: leaf(network),
    parameters: object(Object.fromEntries(ofNetwork)),
    x: leaf(random(3, 2)),
    options: object({
      features: leaf([2]),
      targets: notGiven(leaf(random(3, 2))),
      ridge: maybe(atLeast0(1)),
      floor: maybe(finite(0)),
      seed: maybe(integer(0)),
    }),
  },
  async (...args: Any[]) => {
    const { parameters } = await (nn.bundleLayers as Any)(...args);
    for (const each of Object.values(parameters) as Tensor[]) each.dispose();
  },
);
const parameter = open({
  shape: leaf([2], 'array'),
  initial: object({ std: finite(1) }),
  isBuffer: maybe(boolean(false)),
});
const described = called('shape', { ...object({ weight: parameter }, ...EMPTY_OBJECTS), closed: false });
const definition = open({
  name: text('mine'),
  inputs: maybe(leaf(['low'], 'array', 'array of text', 'array of null', 'array of NaN', 'sparse array')),
  parameters: described,
  forward: fn(() => {}),
});
entry('nn.defineModule', { definition }, nn.defineModule);
const module = open({ parameters: described });
entry('nn.initial', { module, runtime: aRuntime, seed }, (...args: [Any, Any]) => Object.values(nn.initial(...args)));
entry('nn.countParameters', { module }, nn.countParameters);
entry('nn.splitBuffers', { module, all: leaf({ weight: 1 }, ...RECORDS) }, nn.splitBuffers);
entry(
  'nn.TrainingPass',
  { seed: maybe(integer(1)), buffer: tensor(2), value: tensor(2), buffers: leaf(undefined, 'undefined') },
  (seed, buffer, value, buffers) => {
    const pass = new nn.TrainingPass(seed);
    try {
      pass.update(buffer, value);
      pass.apply(buffers === undefined ? { buffer } : buffers);
    } finally {
      pass.dispose();
    }
  },
);
const weights = { parameters: leaf({ 'a.weight': 1 }, ...RECORDS), prefix: text('a') };
entry('nn.partOf', weights, nn.partOf);
entry('nn.prefixed', weights, nn.prefixed);
entry(
  'nn.linearAll',
  {
    x: plain(3, 2),
    weights: leaf([random(4, 2)]),
    options: options({ biases: maybe(leaf([undefined])), activations: maybe(choice('f32')), signal: control.signal! }),
  },
  nn.linearAll,
);
entry('nn.lrpeAngles', { channels: few(2) }, nn.lrpeAngles);
entry('nn.lrpeFactors', { theta: lone(2, 2), n: few(3) }, nn.lrpeFactors);
entry('nn.lrpe', { x: plain(1, 3, 2, 2), factors: object({ cos: plain(3, 2, 2), sin: plain(3, 2, 2) }) }, nn.lrpe);

// Training.
const trained = { w: filled(1, 2, 2) };
const decayed: Slots = { learningRate: maybe(atLeast0(0.1)), weightDecay: maybe(atLeast0(0.1)) };
const heavy: Slots = { ...decayed, momentum: maybe(leaf(0.5, '0', '0.5')) };
const adaptive: Slots = { ...decayed, betas: maybe(leaf([0.9, 0.99], 'float64')), epsilon: maybe(atLeast0(1)) };
const optimizers: Record<string, Slots> = {
  adamw: adaptive,
  sgd: { ...heavy, nesterov: maybe(boolean()) },
  muon: { ...heavy, adamw: maybe(options(adaptive)), only: maybe(fn(() => true)) },
};
for (const [name, fields] of Object.entries(optimizers)) {
  const make = { ...train }[name as keyof typeof train] as (parameters: Any, options?: Any) => train.Optimizer;
  const parameters = leaf(trained);
  entry(`train.${name}`, { parameters, options: options(fields) }, (...args: [Any, Any]) => make(...args).dispose());
  const optimizer = make(trained);
  for (const each of Object.values(optimizer.state)) keep(each);
  const moving: Slots = {
    gradients: called('gradient', object({ w: tensor(2, 2) })),
    options: options({ scale: maybe(atLeast0(0.5)), rate: maybe(atLeast0(0.5)) }),
  };
  entry(`train.${name} step`, moving, (...args: [Any, Any]) => optimizer.step(...args));
}
entry('train.globalNorm', { gradients: leaf(trained, 'tensor of another runtime') }, train.globalNorm);
const course: Slots = { steps: whole(9), warmup: maybe(from0(2)), floor: maybe(leaf(0.5, '0', '0.5')) };
entry('train.warmupCosine', { options: object(course) }, train.warmupCosine);
entry('train.warmupStableDecay', { options: object({ ...course, decay: from0(3) }) }, train.warmupStableDecay);
const checkpoint = writeCheckpoint({
  ...{ steps: 0, settings: {}, parameters: { w: host(2) }, state: {} },
  history: { losses: [], gradientNorms: [], validation: [] },
});
entry('train.readCheckpoint', { file: called('safetensors', file(checkpoint)) }, train.readCheckpoint);
const sizes: Record<string, readonly (readonly [string, number])[]> = {
  associativeRecall: [
    ['length', 16],
    ['pairs', 3],
    ['keys', 5],
  ],
  needle: [
    ['length', 9],
    ['needles', 2],
    ['symbols', 4],
  ],
  copy: [
    ['length', 6],
    ['symbols', 3],
  ],
  stateTracking: [
    ['length', 4],
    ['items', 3],
  ],
  inContextRegression: [
    ['length', 9],
    ['inputs', 2],
    ['bins', 4],
    ['answers', 3],
  ],
};
for (const [name, fields] of Object.entries(sizes)) {
  const make = { ...train }[name as 'copy'];
  const given = Object.fromEntries(fields.map(([field, value]) => [field, maybe(whole(value))]));
  entry(`train.${name}`, { options: options(given) }, (...args: [Any]) => make(...args));
  entry(`train.${name} examples`, { count: whole(2), seed: integer(1) }, (...args: [Any, Any]) =>
    make().examples(...args),
  );
}
const every = whole(1);
const drawn2 = fn(() => undefined);
/** One for each call: one that has taken steps goes on with their checkpoint alone. */
const inUse: train.Optimizer[] = [];
function newOptimizer(): train.Optimizer {
  const optimizer = train.sgd(trained, { learningRate: 0 });
  inUse.push(optimizer);
  return optimizer;
}
entry(
  'train.train',
  {
    options: object({
      parameters: leaf(trained),
      buffers: maybe(leaf({ b: filled(1, 2) }, ...EMPTY_OBJECTS)),
      optimizer: { ...leaf(undefined), make: newOptimizer },
      loss: fn(({ w }: Any) => saccade.sum(w)),
      batches: drawn2,
      steps: leaf(1, '3'),
      schedule: maybe(fn(() => 1)),
      clip: maybe(leaf(1, '1.5', '3', 'Infinity')),
      accumulate: maybe(whole(1)),
      validate: maybe(object({ every, count: every, batches: drawn2 })),
      checkpoint: maybe(object({ every, save: fn(() => undefined), settings: maybe(leaf({ seed: 1 }, ...RECORDS)) })),
      signal: maybe(leaf(new AbortController().signal)),
      onStep: maybe(fn(() => undefined)),
    }),
  },
  async (...args: [Any]) => {
    try {
      await train.train(...args);
    } finally {
      for (const each of inUse.splice(0)) each.dispose();
    }
  },
);

const someText = leaf('a b', 'text');
entry('train.characterTokenizer', { text: someText }, train.characterTokenizer);
entry('train.bytePairTokenizer', { text: someText, size: leaf(300) }, train.bytePairTokenizer);
const { file: vocabulary } = train.characterTokenizer('a');
entry('train.tokenizerOf', { file: leaf(vocabulary) }, train.tokenizerOf);
entry(
  'train.windows',
  {
    tokens: leaf(new Int32Array(99)),
    options: object({
      length: whole(2),
      batch: whole(2),
      seed: maybe(from0(1)),
      validation: maybe(leaf(0.1, '0', '0.5')),
    }),
  },
  train.windows,
);

// The whole.
const tokens = { q: plain(1, 4, 2, 2), k: plain(1, 4, 2, 2), v: plain(1, 4, 2, 2) };
const comparison: Slots = {
  methods: leaf([], 'undefined', 'array'),
  maxError: maybe(leaf(1, '1.5', '3', 'Infinity')),
  seconds: leaf(0, 'undefined', '0', '1.5', '3', 'Infinity'),
  ...control,
};
entry('compare', { inputs: object(tokens), options: options(comparison) }, saccade.compare);
entry(
  'models.loadUniversalSentenceEncoder',
  { runtime: aRuntime, source: called('model.json', leaf(undefined, 'undefined')) },
  async (...args: [Any, Any]) => {
    if (args[0] !== runtime || args[1] !== undefined) await models.loadUniversalSentenceEncoder(...args);
  },
);
const none = (slot: Slot): Slot => ({ ...maybe(slot), takes: [...slot.takes, 'undefined', 'null'] });
const decoderConfig: Slots = {
  model_type: choice('qwen3'),
  vocab_size: few(5),
  hidden_size: few(4),
  intermediate_size: few(3),
  num_hidden_layers: whole(1),
  num_attention_heads: few(2),
  num_key_value_heads: none(leaf(1)),
  head_dim: none(leaf(2)),
  hidden_act: none(choice('silu')),
  rms_norm_eps: none(atLeast0(1)),
  rope_theta: none(above0(100)),
  rope_scaling: called('rope_parameters', none(leaf({ rope_type: 'default' }, ...RECORDS))),
  tie_word_embeddings: none(boolean()),
  attention_bias: none(boolean(false)),
  mlp_bias: none(boolean(false)),
  use_sliding_window: none(boolean(false)),
  max_window_layers: none(from0(0)),
  layer_types: none(leaf(['sliding_attention'])),
  sliding_window: none(whole(2)),
  initializer_range: none(atLeast0(1)),
};
const attentionChoice = maybe(leaf(library.exactAttention));
entry(
  'models.createDecoder',
  { config: open(decoderConfig), options: options({ attention: called('method', attentionChoice) }) },
  models.createDecoder,
);
entry(
  'models.insertLandmarks',
  {
    tokens: leaf([1, 2, 3], 'array', 'float64', 'uint8'),
    landmarks: object({
      every: called('every of landmarks', whole(2)),
      token: called('token of landmarks', integer(6)),
    }),
    before: maybe(from0(1)),
  },
  models.insertLandmarks,
);
const decoder = models.createDecoder(
  Object.fromEntries(Object.entries(decoderConfig).map(([key, slot]) => [key, slot.make()])),
);
const initialized = Object.values(decoder.initialize(runtime)).map(keep);
const decoderParameters = object(
  Object.fromEntries(Object.keys(decoder.parameters).map((key, at) => [key, leaf(initialized[at])])),
);
const ids = leaf(keep(runtime.tensor([1, 2, 3], [1, 3], 'i32')));
const signal = maybe(leaf(new AbortController().signal));
const decoding: Slots = { recompute: maybe(boolean(false)), signal };
entry(
  'Decoder.initialize',
  { runtime: aRuntime, options: options({ seed: maybe(integer(1)) }) },
  (...args: [Any, Any]) => Object.values(decoder.initialize(...args)),
);
const stored = Object.entries(decoder.parameters).map(([key, { shape }]) => [key, leaf(host(...shape))]);
entry(
  'Decoder.load',
  {
    runtime: aRuntime,
    file: called('weights', object(Object.fromEntries(stored))),
    options: options({ types: maybe(choice('stored')) }),
  },
  (...args: [Any, Any, Any]) => Object.values(decoder.load(...args)),
);
entry(
  'Decoder.attentionInputs',
  { parameters: decoderParameters, tokens: ids, layer: leaf(0, '0'), options: options(decoding) },
  decoder.attentionInputs,
);
entry('Decoder.forward', { parameters: decoderParameters, tokens: ids, options: options(decoding) }, decoder.forward);
entry(
  'Decoder.loss',
  {
    parameters: decoderParameters,
    tokens: ids,
    targets: ids,
    options: options({
      ...{ ...decoding, chunk: maybe(few(2)), ignore: maybe(integer(1)) },
      attend: maybe(leaf(({ q }: Any) => q)),
    }),
  },
  decoder.loss,
);
const decoderCache: Slots = {
  rows: maybe(whole(1)),
  capacity: whole(9),
  dtype: maybe(choice('f16')),
  history: maybe(whole(1)),
};
entry('Decoder.cache', { runtime: leaf(runtime), options: object(decoderCache) }, decoder.cache);
entry(
  'Decoder.step',
  {
    ...{ parameters: decoderParameters, tokens: ids, cache: leaf(undefined, 'undefined') },
    options: options({ ...counts, signal }),
  },
  (parameters, tokens, given, options) => {
    using cache = decoder.cache(runtime, { capacity: 9 });
    return decoder.step(parameters, tokens, given === undefined ? cache : given, options);
  },
);
const onDecoderCache = (use: (cache: models.DecoderCache, given: Any) => unknown) => (given: Any) => {
  using cache = decoder.cache(runtime, { capacity: 9 });
  return use(cache, given);
};
entry(
  'DecoderCache.truncate',
  { lengths: leaf(0, '0') },
  onDecoderCache((cache, lengths) => cache.truncate(lengths)),
);
entry(
  'DecoderCache.fork',
  { rows: leaf([0]) },
  onDecoderCache((cache, rows) => cache.fork(rows).dispose()),
);
const language: Slots = {
  ends: maybe(leaf([0], 'array', 'sparse array')),
  context: maybe(few(8)),
  cache: maybe(choice('f16')),
  ...{ rows: maybe(whole(1)), chunk: maybe(whole(1)), kept: maybe(leaf(1, '0', '3')) },
};
entry(
  'models.languageModel',
  {
    ...{ runtime: aRuntime, decoder: leaf(decoder), parameters: decoderParameters },
    options: options({ ...language, tokenizer: maybe(leaf(undefined, 'undefined')) }),
  },
  (...args: [Any, Any, Any, Any]) => {
    models.languageModel(...args);
  },
);
const modelFiles = io.writeSafetensors(
  Object.fromEntries(
    await Promise.all(
      Object.entries(decoder.initialize(runtime)).map(async ([key, x]) => [key, await keep(x).toHost()]),
    ),
  ),
);
entry(
  'models.loadDecoder',
  {
    from: called('bytes', file(modelFiles)),
    options: object({
      ...{ runtime: aRuntime, config: open(decoderConfig) },
      ...language,
      types: maybe(choice('f32')),
      signal: control.signal!,
    }),
  },
  async (...args: [Any, Any]) => (await models.loadDecoder(...args)).dispose(),
);
entry(
  'models.calibrate',
  {
    model: leaf(models.languageModel(runtime, decoder, decoder.initialize(runtime))),
    method: leaf(library.deltallm),
    text: called('prompt', leaf([1, 0, 1, 1])),
    options: options({ error: maybe(above0(1)), params: maybe(leaf({}, ...EMPTY_OBJECTS)), ...control }),
  },
  models.calibrate,
);
entry(
  'defaultModel.loadDefaultModel',
  { options: object({ runtime: aRuntime, context: language.context!, signal: control.signal! }) },
  async (options: Any) => (await defaultModel.loadDefaultModel(options)).dispose(),
);
entry(
  'models.chatTemplate',
  { source: text('{{ a }}'), tokens: maybe(leaf({ a: 'b' }, ...EMPTY_OBJECTS)) },
  models.chatTemplate,
);
const characters = characterTokenizer('ab').file;
entry(
  'models.languageTokenizer',
  {
    files: object({
      tokenizer: leaf(characters),
      config: maybe(leaf({}, ...EMPTY_OBJECTS)),
      template: maybe(text('{{ a }}')),
    }),
  },
  models.languageTokenizer,
);
const config = Object.fromEntries(Object.entries(decoderConfig).map(([key, slot]) => [key, slot.make()]));
entry(
  'decoderModel',
  { params: object({ config: leaf(config), attention: maybe(leaf('attention')) }) },
  (params) => void decoderModel.create(params),
);
const created = decoderModel.create({ config });
entry(
  'CreatedModel.initialize',
  { runtime: aRuntime, options: options({ seed: maybe(integer(1)) }) },
  (...args: [Any, Any]) => Object.values(created.initialize(...args)),
);
entry(
  'CreatedModel.forward',
  { inputs: object({ tokens: ids }), parameters: decoderParameters, control: moduleControl },
  created.forward,
);
entry('models.countMultiplications', { shapes: object({ tokens: called('tokens', leaf([1, 2])) }) }, (shapes) =>
  models.countMultiplications(created as Any, shapes),
);
entry(
  'models.pruningLoss',
  {
    kept: lone(2, 3),
    options: options({
      variant: maybe(choice('s')),
      layers: maybe(leaf([1, 2, 3])),
      budget: maybe(leaf(0.5, '0', '0.5')),
    }),
  },
  models.pruningLoss,
);
entry(
  'models.audioPicture',
  { features: lone(1, 2, 3), options: options({ frames: maybe(whole(2)) }) },
  models.audioPicture,
);
entry(
  'models.videoPicture',
  { frames: lone(1, 1, 4, 2, 2), options: options({ layout: maybe(choice('mosaic')) }) },
  models.videoPicture,
);
entry('models.seriesPicture', { series: lone(1, 2, 2) }, models.seriesPicture);
entry(
  'models.pointPictures',
  {
    points: leaf(random(1, 4, 3)),
    options: options({ features: maybe(leaf(random(1, 4, 2))), size: maybe(whole(4)) }),
  },
  models.pointPictures,
);
const PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNo+HUQAAQ5AjxOFUv8AAAAAElFTkSuQmCC';
entry(
  'pictures.decodePicture',
  { name: text('p'), file: leaf(Uint8Array.from(Buffer.from(PIXEL, 'base64'))) },
  pictures.decodePicture,
);
entry(
  'pictures.preprocess',
  {
    picture: object({ width: leaf(1), height: leaf(1), rgb: leaf(new Float32Array(3)) }),
    settings: object({
      size: maybe(whole(2)),
      crop: maybe(leaf(0.5, '0.5')),
      multipleOf: maybe(whole(1)),
      interpolation: choice('bicubic'),
      mean: leaf([0]),
      std: leaf([1]),
    }),
  },
  pictures.preprocess,
);
const numbers = leaf([1, 0], 'float64');
entry('pipelines.auroc', { scores: leaf([0.5, 1], 'float64'), labels: numbers }, pipelines.auroc);
entry('pipelines.averagePrecision', { scores: leaf([0.5, 1], 'float64'), labels: numbers }, pipelines.averagePrecision);
entry('pipelines.accuracy', { told: numbers, actual: numbers }, pipelines.accuracy);
entry('pipelines.confusionMatrix', { told: numbers, actual: numbers, classes: whole(2) }, pipelines.confusionMatrix);
entry('pipelines.averageAccuracy', { accuracies: leaf([[1]]) }, pipelines.averageAccuracy);
entry('pipelines.forgetting', { accuracies: leaf([[1]]) }, pipelines.forgetting);
const labelledPictures = object({
  shape: leaf([2, 1, 1, 1]),
  pixels: leaf(Uint8Array.of(0, 255)),
  labels: leaf(Int32Array.of(0, 1)),
});
entry(
  'pipelines.continual',
  {
    runtime: leaf(runtime),
    parts: object({ learned: labelledPictures, unseen: labelledPictures }),
    settings: object({
      ...{
        kind: choice('split'),
        learners: leaf(['joint']),
        tasks: maybe(leaf(1)),
        most: maybe(whole(2)),
        names: maybe(leaf(['a'], 'array', 'array of text')),
      },
      ...{
        kernel: leaf({ kernel: 'linear' }),
        ridge: atLeast0(0.1),
        seeds: whole(1),
        steps: whole(1),
        batch: whole(1),
      },
      ...{ hidden: whole(2), latent: whole(2), support: whole(1), stored: leaf([1]) },
      ...{ learningRate: maybe(atLeast0(0.1)), contrast: maybe(atLeast0(1)) },
    }),
  },
  pipelines.continual,
);
entry('pipelines.loadGenerator', { runtime: leaf(runtime) }, async (runtime) => {
  (await pipelines.loadGenerator(runtime))[Symbol.dispose]();
});
const triangle = pipelines.readGeometry('a.obj', new TextEncoder().encode('v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3'));
entry(
  'pipelines.readGeometry',
  { name: leaf('a.xyz'), file: called('a.xyz', file(new TextEncoder().encode('0 0 0'))) },
  pipelines.readGeometry,
);
entry(
  'pipelines.sampleMesh',
  {
    mesh: object({
      points: leaf(triangle.points),
      faces: leaf(triangle.faces),
      labels: maybe(leaf(new Uint8Array(3), 'uint8')),
    }),
    count: whole(2),
    seed: integer(1),
  },
  pipelines.sampleMesh,
);
entry('pipelines.loadPointMae', { runtime: leaf(runtime) }, async (runtime) => {
  const { parameters } = await pipelines.loadPointMae(runtime);
  for (const tensor of Object.values(parameters)) tensor.dispose();
});
// What these take is trained and painted, for which the reference needs seconds.
const quick = await saccade.createRuntime({ backend: 'wasm', threads: 1 });
const encoder = await pipelines.loadPointMae(quick);
const cloud = pipelines.sampleMesh(triangle, 128, 1).points;
const anomalySettings = {
  arms: ['no-advisor'],
  tasks: 1,
  seeds: 1,
  steps: 1,
  batch: 1,
  views: 1,
  features: 2,
} as const;
let savedDetector: Readonly<Record<string, HostTensor>> = {};
await pipelines.anomaly(
  quick,
  encoder,
  [{ name: 'a', learned: [{ name: 'b', points: cloud }], unseen: [] }],
  anomalySettings,
  {
    read: async () => undefined,
    async write(_, tensors) {
      savedDetector = tensors;
    },
  },
);
const encoderSlot = leaf(encoder);
entry(
  'pipelines.anomaly',
  {
    runtime: leaf(quick),
    encoder: encoderSlot,
    classes: leaf([{ name: 'a', learned: [{ name: 'b', points: cloud }], unseen: [] }]),
    settings: object({
      ...{ arms: leaf(['no-advisor']), tasks: leaf(1), seeds: whole(1), steps: whole(1) },
      ...{ batch: whole(1), views: whole(1), features: whole(2) },
    }),
  },
  pipelines.anomaly,
);
entry(
  'pipelines.loadDetector',
  {
    runtime: leaf(quick),
    encoder: encoderSlot,
    file: object({
      arm: choice('no-advisor'),
      settings: open({ steps: whole(1), batch: whole(1), features: whole(2) }),
      tensors: leaf(savedDetector),
    }),
  },
  (...args) => {
    using _ = pipelines.loadDetector(...(args as [typeof runtime, typeof encoder, pipelines.DetectorFile]));
  },
);
const viewerConfig = {
  ...{ side: 4, width: 4, heads: 1, hidden: 4, layers: 2, frozen: 1, predictor: 1 },
  teacher: { layer: 1, heads: [0] },
};
const viewerParameters = nn.initial(
  { parameters: { ...describedViewer(viewerConfig), ...describedPredictor(viewerConfig) } },
  runtime,
);
for (const tensor of Object.values(viewerParameters)) keep(tensor);
entry(
  'pipelines.lookTwice',
  {
    runtime: leaf(runtime),
    viewer: object({ config: leaf(viewerConfig, ...EMPTY_OBJECTS), parameters: leaf(viewerParameters) }),
    picture: object({ width: leaf(1), height: leaf(1), rgb: leaf(new Float32Array(3)) }),
    question: text('which shoe'),
    options: options({
      threshold: maybe(leaf(0.5, '0', '-1', '0.5')),
      upscaling: maybe(choice('boxes')),
      mostBoxes: maybe(whole(1)),
    }),
  },
  pipelines.lookTwice,
);
entry(
  'pipelines.loadViewer',
  { runtime: leaf(runtime), options: options({ weights: maybe(leaf(undefined)), signal: control.signal! }) },
  async (...args: [Any, Any]) => {
    for (const tensor of Object.values((await pipelines.loadViewer(...args)).parameters)) tensor.dispose();
  },
);
entry(
  'models.logMel',
  { waves: called('x', tensor(1, 30)), options: options({ rate: maybe(leaf(1000)), bins: maybe(few(4)) }) },
  models.logMel,
);
entry('pipelines.cosineSchedule', { steps: whole(3) }, pipelines.cosineSchedule);
entry(
  'pipelines.linearSchedule',
  { steps: whole(3), first: maybe(leaf(0.1, '0', '0.5')), last: maybe(leaf(0.2, '0', '0.5')) },
  pipelines.linearSchedule,
);
entry(
  'pipelines.spacedSteps',
  { schedule: leaf(pipelines.cosineSchedule(4), 'float64'), count: whole(2) },
  pipelines.spacedSteps,
);
const featureRows = open({ width: leaf(1, '3'), x: leaf([1, 2, 4], 'float64', 'uint8') });
entry(
  'pipelines.frechetDistance',
  { runtime: leaf(runtime), a: featureRows, b: featureRows },
  pipelines.frechetDistance,
);
entry('pipelines.openStudio', { runtime: leaf(runtime) }, async (on) => (await pipelines.openStudio(on)).dispose());
const studio = await pipelines.openStudio(quick);
entry(
  'pipelines.paint',
  {
    studio: leaf(studio),
    text: called('the prompt', leaf('a hat and a bag')),
    options: options({
      steps: maybe(leaf(1, '3')),
      guidance: maybe(atLeast0(2)),
      eta: maybe(leaf(0.5, '0', '0.5')),
      seed: maybe(from0(1)),
      mapper: maybe(
        options({
          way: maybe(choice('moved')),
          rounds: maybe(from0(1)),
          steps: maybe(from0(0)),
          last: maybe(from0(0)),
          missing: maybe(atLeast0(1)),
        }),
      ),
      prune: maybe(object({ ratio: leaf(0.25, '0', '0.5'), way: maybe(choice('merge')), shared: maybe(whole(1)) })),
    }),
  },
  pipelines.paint,
);
entry(
  'pipelines.compareTransformers',
  {
    studio: leaf(studio),
    settings: object({
      attentions: maybe(leaf(['relu'])),
      seeds: whole(1),
      steps: whole(1),
      batch: whole(1),
      pictures: whole(2),
      sampled: whole(1),
    }),
  },
  pipelines.compareTransformers,
);
/** Objects with names, too. */
const TENSORS = ['tensor of another runtime', 'disposed tensor', 'proxy of a tensor'];
const { name: _, ...declared } = saccade.findMethod('attention');
const declaration = Object.fromEntries(
  Object.entries({ name: 'mine', ...declared }).map(([key, value]) => [key, leaf(value)]),
);
const needed = ['name', 'inputs', 'outputs', 'params', 'reference', 'forward', 'cost', 'variants'];
entry(
  'defineMethod',
  {
    spec: open(
      Object.fromEntries(
        needed.map((key) => [
          key,
          key === 'name'
            ? text('mine')
            : key === 'params' || key === 'inputs' || key === 'outputs'
              ? called(key, {
                  ...(declaration[key] as Slot),
                  takes: [...EMPTY_OBJECTS, ...TENSORS],
                })
              : { ...(declaration[key] as Slot), takes: ['function'] },
        ]),
      ),
    ),
  },
  saccade.defineMethod,
);
entry(
  'models.defineModel',
  {
    spec: open({
      name: text('mine'),
      ...Object.fromEntries(
        ['inputs', 'outputs', 'params'].map((key) => [key, leaf({}, ...EMPTY_OBJECTS, ...TENSORS)]),
      ),
      network: fn(() => {}),
      sample: fn(() => {}),
    }),
  },
  models.defineModel,
);
const functionSlot = (value: unknown): Slot => ({ ...leaf(value), takes: ['function'] });
entry(
  'defineMaskedMethod',
  {
    spec: open({
      name: text('mine'),
      params: { ...leaf(declared.params), takes: [...EMPTY_OBJECTS, ...TENSORS] },
      mask: functionSlot(declared.mask),
      sees: functionSlot(() => () => true),
      variants: functionSlot(declared.variants),
      modifier: maybe(functionSlot(undefined)),
      score: maybe(functionSlot(undefined)),
    }),
  },
  saccade.defineMaskedMethod as Any,
);

// Kernels.
const aKernel = object({
  kernel: choice('gaussian'),
  bandwidth: maybe(leaf(2, '1.5', '3', '0.5', '2 ** 53', 'tensor')),
});
const [points, others] = [random(3, 2), random(4, 2)];
const pair: Slots = { kernel: aKernel, x: leaf(points), y: leaf(others) };
entry('kernels.kernelMatrix', pair, kernels.kernelMatrix);
entry('kernels.kernelProduct', { ...pair, v: leaf(random(4, 3)) }, kernels.kernelProduct);
const iterating: Slots = {
  tolerance: maybe(leaf(0.5, '0.5')),
  maxIterations: maybe(whole(2)),
  signal: control.signal as Slot,
  onIteration: maybe(fn(() => {})),
};
entry(
  'kernels.conjugateGradients',
  {
    product: fn((v: Tensor) => v),
    b: lone(3, 1),
    options: options({ preconditioner: maybe(fn((r: Tensor) => r)), ...iterating }),
  },
  kernels.conjugateGradients,
);
entry(
  'kernels.fitKernelRidge',
  {
    kernel: aKernel,
    x: leaf(points),
    y: leaf(random(3, 1)),
    options: options({
      ridge: maybe(atLeast0(1)),
      solver: maybe(choice('nystrom')),
      precision: maybe(choice('f32')),
      centres: maybe(whole(2)),
      sampling: maybe(choice('leverage')),
      seed: maybe(integer(1)),
      ...iterating,
    }),
  },
  async (...args: Any[]) => (await (kernels.fitKernelRidge as Any)(...args)).dispose(),
);
const fitting: Slots = { kernel: aKernel, x: leaf(points), y: leaf(random(3, 1)) };
const numbered: Slots = { ...fitting, kernel: object({ kernel: choice('gaussian'), bandwidth: maybe(above0(2)) }) };
const likelihood: Slots = { amplitude: maybe(above0(1)), noise: maybe(atLeast0(1)) };
entry('kernels.marginalLikelihood', { ...numbered, options: options(likelihood) }, kernels.marginalLikelihood);
entry(
  'kernels.fitGaussianProcess',
  {
    ...numbered,
    options: options({
      ...likelihood,
      optimize: maybe(boolean(false)),
      maxIterations: maybe(whole(2)),
      ...control,
    }),
  },
  async (...args: Any[]) => (await (kernels.fitGaussianProcess as Any)(...args)).dispose(),
);
const wide = (...shape: number[]) => leaf(keep(runtime.ones(shape, 'f64')));
entry(
  'kernels.createGaussianProcess',
  {
    parts: object({
      kernel: numbered.kernel as Slot,
      amplitude: above0(1),
      noise: atLeast0(1),
      logLikelihood: finite(1),
      support: leaf(points),
      weights: wide(3, 1),
      factor: wide(3, 3),
    }),
  },
  kernels.createGaussianProcess,
);
entry(
  'kernels.crossValidateKernelRidge',
  {
    ...numbered,
    options: options({ ridges: maybe(leaf([1])), folds: maybe(whole(2)), seed: maybe(integer(1)), ...control }),
  },
  kernels.crossValidateKernelRidge,
);
entry(
  'kernels.createKernelRidge',
  {
    parts: object({
      kernel: numbered.kernel as Slot,
      support: leaf(points),
      weights: leaf(random(3, 1)),
      iterations: maybe(atLeast0(1)),
      residual: maybe(atLeast0(1)),
    }),
  },
  kernels.createKernelRidge,
);
const spectrum: Slots = { eigenvalues: leaf([1, 0.5]), coefficients: leaf([1, 0.5], 'float64') };
const settings: Slots = {
  samples: above0(4),
  features: maybe({ ...above0(8), takes: ['1.5', '0.5', '3', '2 ** 53', 'null'] }),
  noise: maybe(atLeast0(1)),
};
entry(
  'kernels.featureRisk',
  { ...spectrum, options: object({ ...settings, ridge: maybe(atLeast0(1)) }) },
  kernels.featureRisk,
);
entry('kernels.bestRidge', { ...spectrum, options: object(settings) }, kernels.bestRidge);
const law = object({ decay: leaf(2, '1.5', '3', '2 ** 53'), target: leaf(1.6, '1.5', '3'), noise: maybe(atLeast0(1)) });
entry('kernels.bestFittingRatio', { law }, kernels.bestFittingRatio);
entry(
  'kernels.powerLawRisk',
  { law, at: object({ samples: above0(4), ratio: leaf(0.25, '0', '0.5') }) },
  kernels.powerLawRisk,
);
entry(
  'kernels.fitFeatureRidge',
  {
    map: leaf(featureMaps.relu),
    x: lone(3, 2),
    y: leaf(random(3, 1)),
    options: options({ ridge: maybe(atLeast0(1)) }),
  },
  async (...args: Any[]) => (await (kernels.fitFeatureRidge as Any)(...args)).dispose(),
);
entry('kernels.kernelDiagonal', { kernel: aKernel, x: lone(3, 2) }, kernels.kernelDiagonal);

// Methods.
entry('findMethod', { name: called('method', leaf('attention')) }, saccade.findMethod);

const extents: Record<string, number> = {
  b: 1,
  n: 4,
  m: 4,
  h: 2,
  g: 2,
  d: 4,
  e: 4,
  space0: 2,
  space1: 2,
  c: 1,
  o: 2,
  a: 2,
  // Of pictures and kernels.
  ...{ rows: 2, columns: 2, k: 13, p: 5, r: 2, s: 3, t: 7, u: 3, v: 3, places: 9 },
  w: 5,
};
const shapeOf = (spec: string) =>
  spec
    .replace('...space', 'space0 space1')
    .split(' ')
    .map((letter) => extents[letter] ?? (Number(letter) || 2));
for (const method of saccade.methods) {
  const { name, inputs } = method;
  const params = method.parse(
    method.variants(extents as Any)[0] ?? ('mask' in method && method.inputs.q?.includes('space') ? { window: 2 } : {}),
  );
  const required = Object.entries(inputs).map(([key, spec]) => [key, shapeOf(spec)] as const);
  // Eigenvalues are not negative.
  const number = name === 'random-feature-risk' ? 0.5 : -0.5;
  const onDevice = Object.fromEntries(required.map(([key, shape]) => [key, filled(number, ...shape)]));
  const onHost = Object.fromEntries(
    required.map(([key, shape]) => [
      key,
      saccade.hostTensor(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(number), shape),
    ]),
  );
  const slots = (values: object) =>
    object(Object.fromEntries(Object.entries(values).map(([key, value]) => [key, leaf(value)])));
  /** What `parse` gave: that it is an object is all that is checked again. */
  const parsed = leaf(params, ...EMPTY_OBJECTS, ...TENSORS);
  const maybeControl = options(control);
  entry(`methods ${name} parse`, { params: called('param', leaf({}, ...EMPTY_OBJECTS)) }, (given) => {
    try {
      method.parse(given);
    } catch (error) {
      // A required param is missing.
      if (!(error instanceof saccade.ParameterError && /expected/.test(error.message))) throw error;
      if (given === null || typeof given !== 'object' || Object.keys(given).length > 0 || Array.isArray(given))
        throw error;
    }
  });
  const small: Record<string, Entry> = {
    forward: {
      args: { inputs: slots(onDevice), params: parsed, control: maybeControl },
      call: (...args: [Any, Any, Any]) => settled(method.forward(...args)),
    },
    reference: { args: { inputs: slots(onHost), params: parsed }, call: method.reference as Any },
    cost: {
      args: { letters: called('extent', leaf(extents, ...EMPTY_OBJECTS)), params: parsed },
      call: method.cost as Any,
    },
    variants: { args: { letters: called('extent', leaf(extents, ...EMPTY_OBJECTS)) }, call: method.variants as Any },
  };
  for (const [pass, each] of Object.entries(small)) entries[`methods ${name} ${pass}`] = each;
}

await runtime.finish();

/** Exports that are data, classes of errors, or checked elsewhere, and why. */
const OTHERS: Record<string, string> = {
  methods: 'their functions are above',
  ...Object.fromEntries(Object.keys(library).map((name) => [`methods.${name}`, 'its functions are above'])),
  ...Object.fromEntries(
    ['universalSentenceEncoder', 'bevanet', 'biformer', 'deit', 'l2vit', 'resnet', 'unireplknet', 'van'].map((name) => [
      `models.${name}`,
      'made by defineModel, as decoderModel is, and large',
    ]),
  ),
  tuneWebGpu: 'needs a GPU: src/tune/tune.test.ts',
  'Runtime.fromGpuBuffer': 'needs a GPU: src/runtime/webgpu/memory.test.ts',
  PackedWeight: 'made by packWeight',
  Tensor: 'made by a runtime; its methods are above',
  'train.IGNORED': 'a number',
  'pipelines.ARMS': 'names',
  'pipelines.ATTENTIONS': 'names',
  'cluster.Communicator': 'made by communicator(); its methods are above',
  'simulate.MECHANISMS': 'names',
  'pipelines.LEARNERS': 'names',
  'pipelines.SERIES': 'names',
  'pipelines.PIPELINES': 'commands',
  'pictures.CITYSCAPES': 'names and colours',
  'pictures.imageNetNames': 'takes nothing',
  'weights.Weights': 'made by openWeights; its methods are above',
};

test('every export has an entry', () => {
  const rooms = {
    adapters,
    cluster,
    defaultModel,
    featureMaps,
    io,
    kernels,
    masks,
    methods: library,
    models,
    nn,
    pictures,
    pipelines,
    scores,
    simulate,
    train,
    weights: weightFiles,
  };
  const names = [
    ...Object.entries(saccade)
      .filter(([, value]) => !(typeof value === 'function' && value.prototype instanceof Error))
      .map(([name]) => name),
    ...Object.entries(rooms).flatMap(([room, exports]) => Object.keys(exports).map((name) => `${room}.${name}`)),
  ];
  expect(names.filter((name) => !(name in entries) && !(name in OTHERS))).toEqual([]);
});

test.each(Object.entries(entries))('%s', async (name, each) => {
  const before = runtime.memory().live;
  const faults = await sweep(name, each, { junk, shared, runtime });
  expect(faults.join('\n')).toBe('');
  expect(runtime.memory().live).toBe(before);
});
