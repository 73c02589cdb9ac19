/** What indexes find of the keys with the largest products, and how many they score for it, where queries are unlike keys. */
import { exactAttention } from '../../methods/dense/attention';
import { retrievalAttention } from '../../methods/sparse/retrieval-attention';
import type { DecoderAttention } from '../../models';
import { attention } from '../../ops/attention';
import { concat } from '../../ops/copy';
import { matmul } from '../../ops/matmul';
import { type KeyIndex, keyIndex, retrievedAttention } from '../../ops/retrieval';
import { topK } from '../../ops/top-k';
import { normal } from '../../tensor/random';
import type { Tensor } from '../../tensor/tensor';
import { formatBytes, formatPercent, formatRatio, significant } from '../../text/format';
import { lossOf, networkWith, openDefaultModel, textOf } from '../default-model';
import { chart, defineExperiment, figure, type MeasureContext, share, together } from '../experiment';
import { CLUSTERS, D, drawnKeys, drawnQueries, NOISE } from './drawn';

const QUERIES = 64;
const K = 100;
/** Tokens, as in the abstract. In quick runs it only shows that it works. */
const TOKENS = 131_072;
const QUICK_TOKENS = 4096;
const BEAMS = [100, 128, 200, 300, 400, 600, 900, 1400];
const ALL = { first: 0, recent: 0, topK: K } as const;
const RECALL = 0.9;

export const experiment = defineExperiment({
  title: 'recall by keys scored, of graphs made from queries, graphs of keys, and cells; steps beside exact attention',
  claims: {
    scanned: {
      claim: 'An index built with queries of the prompt finds what it needs by scanning 1 to 3% of the keys.',
      source: 'abstract',
      criteria: {
        scanned: share(`share of the keys scored at a recall of ${RECALL}`, [0, 0.03], [0, 0.05]),
        bytes: figure('bytes an edge', [4, 6], [4, 8]),
      },
      untested: 'Queries and keys are drawn, as no model with such contexts is at hand.',
    },
    usual: {
      claim: 'Usual indexes, made from keys alone, score about 30% of the keys for that.',
      source: 'abstract',
      criteria: { gain: figure('recall over that of a graph of keys at equal scores, ratio', [1.5, 20], [0, 100]) },
      untested: 'The baseline is a graph of keys with a few random links, with the same entries.',
    },
    alike: {
      claim: 'It is for queries unlike keys: where they are alike a graph of keys finds them as well.',
      source: 'reconstructed from the discussion of the paper',
      criteria: { gain: figure('the same ratio, for queries near keys', [0, 1.1], [0, 100]) },
    },
    cells: {
      claim: 'An inverted file scores more keys for the same recall.',
      source: 'the method as its released code has it',
      criteria: { more: figure('keys scored, over those of the graph, ratio', [1.6, 100], [0, 1000]) },
    },
    needle: {
      claim: 'One old key that matters is fetched: the result is that of full attention, which a window alone misses.',
      source: 'paper, needle in a haystack',
      criteria: {
        error: figure('largest error over that of the window alone, ratio', [0, 0.01], [0, 1000]),
      },
      untested: 'The needle is a key in the heads that were drawn, not a sentence of a text.',
    },
    model: {
      claim: 'Accuracy is within about a point of full attention, which a fixed window is not.',
      source: 'paper, tables on long contexts; recalled',
      criteria: {
        rise: figure('rise of the loss of the default model, nats a token', [-1, 0.02], [-1, 0.1], [-10, 10]),
        gain: figure('that rise over the rise by the window alone', [-1, 0.5], [-5, 1], [-100, 100]),
      },
      untested: 'Models of billions of parameters with contexts of 128K tokens, on the tasks of the paper.',
    },
    step: {
      claim: 'A step is several times as fast as exact attention, and an index costs about a prompt.',
      source: 'abstract; the figures are ours',
      criteria: {
        gain: figure('time of an exact step over that by the graph, ratio', [6, 1000], [0, 1e4]),
        build: figure('time to make the graph over that of the exact prompt, ratio', [0, 3], [0, 1000]),
      },
      timed: true,
    },
    memory: {
      claim: 'An 8B model serves 128K tokens in 16 GB of GPU memory, and a token takes 0.188 s on one RTX 4090.',
      source: 'abstract',
      criteria: {},
      untested: 'It needs a model of billions of parameters and that GPU.',
    },
    distance: {
      claim: 'Queries lie more than ten times as far from keys as keys do from each other.',
      source: 'discussion of the paper, by a third party',
      criteria: {},
      untested: 'It is of trained models with long contexts, which are not at hand.',
    },
  },
  measure: {
    ...together(['scanned', 'usual', 'cells', 'step'], measureUnlike),
    alike: measureAlike,
    needle: measureNeedle,
    model: measureModel,
    memory: () => ({ measured: 'nothing: there is no such model here', values: {} }),
    distance: () => ({ measured: 'nothing: there is no such model here', values: {} }),
  },
});

