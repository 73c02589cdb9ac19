/** Calls on indexes of keys: where keys lie, and plans for the CPU. */
import { ParameterError } from '../../errors';
import type { Control } from '../../runtime/backend';
import { PANEL } from '../../runtime/cpu/params';
import {
  ELEMENTS_PER_MICROSECOND,
  FLOPS_PER_MICROSECOND,
  type Job,
  type Machine,
  NO_OPERAND,
  operand,
  type Plan,
} from '../../runtime/cpu/plan';
import type { Values } from '../../runtime/cpu/struct';
import type { Expectation, Host, Op } from '../../runtime/op';
import type { Runtime } from '../../runtime/runtime';
import type { Workspace } from '../../runtime/webgpu/plan';
import type { Elements } from '../../tensor/elements';
import { type HostTensor, toFloat64 } from '../../tensor/host';
import type { Shape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { addressOf, readCache } from '../cache';
import type { CacheLayer } from '../cache/layer';
import { type CachedRow, openTokens, type PageLayout, slabsOf } from '../cache/layout';
import { PAGE_ROWS } from '../cache/params';
import { compute } from '../compute';
import { INDEXES } from './kinds';
import type * as declared from './params';
import { BuildParams, ExtendParams, KEYS, kernels, MOVERS, QUERIES, RetrieveParams, ROUNDS } from './params.generated';
import type { BuildCall, ExtendCall, IndexExtent, IndexTensors, RetrieveCall } from './reference';

/** Keys and values in tensors, k [b, m, g, d] and v [b, m, g, e], or in the pages of a row of a cache. */
export interface KeySource {
  readonly runtime: Runtime;
  readonly b: number;
  readonly m: number;
  readonly g: number;
  readonly d: number;
  readonly e: number;
  readonly tensors?: { readonly k: Tensor; readonly v: Tensor };
  readonly cached?: { readonly layout: PageLayout; readonly row: CachedRow };
}

export function sourceOf(k: Tensor, v: Tensor): KeySource {
  const [b, m, g, d] = k.shape as [number, number, number, number];
  return { runtime: k.runtime, b, m, g, d, e: v.shape[3] as number, tensors: { k, v } };
}

/** A row of a layer: where it lies, if kernels read pages, else a copy of it in the scope. */
export function cachedSource(layer: CacheLayer, row: CachedRow, control: Control): KeySource {
  const { runtime, layout } = layer;
  const { heads: g, d, e } = layout;
  if (runtime.backend.name === 'wasm') return { runtime, b: 1, m: row.length, g, d, e, cached: { layout, row } };
  const { k, v } = readCache(layer, row.pages, row.length, control) as { k: Tensor; v: Tensor };
  return sourceOf(k, v);
}

/** What a call has beside what its reference computes from. */
interface OnKeys {
  readonly source: KeySource;
  /** On a GPU: the elements of its inputs, as these calls are computed in host memory. */
  readonly values: ReadonlyMap<Elements, HostTensor>;
}

/** Calls an op on keys, whose tensors are named. */
function call<Call extends object, Specs extends Parameters<typeof compute>[2]>(
  op: Op<Call & OnKeys>,
  source: KeySource,
  given: Omit<Call, 'k' | 'v' | keyof Specs>,
  specs: Specs,
  control: Control,
  own: Readonly<Record<string, Tensor | undefined>>,
  written: readonly Tensor[] = [],
) {
  const { tensors, cached, runtime } = source;
  const there = Object.entries(own).filter((entry): entry is [string, Tensor] => entry[1] !== undefined);
  const inputs: Record<string, Tensor> = {
    ...Object.fromEntries(there),
    ...tensors,
    ...(cached && slabsOf([cached.row])),
  };
  return compute(
    op,
    inputs,
    specs,
    (results, values) => {
      const known = Object.entries(values).map(([name, host]) => [inputs[name] as Elements, host] as const);
      return { ...given, ...tensors, ...results, source, values: new Map(known) } as unknown as Call & OnKeys;
    },
    control,
    {
      written,
      ...(cached && { reads: openTokens([cached.row]) }),
      ...(runtime.backend.name === 'webgpu' && { known: inputs }),
    },
  );
}

const ON_HOST = 'retrieval: indexes of keys, and searches of them, are computed in host memory by the CPU';

/** A plan for a GPU that computes in host memory, as the reference does. */
const onHost =
  <Call extends OnKeys>(reference: () => Promise<(call: Call, host: Host) => void>) =>
  async () => {
    const run = await reference();
    return (call: Call, workspace: Workspace) => {
      run(call, {
        numbers: (x) => toFloat64(call.values.get(x) as HostTensor),
        store: (out, values) =>
          workspace.write(out as never, out.dtype === 'i32' ? Int32Array.from(values) : Float32Array.from(values)),
      } as Host);
      return { dispatches: [], choice: ON_HOST };
    };
  };

const references = () => import('./reference');
const building = async () => (await references()).buildIndex as (call: BuildCall & OnKeys, host: Host) => void;
const extending = async () => (await references()).extendIndex as (call: ExtendCall & OnKeys, host: Host) => void;
const retrieving = async () => (await references()).retrieve as (call: RetrieveCall & OnKeys, host: Host) => void;

/** Where keys lie, once the addresses of pages are at `at`. */
function keysAt(
  { m, g, d, e, tensors, cached }: KeySource,
  at: number,
  { memory }: Machine,
): Values<typeof declared.Keys> {
  const extents = { m, g, d, e };
  if (tensors)
    return { ...extents, k: operand(tensors.k), v: operand(tensors.v), pages: 0, keyScales: 0, valueScales: 0 };
  const { layout, row } = cached as NonNullable<typeof cached>;
  const pages = row.pages.map((page) => (page ? addressOf(page) : 0));
  new Int32Array(memory.buffer, at, pages.length).set(pages);
  const { dtype, keyRow, valueRow, values, keyScales, valueScales } = layout;
  const inPage = (address: number, row: number) => ({
    address,
    dtype,
    batch: 0,
    row,
    head: PAGE_ROWS * row,
    element: 1,
  });
  return { ...extents, k: inPage(0, keyRow), v: inPage(values, valueRow), pages: at, keyScales, valueScales };
}

const pageBytes = ({ cached }: KeySource) => 4 * (cached?.row.pages.length ?? 0) + 4;

function indexParams(index: (IndexExtent & IndexTensors) | undefined): Values<typeof declared.Index> {
  if (!index)
    return { kind: INDEXES.indexOf('flat'), first: 0, past: 0, capacity: 0, degree: 0, starts: 0, ...NO_TENSORS };
  const { kind, first, past, edges, entries, centers, codes, columns } = index;
  const [, , capacity, degree] = edges.shape as [number, number, number, number];
  const starts = entries.shape[2] as number;
  const tensors = { edges, entries, centers, codes, columns };
  return { kind: INDEXES.indexOf(kind), first, past, capacity, degree, starts, ...tensors };
}

const NO_TENSORS = {
  edges: undefined,
  entries: undefined,
  centers: undefined,
  codes: undefined,
  columns: undefined,
};

/** Tasks among which keys are dealt out. */
const LINKERS = 64;
const ints = (count: number) => 4 * count + 4;

const buildOp: Op<BuildCall & OnKeys> = {
  name: 'keyIndex',
  reference: building,
  kernels,
  webgpu: onHost(building),
  cpu({ source, kind, first, past, queries, stride, neighbors, ...rest }, machine): Plan {
    const { b, g, d } = source;
    const keys = past - first;
    const index = indexParams({ kind, first, past, ...rest });
    const shared = queries ? (queries.shape[2] as number) / g : 1;
    const count = queries ? Math.ceil(((queries.shape[1] as number) * shared) / stride) : keys;
    const isGraph = kind === 'graph';
    const lists = isGraph ? count * neighbors : 0;
    const panels = Math.ceil(keys / PANEL);
    const tasks = Math.max(1, Math.min(LINKERS, Math.ceil(keys / KEYS)));
    const bytes = {
      pages: pageBytes(source),
      packed: isGraph ? 24 * panels * d + 16 : 0,
      norms: isGraph && !queries ? 24 * panels + 4 : 0,
      lists: 4 * lists,
      bestStarts: isGraph ? ints(keys + 1) : 0,
      best: isGraph ? ints(count) : 0,
      usedStarts: isGraph ? ints(keys + 1) : 0,
      used: 4 * lists,
      marks: isGraph ? tasks * ints(Math.ceil(keys / 32)) : 0,
      found: isGraph ? ints(keys * index.degree) : 0,
      cells: isGraph ? 0 : ints(keys),
      sums: isGraph ? 0 : 4 * index.starts * (d + 1),
    };
    const stages = isGraph ? graphStages(keys, count, tasks) : cellStages(keys);
    const flops = isGraph ? 2 * count * keys * d : 3 * ROUNDS * keys * index.starts * d;
    return {
      bytes,
      choice: isGraph ? choiceOf(queries !== undefined, neighbors) : undefined,
      jobs(at) {
        const own = keysAt(source, at.pages as number, machine);
        return Array.from({ length: b * g }, (_, head) => {
          const params = BuildParams({
            ...(at as Record<keyof typeof bytes, number>),
            keys: own,
            index,
            batch: Math.floor(head / g),
            head: head % g,
            queries: queries ? operand(queries) : NO_OPERAND,
            ...{ shared, count, stride, neighbors, tasks },
            isOfKeys: !queries,
          });
          const microseconds = flops / FLOPS_PER_MICROSECOND / stages.length;
          return stages.map((phases): Job => ({ phases, params, microseconds }));
        }).flat();
      },
    };
  },
};

function choiceOf(hasQueries: boolean, neighbors: number): string | undefined {
  if (!hasQueries) return "keyIndex: a graph of the keys' own neighbours, as no queries were given";
  return neighbors === 1 ? 'keyIndex: no edges, as queries have one neighbour each: all keys are looked at' : undefined;
}

/** The phases of jobs that follow each other. */
const graphStages = (keys: number, count: number, tasks: number): Job['phases'][] => [
  [
    { kernel: 'measureColumns', tasks: 1 },
    { kernel: 'encodeKeys', tasks: Math.ceil(keys / KEYS) },
    { kernel: 'packIndexKeys', tasks: Math.ceil(keys / KEYS) },
    { kernel: 'nearestOfQueries', tasks: keys > 0 ? Math.ceil(count / QUERIES) : 0, main: true },
  ],
  [
    { kernel: 'groupLists', tasks: 1 },
    { kernel: 'findEntries', tasks: 1 },
    { kernel: 'linkLists', tasks },
  ],
  [
    { kernel: 'connectKeys', tasks, main: true },
    { kernel: 'joinKeys', tasks: 1 },
  ],
];

const cellStages = (keys: number): Job['phases'][] => {
  const assign = { kernel: 'assignCells', tasks: Math.ceil(keys / KEYS), main: true };
  const move = { kernel: 'moveCells', tasks: MOVERS };
  return [
    [{ kernel: 'seedCells', tasks: 1 }],
    ...Array.from({ length: ROUNDS }, () => [assign, move]),
    [assign, { kernel: 'chainCells', tasks: 1 }],
  ];
};

const extendOp: Op<ExtendCall & OnKeys> = {
  name: 'extend an index',
  reference: extending,
  kernels,
  webgpu: onHost(extending),
  cpu({ source, to, ...rest }, machine): Plan {
    const { b, g, d } = source;
    const { first, past } = rest;
    return {
      bytes: { pages: pageBytes(source), marks: b * g * 4 * Math.ceil((to - first) / 32) },
      jobs({ pages, marks }) {
        const index = indexParams(rest);
        const params = ExtendParams({
          keys: keysAt(source, pages as number, machine),
          index,
          past: to,
          marks: marks as number,
        });
        const microseconds = ((to - past) * b * g * 1000 * d) / ELEMENTS_PER_MICROSECOND;
        return [{ phases: [{ kernel: 'extendIndex', tasks: b * g }], params, microseconds }];
      },
    };
  },
};

const TASKS_OF_THREAD = 8;
/** Entries of the lists of a block. */
const MOST_LISTED = 2 ** 17;

/** Rows whose index is of other keys have scored fewer than none. */
const ofTheseKeys = (scanned: Elements, keys: number): Expectation => ({
  tensor: scanned,
  least: 0,
  most: keys,
  error: () => new ParameterError('index is of other keys than k: make one of these by keyIndex'),
});

const retrieveOp: Op<RetrieveCall & OnKeys> = {
  name: 'retrievedAttention',
  reference: retrieving,
  kernels,
  webgpu: onHost(retrieving),
  faults: ({ index, scanned, source }) => (index ? [ofTheseKeys(scanned, source.m)] : []),
  cpu({ source, q, index, topK, first, recent, beam, probes, causal, scale, out, lse, scanned }, machine): Plan {
    const { m, d, e } = source;
    const [b, n, h] = q.shape as [number, number, number];
    const rows = b * n * h;
    const rowsOfTask = Math.ceil(rows / (TASKS_OF_THREAD * machine.threads));
    const tasks = Math.ceil(rows / rowsOfTask);
    const found = Math.min(topK, m);
    const block = index ? 1 : Math.max(1, Math.min(n, QUERIES, Math.floor(MOST_LISTED / (2 * found))));
    const beamBytes = 8 * (Math.max(beam, 2 * found * block) + probes);
    const marksBytes = 4 * Math.ceil(m / 32);
    // What it lacks are keys that are neither retrieved nor in an index yet.
    const window = first + recent + (index ? Math.max(0, m - recent - index.past) : 0);
    const attendedKeys = 4 * Math.ceil((Math.min(m, window + found) + 4) / 4);
    const scannedKeys = Math.min(m, index ? 20 * beam : m);
    return {
      bytes: {
        pages: pageBytes(source),
        marks: tasks * marksBytes,
        beams: tasks * beamBytes,
        attended: 8 * tasks * attendedKeys,
      },
      jobs: ({ pages, marks, beams, attended }) => [
        {
          phases: [{ kernel: 'retrieve', tasks }],
          params: RetrieveParams({
            ...({ marks, beams, attended } as Record<'marks' | 'beams' | 'attended', number>),
            ...{ b, n, h, topK: found, first, recent, beam, probes, causal, scale, out, lse, scanned },
            keys: keysAt(source, pages as number, machine),
            index: indexParams(index),
            q: operand(q),
            rowsOfTask,
            block,
            marksBytes,
            beamBytes,
            attendedKeys,
          }),
          microseconds: (rows * (scannedKeys * d + attendedKeys * (d + e))) / 4 / ELEMENTS_PER_MICROSECOND,
        },
      ],
    };
  },
};

/** Tensors of a new index, of these shapes. */
export function buildingOf(
  source: KeySource,
  shapes: { readonly [name in keyof IndexTensors]: Shape },
  given: Omit<BuildCall, 'k' | keyof IndexTensors>,
  control: Control,
): TensorsOfIndex {
  const specs = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [
      name,
      { shape, dtype: DTYPES_OF_INDEX[name as keyof IndexTensors] },
    ]),
  );
  return call(buildOp, source, given as never, specs as never, control, {
    queries: given.queries as Tensor | undefined,
  }) as never;
}

