/**
 * Where the time and the memory of a decoder's training step go, by op and shape, of what is built:
 * node scripts/profile-step.ts [--config JSON] [--method NAME] [--params JSON] [--batch 8] [--tokens 256] [--steps 5] [--recompute]
 * An op's time is from the start of its turn to the end. The multiply-add peak is measured before each step.
 */
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { formatTable, right } from '../src/text/table.ts';

const text = { type: 'string' } as const;
const options = {
  config: text,
  method: text,
  params: text,
  batch: text,
  tokens: text,
  steps: text,
  recompute: { type: 'boolean' },
} as const;
const { values } = parseArgs({ options });
const { batch = '8', tokens: length = '256', steps = '5', recompute = false } = values;
const config = {
  model_type: 'llama',
  num_hidden_layers: 6,
  hidden_size: 320,
  num_attention_heads: 5,
  intermediate_size: 864,
  vocab_size: 8192,
  tie_word_embeddings: true,
  ...JSON.parse(values.config ?? '{}'),
};
const dist = new URL('../dist/', import.meta.url).href;
const { createRuntime, differentiate, findMethod } = await import(`${dist}index.mjs`);
const { createDecoder } = await import(`${dist}models/index.mjs`);
const { multiplyAdds } = await import(`${dist}ops/peak/index.mjs`);

/** What is known of a call. */
interface View {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly size: number;
}
type Call = Partial<Record<'a' | 'b' | 'out' | 'gradX' | 'x', View>> & {
  readonly function?: { readonly name: string };
  readonly items?: readonly { readonly outs: readonly View[] }[];
};

function describe(name: string, call: Call): { key: string; flops: number } {
  const { a, b, out, gradX, x, items } = call;
  if (name === 'matmul' && a && b && out) {
    const [rows, depth, columns] = [a.shape.at(-2), a.shape.at(-1) as number, b.shape.at(-1)];
    const turned = ({ strides }: View) => (strides.at(-1) === 1 ? '' : 'T');
    return { key: `matmul ${rows} x ${depth}${turned(a)} x ${columns}${turned(b)}`, flops: 2 * out.size * depth };
  }
  const { shape } = items?.[0]?.outs[0] ?? out ?? gradX ?? x ?? { shape: [] };
  return { key: [name, call.function?.name, shape.join(' x ')].filter(Boolean).join(' '), flops: 0 };
}

const [b, n, count] = [Number(batch), Number(length), Number(steps)];
using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
const decoder = createDecoder(config, {
  attention: values.method && { method: findMethod(values.method), params: JSON.parse(values.params ?? '{}') },
});
const parameters = decoder.initialize(runtime, { seed: 1 });
const draw = () => Int32Array.from({ length: b * n }, () => Math.floor(config.vocab_size * Math.random()));
const [tokens, targets] = [draw(), draw()].map((ids) => runtime.tensor(ids, [b, n], 'i32'));

const ops = new Map<string, { ms: number; calls: number; flops: number }>();
const { backend } = runtime;
const run = backend.run;
backend.run = function* (op: { readonly name: string }, call: Call, control: object) {
  const start = performance.now();
  const result = yield* run.call(backend, op, call, control);
  const { key, flops } = describe(op.name, call);
  const { ms, calls, flops: before } = ops.get(key) ?? { ms: 0, calls: 0, flops: 0 };
  ops.set(key, { ms: ms + performance.now() - start, calls: calls + 1, flops: before + flops });
  return result;
};

const WARM_UP = 2;
const [took, peaks]: [number[], number[]] = [[], []];
let memory = 0;
for (let step = 0; step < count + WARM_UP; step++) {
  const before = performance.now();
  const done = await multiplyAdds(runtime, 2 ** 20);
  peaks.push(done / (performance.now() - before) / 1e6);
  if (step === WARM_UP) ops.clear();
  backend.resetPeak();
  const start = performance.now();
  const loss = (p: unknown) => decoder.loss(p, tokens, targets, { recompute });
  const found = differentiate(loss, parameters);
  await runtime.finish();
  took.push(performance.now() - start);
  memory = runtime.memory().peak;
  for (const tensor of [found.loss, ...Object.values<Disposable>(found.gradients)]) tensor[Symbol.dispose]();
}
ops.delete('peak');

const rows = [...ops].map(([name, { ms, calls, flops }]) => ({
  name,
  ms: ms / count,
  calls: calls / count,
  rate: flops / ms / 1e6,
}));
rows.sort((a, b) => b.ms - a.ms);
const cells = rows.map(({ name, ms, calls, rate }) => [
  name,
  String(calls),
  ms.toFixed(1),
  rate > 0 ? rate.toFixed(0) : '',
]);
const columns = ['op', ...['calls', 'ms', 'GF/s'].map(right)];
process.stdout.write(`${formatTable(columns, cells)}\n`);

const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[values.length >> 1] as number;
const [ms, peak] = [median(took.slice(WARM_UP)), median(peaks.slice(WARM_UP))];
const { num_hidden_layers: layers, hidden_size: width, intermediate_size: hidden, num_attention_heads: heads } = config;
const shapes = Object.values<{ readonly shape: readonly number[] }>(decoder.parameters);
const size = shapes.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
// Causal exact attention, four products forward and eight backward of a pair and a channel.
const pairs = b * heads * layers * ((n * (n + 1)) / 2);
const flops = 6 * size * b * n + 12 * (config.head_dim ?? width / heads) * pairs;
const bound = 16 * size + 4 * b * n * (layers * (10 * width + 3 * hidden) + config.vocab_size);
const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
process.stdout.write(
  `step ${ms.toFixed(0)} ms, of which ops ${rows.reduce((sum, row) => sum + row.ms, 0).toFixed(0)}; ` +
    `${(flops / 1e9).toFixed(0)} GFLOP of the model at ${(flops / ms / 1e6).toFixed(0)} GF/s, ` +
    `${(flops / ms / 1e6 / peak).toFixed(2)} of the peak ${peak.toFixed(0)}\n` +
    `${(size / 1e6).toFixed(1)} M parameters; peak memory ${mebibytes(memory)}, and ${mebibytes(8 * size)} of moments; ` +
    `the bound is ${mebibytes(bound)}\n`,
);