/** Keys [1, n, 1, d]. */
const keysOf = ({ runtime }: MeasureContext, n: number): Tensor<'f32'> => runtime.tensor(drawnKeys(n), [1, n, 1, D]);

/** Queries [1, n, 1, d]. */
const queriesOf = ({ runtime }: MeasureContext, n: number, seed: number): Tensor<'f32'> =>
  runtime.tensor(drawnQueries(n, seed), [1, n, 1, D]);

interface Found {
  readonly recall: number;
  /** Share of the keys. */
  readonly scanned: number;
}

/** For each query a column of values that is 1 at the keys with its largest products, so that the mean of what is fetched tells. */
async function truthOf(queries: Tensor, keys: Tensor): Promise<Float32Array> {
  const [, n] = keys.shape as [number, number];
  const count = queries.shape[1] as number;
  using places = keys.runtime.scope(
    () => topK(matmul(queries.reshape([count, D]), keys.reshape([n, D]), { transposeB: true }), K).indices,
  );
  const found = await places.read();
  const columns = new Float32Array(n * count);
  for (const [at, place] of found.entries()) columns[place * count + Math.floor(at / K)] = 1;
  return columns;
}

async function search(
  queries: Tensor,
  keys: Tensor,
  truth: Tensor,
  options: { readonly index: KeyIndex; readonly beam?: number; readonly probes?: number },
): Promise<Found> {
  const [, n] = keys.shape as [number, number];
  const count = queries.shape[1] as number;
  const { out, lse, scanned } = retrievedAttention(queries, keys, truth, { ...ALL, ...options, scale: 1e-9 });
  const [shares, scores] = [await out.read(), await scanned.read()];
  for (const each of [out, lse, scanned]) each.dispose();
  const own = Array.from({ length: count }, (_, at) => shares[at * count + at] as number);
  const mean = (values: ArrayLike<number>) => Array.from(values).reduce((sum, value) => sum + value, 0) / count;
  return { recall: mean(own), scanned: mean(scores) / n };
}

type Curve = readonly Found[];

/** What a graph finds by each beam. */
async function curveOf(queries: Tensor, keys: Tensor, truth: Tensor, index: KeyIndex): Promise<Found[]> {
  const curve: Found[] = [];
  for (const beam of BEAMS) curve.push(await search(queries, keys, truth, { index, beam }));
  return curve;
}

/** The first of a curve that reaches what is wanted, else its last. */
const reaching = (curve: Curve, fits: (found: Found) => boolean) => curve.find(fits) ?? (curve.at(-1) as Found);

/** The recall of one curve over that of another which scores as many keys or more, where the first has found enough. */
function gainOf(curve: Curve, other: Curve): number {
  const own = reaching(curve, ({ recall }) => recall >= RECALL);
  return own.recall / Math.max(0.01, reaching(other, ({ scanned }) => scanned >= own.scanned).recall);
}

