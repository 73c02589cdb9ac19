import { pairedRatio, summarise } from '../../../src/measure/statistics';
import { timeCalls, timeInterleaved } from '../../../src/measure/timing';
import { baseline } from '../../../src/methods/baseline';
import { disposeResults, type Results, settled } from '../../../src/methods/outputs';
import { createRuntime } from '../../../src/ops/create-runtime';
import type { BackendName } from '../../../src/runtime/backend';
import type { Runtime } from '../../../src/runtime/runtime';
import { type HostTensor, toFloat64 } from '../../../src/tensor/host';
import type { Tensor } from '../../../src/tensor/tensor';
import { formatBytes, formatPercent, formatRatio, formatTime } from '../../../src/text/format';
import type { TaskControl } from '../answer';
import { isAttention, lengthOf, tokensIn } from '../problem';
import { isPicture } from '../shown';
import { inputsOf, sampleInputs, withNumbers } from './inputs';
import type { RealQkv } from './real';
import { type Setting, settle } from './setting';

export interface RunResult {
  readonly backend: BackendName;
  /** Milliseconds of a call, the median of several; of exact attention on the same numbers, where it takes them. */
  readonly time?: number;
  readonly exact?: number;
  /** How many times as fast as exact attention. */
  readonly speedup?: number;
  /** Useful operations a second. */
  readonly rate?: number;
  /** Most bytes that a call held beside its inputs: its results and its working memory. */
  readonly memory?: number;
  /** The largest error against float64, over the largest result of its output; and in words where. */
  readonly error?: number;
  readonly checked?: string;
  /** The runtime's choices, one a line. */
  readonly explain?: string;
  /** Remarks on the figures, a sentence each. */
  readonly remarks?: readonly string[];
  /** Why there is nothing else. */
  readonly failure?: string;
}

export interface RunReport {
  /** The device, in words. */
  readonly inputs: string;
  readonly rows: readonly RunResult[];
}

export interface RunProgress extends Pick<RunReport, 'rows'> {
  readonly said: string;
}

export const BACKENDS: readonly BackendName[] = ['wasm', 'webgpu'];
/** Bytes that a run may take. */
const MOST_BYTES = 2 ** 31;
/** Rounds of a time, and the seconds they may take. */
export const PLAN = { seconds: 1, least: 3, most: 25 };
/** Milliseconds that a call of exact attention may take. */
const PATIENCE = 10_000;
/** Products that the reference, which computes in plain loops, should take, and those that it may if a setting needs them. */
const CHECKED = 2 ** 26;
const MOST_CHECKED = 2 ** 32;

export interface RunOptions {
  readonly setting: Setting;
  readonly backends?: readonly BackendName[];
}

/** Runs a method on every backend here: its time, that of exact attention, and its error against the reference. */
export async function runHere(
  { setting: asked, backends = BACKENDS }: RunOptions,
  { signal, report }: TaskControl,
): Promise<RunReport> {
  const rows: RunResult[] = [];
  const say = (what: string) => report({ said: what, rows } satisfies RunProgress);
  const bytes = bytesOf(asked);
  if (bytes > MOST_BYTES)
    throw new Error(
      `This would take about ${formatBytes(bytes)} of memory, more than the ${formatBytes(MOST_BYTES)} that a page may take: choose ${isAttention(settle(asked).method) ? 'fewer tokens or heads' : 'smaller extents'}.`,
    );
  const control = { signal, onProgress: (share: number) => say(`loading the encoder, ${formatPercent(share)}`) };
  const { setting, real } = await withNumbers(asked, control);
  const smaller = shortened(setting);
  const fewer = smaller === setting ? real : smaller && (await withNumbers(smaller, control)).real;
  for (const backend of backends) {
    const tell = (what: string) => say(`${backend}: ${what}`);
    tell('starting');
    try {
      using runtime = await createRuntime({ backend });
      tell('checking');
      const checked = smaller && (await errorOf(runtime, smaller, fewer, signal));
      rows.push({ backend, ...checked, ...(await timesOf(runtime, setting, real, { signal, report: tell })) });
    } catch (error) {
      signal?.throwIfAborted();
      rows.push({ backend, failure: error instanceof Error ? error.message : String(error) });
    }
  }
  return { inputs: await described(setting, real), rows };
}

async function described(setting: Setting, real: RealQkv | undefined): Promise<string> {
  if (!real) {
    const given = Object.keys(await sampleInputs(setting));
    if (given.length > 0) return `${given.join(', ')}: the sample of this page.`;
    const pictures = Object.values(settle(setting).method.inputs).some(isPicture);
    return pictures ? 'A toy picture, and random numbers.' : 'Normal random numbers.';
  }
  const { inputs } = settle(setting).method;
  const besides = Object.keys(inputs).filter((name) => !['q', 'k', 'v'].includes(name));
  const layer = `${besides.join(', ')}: by a layer with the weights that training starts from, of normal random numbers.`;
  return besides.length > 0 ? `${real.description} ${layer}` : real.description;
}

/** Inputs and results, those of exact attention, and what is computed in between; the states of an encoder, too. */
function bytesOf(setting: Setting): number {
  const { method, params, letters } = settle(setting);
  const states = setting.numbers?.startsWith('layer') ? 64 * 1024 * setting.extents.n : 0;
  return 4 * method.cost(letters, params).bytes + states;
}

/** Ratios that differ by a smaller factor are alike. */
const LIKE = 1.05;

