/** What indexes of keys find of the keys with the largest products, and how long building and searching them takes. */

import { SaccadeError } from '../../errors';
import { D, drawnKeys, drawnQueries } from '../../experiments/retrieval-attention/drawn';
import { attention } from '../../ops/attention';
import { createRuntime } from '../../ops/create-runtime';
import { matmul } from '../../ops/matmul';
import { type KeyIndex, type KeyIndexOptions, keyIndex, retrievedAttention } from '../../ops/retrieval';
import { loadKeyIndex, saveKeyIndex } from '../../ops/retrieval/saved';
import { topK } from '../../ops/top-k';
import type { Control } from '../../runtime/backend';
import type { Runtime } from '../../runtime/runtime';
import { hostTensor } from '../../tensor/host';
import { normal } from '../../tensor/random';
import type { Tensor } from '../../tensor/tensor';
import { significant } from '../../text/format';
import { openGiven } from '../peers';
import type { IndexRow, IndexSearch } from './report';

interface Setting {
  readonly beam?: number;
  readonly probes?: number;
}

const QUERIES = 64;
/** Queries whose steps are compared with the reference, by how much they may differ, and how often each is timed. */
const CHECKED = 2;
const TOLERANCE = 1e-5;
const TURNS = 3;
const K = 100;
const ALL = { first: 0, recent: 0, topK: K } as const;
const BEAMS = [100, 128, 200, 300, 400, 600].map((beam) => ({ beam }));
const SHARES = [0.02, 0.05, 0.1, 0.2];
const EXPANSIONS = [100, 200, 400, 800];

/** An exact prompt and step, and what is the same for all indexes of n keys. */
export interface Baseline {
  readonly runtime: Runtime;
  readonly n: number;
  readonly hosts: Readonly<Record<'keys' | 'queries' | 'values', Float32Array>>;
  readonly keys: Tensor;
  readonly prompt: Tensor;
  readonly queries: Tensor;
  readonly values: Tensor;
  /** What exact attention gives each query, in float64. */
  readonly exact: Float64Array;
  /** The keys that each query should find. */
  readonly wanted: readonly ReadonlySet<number>[];
  /** For each query a column of values that is 1 at these keys, so that the mean of what is fetched is the recall. */
  readonly truth: Tensor;
  /** Milliseconds. */
  readonly promptTime: number;
  dispose(): void;
}

async function timed(runtime: Runtime, work: () => void): Promise<number> {
  const start = performance.now();
  work();
  await runtime.finish();
  return performance.now() - start;
}

const disposeAll = (results: object) => {
  for (const each of Object.values(results)) (each as Tensor).dispose();
};

export async function openBaseline(runtime: Runtime, n: number, control: Control): Promise<Baseline> {
  const hosts = { keys: drawnKeys(n), queries: drawnQueries(QUERIES, 7), values: normal(n * D, 11) };
  const keys = runtime.tensor(hosts.keys, [1, n, 1, D]);
  const values = runtime.tensor(hosts.values, [1, n, 1, D]);
  const prompt = runtime.tensor(drawnQueries(n, 6), [1, n, 1, D]);
  const queries = runtime.tensor(hosts.queries, [1, QUERIES, 1, D]);
  using places = runtime.scope(
    () => topK(matmul(queries.reshape([QUERIES, D]), keys.reshape([n, D]), { transposeB: true }), K).indices,
  );
  const found = await places.read();
  const wanted = Array.from({ length: QUERIES }, (_, at) => new Set(found.subarray(at * K, (at + 1) * K)));
  const columns = new Float32Array(n * QUERIES);
  for (const [at, own] of wanted.entries()) for (const place of own) columns[place * QUERIES + at] = 1;
  const truth = runtime.tensor(columns, [1, n, 1, QUERIES]);
  const { signal } = control;
  const promptTime = await timed(runtime, () => disposeAll(attention(prompt, keys, values, { causal: true, signal })));
  const tensors = { keys, prompt, queries, values, truth };
  const exact = exactOutputs(hosts, n);
  return { runtime, n, hosts, wanted, promptTime, exact, ...tensors, dispose: () => disposeAll(tensors) };
}