async function measureUnlike(context: MeasureContext) {
  const { runtime, quick, step } = context;
  const n = quick ? QUICK_TOKENS : TOKENS;
  using keys = keysOf(context, n);
  using prompt = queriesOf(context, n, 6);
  using queries = queriesOf(context, QUERIES, 7);
  using values = runtime.tensor(normal(n * D, 11), [1, n, 1, D]);
  using truth = runtime.tensor(await truthOf(queries, keys), [1, n, 1, QUERIES]);
  const built = async (options: Parameters<typeof keyIndex>[1]) => {
    const start = performance.now();
    const index = keyIndex(keys, { first: 0, recent: 0, ...options });
    await runtime.finish();
    return { index, milliseconds: performance.now() - start };
  };
  await step(0, 'exact prompt');
  const start = performance.now();
  const exact = attention(prompt, keys, values, { causal: true });
  await runtime.finish();
  const prompted = performance.now() - start;
  for (const each of [exact.out, exact.lse]) each.dispose();
  await step(0.25, 'graph from queries');
  const { index, milliseconds } = await built({ queries: prompt });
  using graph = index;
  const curve = await curveOf(queries, keys, truth, graph);
  const edges = (await (graph.tensors.edges as Tensor<'i32'>).read()).subarray(
    0,
    n * (graph.tensors.edges.shape[3] as number),
  );
  const count = edges.reduce((sum, edge) => sum + Number(edge >= 0), 0);
  const beam = BEAMS[curve.findIndex(({ recall }) => recall >= RECALL)] ?? (BEAMS.at(-1) as number);
  const { own, others } = await timesOf(queries, keys, values, graph, beam);
  await step(0.55, 'graph of keys');
  const { index: byKeys } = await built({});
  using other = byKeys;
  const otherCurve = await curveOf(queries, keys, truth, other);
  await step(0.85, 'cells');
  const { index: byCells } = await built({ kind: 'ivf' });
  using cells = byCells;
  const all = Math.round(Math.sqrt(n));
  const cellCurve: Found[] = [];
  for (const part of [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5])
    cellCurve.push(await search(queries, keys, truth, { index: cells, probes: Math.max(1, Math.round(part * all)) }));
  const at = reaching(curve, ({ recall }) => recall >= RECALL);
  const gain = gainOf(curve, otherCurve);
  const more = reaching(cellCurve, ({ recall }) => recall >= at.recall).scanned / at.scanned;
  const details = `${n} keys of ${D} numbers in ${CLUSTERS} clusters, as many queries of a prompt and ${QUERIES} of steps, one head; ${K} keys are retrieved.`;
  const series = chart(
    'Recall by share of the keys scored',
    { beam: BEAMS },
    {
      'recall, graph from queries': curve.map(({ recall }) => recall),
      'scored, graph from queries': curve.map(({ scanned }) => scanned),
      'recall, graph of keys': otherCurve.map(({ recall }) => recall),
      'scored, graph of keys': otherCurve.map(({ scanned }) => scanned),
    },
  );
  return {
    scanned: {
      measured: `recall ${significant(at.recall)} of ${K} keys where ${formatPercent(at.scanned)} are scored`,
      values: { scanned: at.scanned, bytes: (4 * graph.tensors.edges.size) / count },
      details: `${details} The index takes ${formatBytes(graph.bytes)}, of which copies of the keys in 8 bits ${formatBytes(4 * (graph.tensors.codes?.size ?? 0))}.`,
      series,
    },
    usual: {
      measured: `${formatRatio(gain)} the recall of a graph of keys that scores as many`,
      values: { gain },
      details,
    },
    cells: {
      measured: `cells score ${formatRatio(more)} the keys for a recall of ${significant(at.recall)}`,
      values: { more },
      details,
    },
    step: {
      measured: `a step ${formatRatio(others / own)} as fast as exact attention at a recall of ${significant(at.recall)}; the graph in ${formatRatio(milliseconds / prompted)} the time of the prompt`,
      values: { gain: others / own, build: milliseconds / prompted },
      details,
    },
  };
}

/** Milliseconds of a step by the graph and of an exact one, in turns: for each query the least of a few, and their means. */
async function timesOf(queries: Tensor, keys: Tensor, values: Tensor, index: KeyIndex, beam: number) {
  const timed = async (work: () => object) => {
    const start = performance.now();
    const results = Object.values(work()) as Tensor[];
    await results[0]?.read();
    const took = performance.now() - start;
    for (const each of results) each.dispose();
    return took;
  };
  let [own, others] = [0, 0];
  for (let at = 0; at < QUERIES; at++) {
    using query = queries.slice(1, at, at + 1);
    let [ownLeast, otherLeast] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    for (let turn = 0; turn < 3; turn++) {
      const found = await timed(() => retrievedAttention(query, keys, values, { ...ALL, index, beam }));
      const exact = await timed(() => attention(query, keys, values, { causal: false }));
      [ownLeast, otherLeast] = [Math.min(ownLeast, found), Math.min(otherLeast, exact)];
    }
    own += ownLeast / QUERIES;
    others += otherLeast / QUERIES;
  }
  return { own, others };
}