async function timesOf(
  runtime: Runtime,
  setting: Setting,
  real: RealQkv | undefined,
  { signal, report }: { readonly signal: AbortSignal | undefined; report(what: string): void },
) {
  const { method, params, letters } = settle(setting);
  const inputs = await inputsOf(runtime, setting, real);
  const { flops } = method.cost(
    { ...letters, ...(inputs.v && { e: inputs.v.shape.at(-1) }) } as typeof letters,
    params,
  );
  const exactParams = baseline.parse({ causal: method.isCausal?.(params) ?? false }) as never;
  const flat = Object.fromEntries(['q', 'k', 'v'].map((name) => [name, flattened(inputs[name])]));
  const call = () => disposeResults(method.forward(inputs as never, params, { signal }));
  const callExact = () => disposeResults(baseline.forward(flat as never, exactParams, { signal }));
  const remarks: string[] = [];
  const warning = await method.warning?.(inputs as never, params, { signal });
  if (warning) remarks.push(`${warning}.`.replace(/\.\.$/, '.'));

  const { backend } = runtime;
  backend.resetPeak();
  const before = backend.memory().live;
  const onProgress = (share: number) => report(`the first call, ${formatPercent(share)}`);
  let results: Results = {};
  const first = () => {
    results = method.forward(inputs as never, params, { signal, onProgress });
  };
  const estimates = [await timeCalls(runtime, first)];
  const memory = backend.memory().peak - before;
  disposeResults(results);
  const calls = [call];
  if (isAttention(method) && method !== baseline) {
    const wait = (estimates[0] * baseline.cost(letters, exactParams).flops) / flops;
    if (wait > PATIENCE)
      remarks.push(`Exact attention, which would take about ${formatTime(wait)} a call, was left out.`);
    else {
      report('exact attention');
      estimates.push(await timeCalls(runtime, callExact));
      calls.push(callExact);
    }
  }
  const [own, other] = await timeInterleaved(runtime, calls, estimates, PLAN, {
    signal,
    onProgress: (share) => report(`measuring, ${formatPercent(share)}`),
  });
  const time = summarise(own).median;
  const exact = other && { exact: summarise(other).median, speedup: pairedRatio(other, own) };
  const ofMedians = exact && exact.exact / time;
  if (ofMedians && Math.abs(Math.log(exact.speedup / ofMedians)) > Math.log(LIKE))
    remarks.push(`The speed-up is the median of pairs of calls; of the medians it is ${formatRatio(ofMedians)}.`);
  return {
    time,
    rate: (1000 * flops) / time,
    memory,
    explain: runtime.explain(),
    remarks,
    ...exact,
  };
}

async function errorOf(runtime: Runtime, setting: Setting, real: RealQkv | undefined, signal: AbortSignal | undefined) {
  const { method, params } = settle(setting);
  const inputs = await inputsOf(runtime, setting, real);
  const entries = Object.entries(inputs).map(async ([name, tensor]) => [name, await tensor.toHost()] as const);
  const host = Object.fromEntries(await Promise.all(entries)) as Record<string, HostTensor>;
  const results = await settled(method.forward(inputs as never, params, { signal }));
  const wanted = method.reference(host as never, params);
  const error = await largestError(results, wanted);
  disposeResults(results);
  return { error, checked: extentsInWords(setting) };
}

/** The largest error of any result, as a share of the largest number that is wanted of it. */
export async function largestError(
  results: Readonly<Record<string, Tensor>>,
  wanted: Readonly<Record<string, { readonly data: Float64Array }>>,
): Promise<number> {
  const errors = Object.entries(results).map(async ([name, result]) => {
    const [got, want] = [toFloat64((await result.toHost()) as HostTensor), wanted[name].data];
    const largest = want.reduce((most, value) => (Number.isFinite(value) ? Math.max(most, Math.abs(value)) : most), 0);
    const off = (value: number, at: number) => (value === got[at] ? 0 : Math.abs(value - got[at]));
    return want.reduce((worst, value, at) => Math.max(worst, off(value, at)), 0) / (largest || 1);
  });
  return Math.max(...(await Promise.all(errors)));
}

/** Such as `at 512 tokens` or `at s 24, m 200`. */
function extentsInWords(setting: Setting): string {
  const { extents } = setting;
  if (isAttention(settle(setting).method)) return `at ${tokensIn(extents)} tokens`;
  const words = Object.entries(extents).map(([letter, extent]) => `${letter} ${extent}`);
  return `at ${words.join(', ')}`;
}

/** The setting with smaller extents, since the reference is slow; undefined if it needs so large ones that it would never end. */
function shortened(setting: Setting): Setting | undefined {
  let smaller = setting;
  while (
    productsOf(smaller) > CHECKED &&
    Math.min(...lengthOf(smaller.extents).map((letter) => smaller.extents[letter])) > 16
  ) {
    const halves = lengthOf(smaller.extents).map((letter) => [letter, Math.ceil(smaller.extents[letter] / 2)]);
    const next = { ...smaller, extents: { ...smaller.extents, ...Object.fromEntries(halves) } };
    try {
      productsOf(next);
      smaller = next;
    } catch {
      break;
    }
  }
  return productsOf(smaller) > MOST_CHECKED ? undefined : smaller;
}

/** Products that the reference of a setting takes: an attention's goes over all pairs. Throws if it does not fit. */
function productsOf(setting: Setting): number {
  const { method, params, letters } = settle(setting);
  const { flops } = method.cost(letters, params);
  const { h, d } = setting.extents;
  return isAttention(method) ? tokensIn(setting.extents) ** 2 * h * d : flops / 2;
}

/** [b, ...space, h, c] as [b, n, h, c]. */
function flattened(x: Tensor | undefined): Tensor | undefined {
  if (!x || x.shape.length === 4) return x;
  const [b, ...rest] = x.shape;
  const [h, c] = rest.slice(-2);
  return x.reshape([b, rest.slice(0, -2).reduce((size, extent) => size * extent, 1), h, c]);
}