/** Attention of each query to all keys, by plain loops in float64. */
function exactOutputs({ keys, queries, values }: Baseline['hosts'], n: number): Float64Array {
  const out = new Float64Array(QUERIES * D);
  const weights = new Float64Array(n);
  for (let at = 0; at < QUERIES; at++) {
    for (let key = 0; key < n; key++) {
      let score = 0;
      for (let c = 0; c < D; c++) score += (queries[at * D + c] as number) * (keys[key * D + c] as number);
      weights[key] = score / Math.sqrt(D);
    }
    const most = weights.reduce((largest, score) => Math.max(largest, score), Number.NEGATIVE_INFINITY);
    let sum = 0;
    for (let key = 0; key < n; key++) {
      const weight = Math.exp((weights[key] as number) - most);
      sum += weight;
      for (let c = 0; c < D; c++) out[at * D + c]! += weight * (values[key * D + c] as number);
    }
    for (let c = 0; c < D; c++) out[at * D + c]! /= sum;
  }
  return out;
}

export interface IndexContender {
  readonly label: string;
  measure(baseline: Baseline, place: IndexPlace): Promise<Omit<IndexRow, 'label' | 'n'>>;
}

interface IndexPlace extends Control {
  readonly peers?: string | undefined;
  readonly threads: number;
}

const own = (
  label: string,
  optionsOf: (baseline: Baseline) => KeyIndexOptions,
  settingsOf: (n: number) => readonly Setting[],
): IndexContender => ({
  label,
  async measure(baseline, { signal, onProgress }) {
    const { runtime, n, keys, promptTime } = baseline;
    let index: KeyIndex | undefined;
    const build = await timed(runtime, () => {
      index = keyIndex(keys, { first: 0, recent: 0, ...optionsOf(baseline), signal, onProgress });
    });
    using built = index as unknown as KeyIndex;
    const searches: IndexSearch[] = [];
    const settings = settingsOf(n);
    await checkSteps(baseline, built, settings[0] as Setting);
    for (const setting of settings) {
      signal?.throwIfAborted();
      searches.push(await searchBy(baseline, built, setting));
    }
    return { build, ofPrompt: build / promptTime, bytes: built.bytes, searches };
  },
});

async function searchBy(baseline: Baseline, index: KeyIndex, setting: Setting): Promise<IndexSearch> {
  const { n, keys, queries, truth } = baseline;
  const { out, lse, scanned } = retrievedAttention(queries, keys, truth, { ...ALL, ...setting, index, scale: 1e-9 });
  const [shares, scores] = [await out.read(), await scanned.read()];
  disposeAll({ out, lse, scanned });
  const recall = mean(Array.from({ length: QUERIES }, (_, at) => shares[at * QUERIES + at] as number));
  const [[name, value] = ['']] = Object.entries(setting);
  const times = await timesOf(baseline, index, setting);
  return { setting: `${name} ${value}`, recall, scanned: mean(scores) / n, ...times };
}

const mean = (values: ArrayLike<number>) => Array.from(values).reduce((sum, value) => sum + value, 0) / values.length;

