import { pairedRatio, summarise } from '../../../src/measure/statistics';
import { timeInterleaved } from '../../../src/measure/timing';
import type { Method } from '../../../src/methods/define';
import { findMethod } from '../../../src/methods/registry';
import { initial } from '../../../src/nn/module';
import type { BackendName } from '../../../src/runtime/backend';
import { createRuntime, type Runtime } from '../../../src/runtime/runtime';
import { type HostTensor, toFloat64 } from '../../../src/tensor/host';
import type { Tensor } from '../../../src/tensor/tensor';
import { formatBytes } from '../../../src/text/format';
import type { TaskControl } from '../answer';
import { lettersOf } from '../problem';
import { type Setting, settle } from './setting';

export interface RunResult {
  readonly backend: BackendName;
  /** Milliseconds of a call, the median of several; of exact attention on the same numbers, where it takes them. */
  readonly time?: number;
  readonly exact?: number;
  /** How many times as fast as exact attention. */
  readonly speedup?: number;
  /** The largest error against float64, over the largest result; and of how many tokens. */
  readonly error?: number;
  readonly checked?: number;
  /** What the runtime chose, a fact a line. */
  readonly explain?: string;
  /** Why there is nothing else. */
  readonly failure?: string;
}

export interface RunProgress {
  readonly said: string;
  readonly rows: readonly RunResult[];
}

const BACKENDS: readonly BackendName[] = ['wasm', 'webgpu'];
/** Bytes that a run may take. */
const MOST_BYTES = 2 ** 31;
/** Rounds of a time, and the seconds they may take. */
const PLAN = { seconds: 1.5, least: 3, most: 25 };
/** Products of the reference, which computes in plain loops. */
const MOST_CHECKED = 2 ** 26;

/** Runs a method on every backend here: its time, that of exact attention, and its error against the reference. */
export async function runHere(
  { setting, backends = BACKENDS }: { readonly setting: Setting; readonly backends?: readonly BackendName[] },
  { signal, report }: TaskControl,
): Promise<RunResult[]> {
  const { method, params, letters } = settle(setting);
  const { bytes } = method.cost(letters, params);
  // Inputs and results, those of exact attention, and what is computed in between.
  if (4 * bytes > MOST_BYTES)
    throw new Error(
      `This would take about ${formatBytes(4 * bytes)} of memory, more than the ${formatBytes(MOST_BYTES)} that a page may take: choose fewer tokens or heads.`,
    );
  const rows: RunResult[] = [];
  for (const backend of backends) {
    const said = (what: string) => report({ said: `${backend}: ${what}`, rows } satisfies RunProgress);
    said('starting');
    try {
      using runtime = await createRuntime({ backend });
      const checked = await errorOf(runtime, setting, signal);
      said('measuring');
      rows.push({ backend, ...checked, ...(await timesOf(runtime, setting, signal)), explain: runtime.explain() });
    } catch (error) {
      signal?.throwIfAborted();
      rows.push({ backend, failure: error instanceof Error ? error.message : String(error) });
    }
  }
  return rows;
}

async function timesOf(runtime: Runtime, setting: Setting, signal: AbortSignal | undefined) {
  const { method, params } = settle(setting);
  const inputs = inputsOf(runtime, method, setting);
  const exact = findMethod('attention');
  const exactParams = exact.parse({ causal: method.isCausal?.(params) ?? false }) as never;
  const flat = Object.fromEntries(['q', 'k', 'v'].map((name) => [name, flattened(inputs[name])]));
  const free = (results: Readonly<Record<string, Tensor>>) => {
    for (const tensor of Object.values(results)) tensor.dispose();
  };
  const calls = [() => free(method.forward(inputs as never, params, { signal }))];
  if (inputs.q && method !== exact) calls.push(() => free(exact.forward(flat as never, exactParams, { signal })));
  const estimates: number[] = [];
  for (const call of calls) {
    const start = performance.now();
    call();
    await runtime.finish();
    estimates.push(performance.now() - start);
  }
  const [own, other] = await timeInterleaved(runtime, calls, estimates, PLAN, { signal });
  const time = summarise(own).median;
  return other ? { time, exact: summarise(other).median, speedup: pairedRatio(other, own) } : { time };
}

/** On fewer tokens, since the reference takes its time. */
async function errorOf(runtime: Runtime, setting: Setting, signal: AbortSignal | undefined) {
  const smaller = shortened(setting);
  const { method, params, letters } = settle(smaller);
  const inputs = inputsOf(runtime, method, smaller);
  const entries = Object.entries(inputs).map(async ([name, tensor]) => [name, await tensor.toHost()] as const);
  const host = Object.fromEntries(await Promise.all(entries)) as Record<string, HostTensor>;
  const { out } = method.forward(inputs as never, params, { signal });
  const [got, want] = [toFloat64((await out.toHost()) as HostTensor), method.reference(host as never, params).out.data];
  out.dispose();
  const largest = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const error = want.reduce((worst, value, at) => Math.max(worst, Math.abs(value - got[at])), 0);
  return { error: error / (largest || 1), checked: (letters as { n: number }).n };
}

function shortened(setting: Setting): Setting {
  const pairs = ({ tokens, heads, dimension }: Setting) =>
    tokens.reduce((size, extent) => size * extent, 1) ** 2 * heads * dimension;
  let smaller = setting;
  while (pairs(smaller) > MOST_CHECKED && Math.min(...smaller.tokens) > 16)
    smaller = { ...smaller, tokens: smaller.tokens.map((extent) => Math.ceil(extent / 2)) };
  // A setting may ask for so many tokens: then all are computed.
  try {
    const { method, params } = settle(smaller);
    method.cost(lettersOf(method, smaller), params);
    return smaller;
  } catch {
    return setting;
  }
}

/** Normal numbers; what a model would compute besides q, k and v comes from a layer with the weights that training starts from. */
export function inputsOf(runtime: Runtime, method: Method, setting: Setting): Record<string, Tensor> {
  const { params } = settle(setting);
  const { tokens, heads, dimension } = setting;
  const n = tokens.reduce((size, extent) => size * extent, 1);
  const letters: Readonly<Record<string, number>> = lettersOf(method, setting);
  const shape = (spec: string) =>
    spec.split(' ').flatMap((letter) => (letter === '...space' ? tokens : letters[letter]));
  return runtime.scope(() => {
    const given = Object.entries(method.inputs).filter(([, spec]) => !shape(spec).includes(undefined as never));
    const random = Object.fromEntries(
      given.map(([name, spec], at) => [name, runtime.random(shape(spec), { seed: at + 1 })]),
    );
    if (!method.layer) return random;
    const width = heads * dimension;
    const layer = method.layer(
      { width, heads, keyHeads: heads, d: dimension, e: dimension, layer: 0, layers: 1 },
      params,
    );
    const x = runtime.random([1, n, width], { seed: 9 });
    return { ...random, ...layer.inputs(x, random as never, initial(layer, runtime)) };
  });
}

/** [b, ...space, h, c] as [b, n, h, c]. */
function flattened(x: Tensor | undefined): Tensor | undefined {
  if (!x || x.shape.length === 4) return x;
  const [b, ...rest] = x.shape;
  const [h, c] = rest.slice(-2);
  return x.reshape([b, rest.slice(0, -2).reduce((size, extent) => size * extent, 1), h, c]);
}
