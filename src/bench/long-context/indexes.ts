/** What indexes of keys find of the keys with the largest products, and how long building and searching them takes. */
import { D, drawnKeys, drawnQueries } from '../../experiments/retrieval-attention/drawn';
import { attention } from '../../ops/attention';
import { matmul } from '../../ops/matmul';
import { type KeyIndex, type KeyIndexOptions, keyIndex, retrievedAttention } from '../../ops/retrieval';
import { topK } from '../../ops/top-k';
import type { Control } from '../../runtime/backend';
import type { Runtime } from '../../runtime/runtime';
import { hostTensor } from '../../tensor/host';
import type { Tensor } from '../../tensor/tensor';
import { openGiven } from '../peers';
import type { IndexRow, IndexSearch } from './report';

const QUERIES = 64;
const K = 100;
const ALL = { first: 0, recent: 0, topK: K } as const;
const BEAMS = [100, 128, 200, 300, 400, 600].map((beam) => ({ beam }));
const SHARES = [0.02, 0.05, 0.1, 0.2];
const EXPANSIONS = [100, 200, 400, 800];

/** An exact prompt and step, and what is the same for all indexes of n keys. */
export interface Baseline {
  readonly runtime: Runtime;
  readonly n: number;
  readonly hosts: Readonly<Record<'keys' | 'queries', Float32Array>>;
  readonly keys: Tensor;
  readonly prompt: Tensor;
  readonly queries: Tensor;
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
  const hosts = { keys: drawnKeys(n), queries: drawnQueries(QUERIES, 7) };
  const keys = runtime.tensor(hosts.keys, [1, n, 1, D]);
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
  const promptTime = await timed(runtime, () => disposeAll(attention(prompt, keys, keys, { causal: true, signal })));
  const tensors = { keys, prompt, queries, truth };
  return { runtime, n, hosts, wanted, promptTime, ...tensors, dispose: () => disposeAll(tensors) };
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
  settingsOf: (n: number) => readonly { readonly beam?: number; readonly probes?: number }[],
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
    for (const setting of settingsOf(n)) {
      signal?.throwIfAborted();
      searches.push(await searchBy(baseline, built, setting));
    }
    return { build, ofPrompt: build / promptTime, bytes: built.bytes, searches };
  },
});

async function searchBy(
  { n, keys, queries, truth }: Baseline,
  index: KeyIndex,
  setting: { readonly beam?: number; readonly probes?: number },
): Promise<IndexSearch> {
  const { out, lse, scanned } = retrievedAttention(queries, keys, truth, { ...ALL, ...setting, index, scale: 1e-9 });
  const [shares, scores] = [await out.read(), await scanned.read()];
  disposeAll({ out, lse, scanned });
  const mean = (values: ArrayLike<number>) => Array.from(values).reduce((sum, value) => sum + value, 0) / QUERIES;
  const recall = mean(Array.from({ length: QUERIES }, (_, at) => shares[at * QUERIES + at] as number));
  // In turns, the least of one for each query: what else the machine does only adds to it.
  let [step, exact] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  const timeOf = async (work: () => { readonly out: Tensor }) => {
    const start = performance.now();
    const results = work();
    await results.out.read();
    const took = performance.now() - start;
    disposeAll(results);
    return took;
  };
  for (let at = 0; at < QUERIES; at++) {
    using query = queries.slice(1, at, at + 1);
    step = Math.min(step, await timeOf(() => retrievedAttention(query, keys, keys, { ...ALL, ...setting, index })));
    exact = Math.min(exact, await timeOf(() => attention(query, keys, keys, { causal: false })));
  }
  const [[name, value] = ['']] = Object.entries(setting);
  return { setting: `${name} ${value}`, recall, scanned: mean(scores) / n, step, speedup: exact / step };
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