/** The mean over queries of the least time of a few, in turns with exact steps, which empty the caches of the processor. */
async function timesOf({ keys, values, queries, exact }: Baseline, index: KeyIndex, setting: Setting) {
  const least = { own: [] as number[], exact: [] as number[] };
  let [wrong, all] = [0, 0];
  for (let at = 0; at < QUERIES; at++) {
    using query = queries.slice(1, at, at + 1);
    const timeOf = async (kind: keyof typeof least, work: () => { readonly out: Tensor }) => {
      const start = performance.now();
      const results = work();
      const out = await results.out.read();
      least[kind][at] = Math.min(least[kind][at] ?? Number.POSITIVE_INFINITY, performance.now() - start);
      disposeAll(results);
      return out;
    };
    let out: ArrayLike<number> = [];
    for (let turn = 0; turn < TURNS; turn++) {
      out = await timeOf('own', () => retrievedAttention(query, keys, values, { ...ALL, ...setting, index }));
      await timeOf('exact', () => attention(query, keys, values, { causal: false }));
    }
    for (let c = 0; c < D; c++) {
      const right = exact[at * D + c] as number;
      wrong += ((out[c] as number) - right) ** 2;
      all += right ** 2;
    }
  }
  const step = mean(least.own);
  return { step, speedup: mean(least.exact) / step, error: Math.sqrt(wrong / all) };
}

/** Throws unless steps by an index are what the float64 reference retrieves by it. */
async function checkSteps({ hosts, n, keys, values, queries }: Baseline, index: KeyIndex, setting: Setting) {
  using reference = await createRuntime({ backend: 'reference' });
  const [k, v] = [hosts.keys, hosts.values].map((host) => reference.tensor(host, [1, n, 1, D])) as [Tensor, Tensor];
  const q = reference.tensor(hosts.queries.subarray(0, CHECKED * D), [1, CHECKED, 1, D]);
  using same = await loadKeyIndex(k, await saveKeyIndex(index, keys));
  using asked = queries.slice(1, 0, CHECKED);
  const found = retrievedAttention(asked, keys, values, { ...ALL, ...setting, index });
  const wanted = retrievedAttention(q, k, v, { ...ALL, ...setting, index: same });
  const [out, right] = [await found.out.read(), await wanted.out.read()];
  disposeAll(found);
  const error = out.reduce((most, x, at) => Math.max(most, Math.abs(x - (right[at] as number))), 0);
  if (!(error <= TOLERANCE))
    throw new SaccadeError(`steps differ from the float64 reference by ${significant(error)}: expected ${TOLERANCE}`);
}

/** A graph of keys by another library, whose steps are searches alone. */
const usearch: IndexContender = {
  label: 'usearch',
  async measure({ n, hosts, wanted, promptTime }, { peers, threads, signal = new AbortController().signal }) {
    if (peers === undefined) return { reason: 'it is a peer: measured with --peers' };
    const searches: IndexSearch[] = [];
    let build = 0;
    for (const expansion of EXPANSIONS) {
      const tensors = { k: hostTensor(hosts.keys, [n, D]), q: hostTensor(hosts.queries, [QUERIES, D]) };
      const given = { tensors, settings: { d: D, topK: K, expansion } };
      const session = await openGiven('usearch', peers, threads, given, signal);
      try {
        build = await session.time(1, signal);
        let step = Number.POSITIVE_INFINITY;
        for (let at = 0; at < 5; at++) step = Math.min(step, (await session.time(1, signal)) / QUERIES);
        const found = await session.result(signal);
        const hits = found.filter((place, at) => wanted[Math.floor(at / K)]?.has(place)).length;
        searches.push({ setting: `expansion ${expansion}`, recall: hits / (QUERIES * K), step });
      } finally {
        session.close();
      }
    }
    return { build, ofPrompt: build / promptTime, searches };
  },
};

export const INDEXES: readonly IndexContender[] = [
  own(
    'graph from queries',
    ({ prompt }) => ({ queries: prompt }),
    () => BEAMS,
  ),
  own(
    'graph of keys',
    () => ({}),
    () => BEAMS,
  ),
  own(
    'cells',
    () => ({ kind: 'ivf' }),
    (n) => SHARES.map((share) => ({ probes: Math.max(1, Math.round(share * Math.sqrt(n))) })),
  ),
  usearch,
];

/** The exact step and prompt as a row. */
export const exactRow = ({ n, promptTime }: Baseline): IndexRow => ({
  label: 'exact prompt',
  n,
  build: promptTime,
  searches: [],
});