/** Queries that are keys with as much noise again. */
async function measureAlike(context: MeasureContext) {
  const { runtime, quick } = context;
  const n = quick ? QUICK_TOKENS : 4 * QUICK_TOKENS;
  using keys = keysOf(context, n);
  const values = await keys.read();
  const near = (count: number, seed: number) => {
    const noise = normal(count * D, seed);
    const step = Math.floor(n / count);
    return runtime.tensor(
      noise.map((value, at) => NOISE * value + (values[Math.floor(at / D) * step * D + (at % D)] as number)),
      [1, count, 1, D],
    );
  };
  using prompt = near(n, 8);
  using queries = near(QUERIES, 9);
  using truth = runtime.tensor(await truthOf(queries, keys), [1, n, 1, QUERIES]);
  using graph = keyIndex(keys, { first: 0, recent: 0, queries: prompt });
  using other = keyIndex(keys, { first: 0, recent: 0 });
  const gain = gainOf(await curveOf(queries, keys, truth, graph), await curveOf(queries, keys, truth, other));
  return {
    measured: `${formatRatio(gain)} the recall of a graph of keys that scores as many`,
    values: { gain },
    details: `${n} keys; queries are keys with noise.`,
  };
}

/** Losses of the default model whose tokens retrieve some of those before their window, and with the window alone. */
async function measureModel({ runtime, quick, signal, step }: MeasureContext) {
  await step(0, 'the default model');
  const opened = await openDefaultModel(runtime);
  using _ = opened.model;
  const n = quick ? 256 : 2048;
  const tokens = await textOf(opened, n);
  const window = quick ? { first: 16, recent: 64 } : { first: 128, recent: 512 };
  const loss = (attention?: DecoderAttention) => lossOf(networkWith(opened, attention), tokens, { signal });
  const exact = await loss();
  const counts = [10, 30, 100];
  const rises: number[] = [];
  for (const count of counts)
    rises.push((await loss({ method: retrievalAttention, params: { ...window, topK: count } })) - exact);
  const { first, recent } = window;
  const alone = (await loss({ method: exactAttention, params: { window: [recent - 1, 0], sinks: first } })) - exact;
  return {
    measured: `losses rise by ${rises.map((rise) => significant(rise)).join(', ')} nats a token with ${counts.join(', ')} keys retrieved, by ${significant(alone)} with the window alone`,
    values: { rise: rises.at(-1) as number, gain: (rises.at(-1) as number) / alone },
    details: `${n} tokens that the model wrote itself, of which it has ${significant(exact)} nats a token with exact attention; the first ${first} and the last ${recent} are seen; retrieval at each token, by a look at all keys.`,
    series: chart(
      'rise of the loss by keys retrieved',
      { keys: counts },
      { retrieved: rises, 'window alone': counts.map(() => alone) },
    ),
  };
}

/** A key that the query of a step matches strongly, at some place of the past. */
async function measureNeedle(context: MeasureContext) {
  const { runtime, quick } = context;
  const n = quick ? QUICK_TOKENS : 4 * QUICK_TOKENS;
  const [keys, prompt, values] = [keysOf(context, n), queriesOf(context, n, 6), normal(n * D, 10)];
  const [k, q] = [(await keys.read()).slice(), await prompt.read()];
  const place = Math.floor(n / 3);
  const query = q.slice((n - 1) * D);
  const size = query.reduce((sum, x) => sum + x * x, 0);
  // Its score is far above those of others.
  for (let c = 0; c < D; c++) k[place * D + c] = ((query[c] as number) / size) * 8 * Math.sqrt(D) * Math.log(n);
  const of = (data: Float32Array, length: number) => runtime.tensor(data, [1, length, 1, D]);
  using all = of(k, n);
  using v = of(values, n);
  using step = of(query, 1);
  using index = keyIndex(all, { queries: prompt });
  /** Only the result stays of what is computed, until it is read. */
  const read = async (compute: () => { readonly out: Tensor }) => {
    using out = runtime.scope(() => compute().out);
    return await out.read();
  };
  const exact = await read(() => attention(step, all, v, { causal: false }));
  const found = await read(() => retrievedAttention(step, all, v, { index }));
  const window = (x: Tensor) => concat([x.slice(1, 0, 128), x.slice(1, n - 512, n)] as Tensor<'f32'>[], 1);
  const alone = await read(() => attention(step, window(all), window(v), { causal: false }));
  const apart = (other: ArrayLike<number>) => Math.max(...exact.map((x, at) => Math.abs(x - (other[at] as number))));
  const error = apart(found as Float32Array) / apart(alone as Float32Array);
  keys.dispose();
  prompt.dispose();
  return {
    measured: `an error of ${significant(apart(found as Float32Array))}, where a window alone errs by ${significant(apart(alone as Float32Array))}`,
    values: { error },
    details: `${n} tokens, a window of 128 and 512, ${K} retrieved.`,
  };
}