export const DTYPES_OF_INDEX = { edges: 'i32', entries: 'i32', centers: 'f32', codes: 'i32', columns: 'f32' } as const;

/** Tensors of an index by name. */
export type TensorsOfIndex = { readonly [name in keyof IndexTensors]: Tensor };

/** Those of a call. */
const tensorsIn = ({ edges, entries, centers, codes, columns }: Partial<IndexTensors>) =>
  ({ edges, entries, centers, codes, columns }) as { readonly [name in keyof IndexTensors]?: Tensor };

/** Writes over the tensors of an index. */
export function extendingBy(source: KeySource, given: Omit<ExtendCall, 'k'>, control: Control): void {
  const { edges, entries, codes } = tensorsIn(given);
  const written = [edges, entries, codes].filter((tensor) => tensor !== undefined);
  call(extendOp, source, given as never, {}, control, tensorsIn(given), written);
}

/** What is retrieved, and attended to: out [b, n, h, e], lse [b, n, h], scanned [b, h, n]. */
export function retrievedBy(
  source: KeySource,
  given: Omit<RetrieveCall, 'k' | 'v' | 'out' | 'lse' | 'scanned' | 'q'> & { readonly q: Tensor },
  control: Control,
): { readonly out: Tensor<'f32'>; readonly lse: Tensor<'f32'>; readonly scanned: Tensor<'i32'> } {
  const [b, n, h] = given.q.shape as [number, number, number];
  const specs = {
    out: { shape: [b, n, h, source.e], dtype: 'f32' },
    lse: { shape: [b, n, h], dtype: 'f32' },
    scanned: { shape: [b, h, n], dtype: 'i32' },
  } as const;
  const own = { q: given.q, ...tensorsIn(given.index ?? {}) };
  return call(retrieveOp, source, given as never, specs, control, own) as never;
}
