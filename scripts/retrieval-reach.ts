/**
 * How far retrieval reaches at 128K tokens, on one thread: node scripts/retrieval-reach.ts [TOKENS], after npm run build. It tells
 * recall of 100 keys by keys scored, for graphs from queries and of keys and for cells, beside exact attention's prompt and step.
 * Keys are in 60 clusters; queries are stretched along half of the coordinates and lie apart from them.
 */
const dist = new URL('../dist/', import.meta.url).href;
const { attention, createRuntime, keyIndex, matmul, retrievedAttention, topK } = await import(`${dist}index.mjs`);
const { normal, uniformGenerator } = await import(`${dist}tensor/random.mjs`);

const n = Number(process.argv[2] ?? 131_072);
const [D, QUERIES, K] = [64, 64, 100];
const SEEN = { first: 0, recent: 0, topK: K } as const;

const runtime = await createRuntime({ backend: 'wasm', threads: 1 });
const centres = normal(60 * D, 1);
const pick = uniformGenerator(3);
const clusters = Array.from({ length: n }, () => Math.floor(60 * pick()));
const keys = normal(n * D, 2).map(
  (x: number, at: number) => 0.6 * x + (centres[(clusters[Math.floor(at / D)] as number) * D + (at % D)] as number),
);
const scales = Array.from(normal(D, 4), (x) => (Number(x) < 0 ? 0.3 : 3));
const shift = normal(D, 5);
const length = Math.hypot(...shift);
const queriesOf = (count: number, seed: number) =>
  normal(count * D, seed).map((x: number, at: number) => x * (scales[at % D] as number) - (6 * shift[at % D]) / length);

const k = runtime.tensor(keys, [1, n, 1, D]);
const prompt = runtime.tensor(queriesOf(n, 6), [1, n, 1, D]);
const q = runtime.tensor(queriesOf(QUERIES, 7), [1, QUERIES, 1, D]);

/** Processor time of some work, in seconds: other work on the machine does not count. */
async function seconds(work: () => unknown): Promise<number> {
  const before = process.cpuUsage();
  work();
  await runtime.finish();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

/** Milliseconds of a step, the least of one for each query. */
async function stepOf(attend: (query: typeof q) => { out: typeof q }): Promise<number> {
  const times: number[] = [];
  for (let at = 0; at < QUERIES; at++) {
    const start = performance.now();
    await attend(q.slice(1, at, at + 1)).out.read();
    times.push(performance.now() - start);
  }
  return Math.min(...times);
}

const places = await topK(matmul(q.reshape([QUERIES, D]), k.reshape([n, D]), { transposeB: true }), K).indices.read();
// A column for each query, 1 at the keys that it should find: the mean of what it fetches is its recall.
const columns = new Float32Array(n * QUERIES);
for (const [at, place] of places.entries()) columns[place * QUERIES + Math.floor(at / K)] = 1;
const truth = runtime.tensor(columns, [1, n, 1, QUERIES]);

const exactPrompt = await seconds(() => attention(prompt, k, k, { causal: true }));
const exactStep = await stepOf((query) => attention(query, k, k, { causal: false }));
console.log(`exact: prompt ${exactPrompt.toFixed(1)} s, step ${exactStep.toFixed(2)} ms`);
for (const [name, options] of Object.entries({
  'graph from queries': { queries: prompt },
  'graph of keys': {},
  cells: { kind: 'ivf' },
})) {
  const made: ReturnType<typeof keyIndex>[] = [];
  const built = await seconds(() => made.push(keyIndex(k, { first: 0, recent: 0, ...options })));
  const [index] = made;
  console.log(
    `${name}: ${built.toFixed(1)} s, ${(built / exactPrompt).toFixed(2)} times the prompt, ${index.bytes} bytes`,
  );
  const cells = Math.round(Math.sqrt(n));
  const settings =
    name === 'cells'
      ? [0.02, 0.05, 0.1, 0.2].map((share) => ({ probes: Math.round(share * cells) }))
      : [100, 128, 200, 300, 400, 600].map((beam) => ({ beam }));
  for (const setting of settings) {
    const { out, scanned } = retrievedAttention(q, k, truth, { ...SEEN, ...setting, index, scale: 1e-9 });
    const [shares, scores] = [await out.read(), await scanned.read()];
    const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / QUERIES;
    const recall = mean(Array.from({ length: QUERIES }, (_, at) => shares[at * QUERIES + at]));
    const step = await stepOf((query) => retrievedAttention(query, k, k, { ...SEEN, ...setting, index }));
    console.log(
      `  ${JSON.stringify(setting)}: recall ${recall.toFixed(3)} at ${((100 * mean([...scores])) / n).toFixed(2)}% scored, step ${step.toFixed(2)} ms, ${(exactStep / step).toFixed(1)} times as fast`,
    );
  }
  index.dispose();
}
runtime.dispose();
