/** Measures attention methods against exact attention, on the caller's own q, k and v. */
import { checkFunction, checkKnown, show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import { checkAttention, type HostQkv, spreadOver } from '../measure/gate';
import { type Summary, summarise } from '../measure/statistics';
import { timeCalls, timeInterleaved } from '../measure/timing';
import { checkMethod, type Method } from '../methods/define';
import { exactAttention } from '../methods/dense/attention';
import { disposeResults } from '../methods/outputs';
import { methods as allMethods } from '../methods/registry';
import { checkControl, checkOptions, checkTensors, commonRuntime } from '../ops/check';
import type { Control } from '../runtime/backend';
import { reporting } from '../runtime/guard';
import type { Runtime } from '../runtime/runtime';
import { type HostTensor, hostTensor, pickRows, toFloat64 } from '../tensor/host';
import { bindShapes, formatShape, gridOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { reasonOf } from '../text/reason';
import type { Comparison, FailedRow, MeasuredRow, Row } from './comparison';
import {
  type Calibrated,
  type Contender,
  checkComparable,
  contendersAt,
  inputsOf,
  isComparable,
  isSpatial,
  type Qkv,
  type Results,
} from './contenders';
import { entropyOf, softmaxWeights } from './entropy';
import { checkFirstTokens } from './exactness';
import { glances } from './glances';
import { attentionMaps } from './maps';
import type { Attend, NextTokenLosses } from './next-token';
import { pictureMethods } from './picture-methods';
import { massKept, outputError } from './quality';
import { reachOf } from './reach';
import { recommend } from './recommend';

export interface CompareOptions extends Control {
  /**
   * Methods to compare, with all their variants. They must have inputs q, k, v (others are left out) and outputs out, lse, or
   * `needsTraining` or `calibration` and an output out. 'all': all of the registry that take q, k and v of these extents. Default:
   * at most 26 variants of these, in turns, so that as many methods as possible are included.
   */
  readonly methods?: readonly Method[] | 'all' | undefined;
  /** Largest output error (relative L2) that a recommended variant may have. Default 0.1. */
  readonly maxError?: number | undefined;
  /** Seconds to spend on timing again what takes less than 0.2 s, and both baselines, at least once each. Default 1. */
  readonly seconds?: number | undefined;
  /**
   * Gets each row, in order, as soon as its variant was called once: its time is that of this call. The comparison waits for
   * the promise it returns.
   */
  readonly onRow?: ((row: Row) => void) | undefined;
  /** Measures the losses of the language model that q, k and v are of, for exact causal attention and its variants. */
  readonly losses?: NextTokenLosses | undefined;
  /** What was calibrated for this model: a variant more of each of these methods. */
  readonly calibrated?: Calibrated | undefined;
}

const OPTION_NAMES = ['methods', 'maxError', 'seconds', 'onRow', 'losses', 'calibrated', 'signal', 'onProgress'];
/** Milliseconds from which a variant is not timed again. */
const SLOW = 200;
/** The number of queries over which the entropy is averaged. */
const QUERIES = 12;

/**
 * Measures the variants of `methods` on q [b,n,h,d], k [b,m,g,d], v [b,m,g,e] beside exact full and exact causal
 * attention. With spatial axes, q [b,...space,h,d], k [b,...space,g,d], v [b,...space,g,e], the baseline is exact full
 * attention over the tokens of the grid, and causal variants are left out. A variant that fails costs its own row, which
 * says why, whatever failed: its call, its memory, its result. No mask is timed before its result agrees
 * with the float64 reference; n x m numbers are never held. Methods that need training are checked too, on the first
 * tokens, have an entropy instead of an error, and get sequences in f32.
 *
 * @throws {ShapeError} q, k and v that do not fit together
 * @throws {ParameterError} a value that is not finite, an unknown or wrong option, a method that cannot be compared
 */
export async function compare(inputs: Qkv, options: CompareOptions = {}): Promise<Comparison> {
  checkKnown('inputs', inputs, ['q', 'k', 'v'], (name) => `compare has no input '${name}'`);
  const { q, k, v } = inputs;
  checkTensors({ q, k, v });
  const runtime = commonRuntime({ q, k, v });
  checkOptions('compare', options, OPTION_NAMES);
  checkControl(options);
  return reporting(runtime, options, (own) => compareOn(runtime, { q, k, v }, own));
}

async function compareOn(runtime: Runtime, { q, k, v }: Qkv, options: CompareOptions): Promise<Comparison> {
  const isGrid = q.rank > 4;
  const { maxError = 0.1, seconds = 1, onRow, losses } = options;
  if (onRow !== undefined) checkFunction('onRow', onRow);
  if (losses !== undefined) checkFunction('losses', losses);
  if (!(typeof maxError === 'number' && maxError > 0))
    throw new ParameterError(`maxError must be a number above 0, got ${show(maxError)}`);
  if (!(typeof seconds === 'number' && seconds >= 0))
    throw new ParameterError(`seconds must be a number of at least 0, got ${show(seconds)}`);
  const specs = isGrid
    ? { q: 'b ...space h d', k: 'b ...space g d', v: 'b ...space g e' }
    : { q: 'b n h d', k: 'b m g d', v: 'b m g e' };
  const letters = bindShapes(specs, { q: q.shape, k: k.shape, v: v.shape });
  const { b, n, m, h, g, d, e } = letters as Comparison['extents'];
  const extents = { b, n, m, h, g, d, e };
  const grid = gridOf(letters);
  const isUsable = (method: Method) => isComparable(method) && (isGrid || !isSpatial(method)) && fits(method, extents);
  const { methods: given } = options;
  if (given !== undefined && given !== 'all' && !Array.isArray(given))
    throw new ParameterError(`methods must be a list of methods or 'all', got ${show(given)}`);
  const known = grid.length === 2 && b === 1 && g === h ? [...allMethods, ...pictureMethods] : allMethods;
  const methods = Array.isArray(given) ? (given as readonly Method[]) : known.filter(isUsable);
  for (const [at, method] of methods.entries()) {
    checkMethod(`methods[${at}]`, method);
    checkComparable(method);
    if (isGrid || !isSpatial(method)) continue;
    throw new ParameterError(
      `${method.name} cannot be compared here: it takes q with spatial axes, got ${formatShape(q.shape)}`,
    );
  }

  using flatQ = q.reshape([b, n, h, d]);
  using flatK = k.reshape([b, m, g, d]);
  using flatV = v.reshape([b, m, g, e]);
  const flat = { q: flatQ, k: flatK, v: flatV };
  const host = await readFinite(flat);
  const { contenders, leftOut } = contendersAt(letters, methods, given ? 'all' : 'usual', options.calibrated);
  for (const method of Array.isArray(given) ? methods : []) {
    if (method === exactAttention || contenders.some((each) => each.method === method)) continue;
    throw new ParameterError(
      `${method.name} cannot be compared here: on a grid no token is later than another, and it has no variants that are not causal`,
    );
  }
  using plain = plainOf(runtime, host);
  const viewsOf = ({ spatial, method }: Contender): Qkv =>
    spatial ? { q, k, v } : method.needsTraining ? plain.inputs() : flat;
  const control = forwards(options);
  /** The failed row of a contender; errors that end the comparison are thrown. */
  const failureOf = async (error: unknown): Promise<Failure> => {
    control.signal?.throwIfAborted();
    // Otherwise the next call would report other faults of this one.
    await runtime.finish().catch(() => {});
    return { failed: reasonOf(error) };
  };
  const outcomes: Outcome[] = [];
  const baselines: Baselines = new Map();
  for (const [at, contender] of contenders.entries()) {
    const own = part(control, (0.5 * at) / contenders.length, (0.5 * (at + 1)) / contenders.length);
    const measured = measureOnce(contender, viewsOf(contender), { host, baselines }, own);
    const reaching =
      grid.length === 2
        ? measured.then((each) => withReach(each, contender, viewsOf(contender), grid, control))
        : measured;
    const found = losses ? reaching.then((each) => withLoss(each, contender, losses, control)) : reaching;
    outcomes.push(await found.catch(failureOf));
    control.signal?.throwIfAborted();
    await onRow?.(rowsOf(contenders, outcomes, outcomes.map(firstTime)).at(-1) as Row);
  }
  // What takes long is told well enough by its first call; everything is compared with the baselines.
  const isAgain = ({ baseline }: Contender, outcome: Outcome) =>
    !('failed' in outcome) && (baseline || outcome.estimate < SLOW);
  const running = [...contenders.keys()].filter((at) => isAgain(contenders[at] as Contender, outcomes[at] as Outcome));
  const samples = await timeInterleaved(
    runtime,
    running.map((at) => () => {
      const contender = contenders[at] as Contender;
      disposeResults(contender.forward({ ...viewsOf(contender) }, { signal: control.signal }));
    }),
    running.map((at) => (outcomes[at] as Measured).estimate),
    {
      seconds,
      least: 1,
      most: 15,
      onFailure: async (at, error) => {
        outcomes[running[at] as number] = await failureOf(error);
      },
    },
    part(control, 0.5, 0.9),
  );
  control.signal?.throwIfAborted();
  const times = outcomes.map((outcome, at) => {
    const again = samples[running.indexOf(at)];
    return again?.length ? summarise(again) : firstTime(outcome);
  });
  const rows = rowsOf(contenders, outcomes, times);
  const maps = await attentionMaps(flatQ, flatK, part(control, 0.9, 1));
  control.signal?.throwIfAborted();
  return {
    extents,
    ...(isGrid && { grid }),
    dtype: q.dtype,
    runtime: runtime.backend.explain(),
    rows,
    ...(given === undefined && { leftOut }),
    maps,
    ...(grid.length === 2 && { glances: glances(host.q, host.k, grid as [number, number]) }),
    recommendation: recommend(
      rows.filter(({ method }) => !pictureMethods.some(({ name }) => name === method)),
      maxError,
      [exactAttention, ...methods],
    ),
  };
}

/** The rows of the first contenders, those with an outcome; a baseline comes before its variants. */
function rowsOf(
  contenders: readonly Contender[],
  outcomes: readonly Outcome[],
  times: readonly (Summary | undefined)[],
): Row[] {
  return outcomes.map((outcome, at): Row => {
    const { method, params, label, causal, baseline, flops, visited } = contenders[at] as Contender;
    const variant = { method: method.name, params, label, causal, baseline };
    if ('failed' in outcome) return { ...variant, ...outcome };
    const { estimate: _, ...quality } = outcome;
    const time = times[at] as Summary;
    const exact = times[contenders.findIndex((base) => base.baseline && base.causal === causal)];
    return {
      ...variant,
      time,
      ...(exact && { speedup: exact.median / time.median }),
      flops,
      ...(visited !== undefined && { visited }),
      ...quality,
    };
  });
}

/** The measurements of one call of a contender, except its time. */
interface Measured
  extends Pick<MeasuredRow, 'memory' | 'error' | 'mass' | 'entropy' | 'exactness' | 'loss' | 'reach' | 'warning'> {
  /** Milliseconds of this first call. */
  readonly estimate: number;
}
type Failure = Pick<FailedRow, 'failed'>;
type Outcome = Measured | Failure;

const firstTime = (outcome: Outcome) => ('failed' in outcome ? undefined : summarise([outcome.estimate]));

/** The results of exact attention: full (false) and causal (true). */
type Baselines = Map<boolean, Required<Results<HostTensor>>>;

/**
 * Runs a contender once, a baseline before its variants, and compares its results with the reference and, unless it
 * needs training, with its baseline.
 */
async function measureOnce(
  contender: Contender,
  views: Qkv,
  { host, baselines }: { readonly host: HostQkv; readonly baselines: Baselines },
  control: Control,
): Promise<Measured> {
  const { method, params, causal, baseline, mask, label } = contender;
  const { scale = 1 / Math.sqrt(host.q.shape[3] as number) } = contender;
  const n = host.q.shape[1] as number;
  const queries = spreadOver(n, QUERIES);
  const { results, ...cost } = await runOnce(contender, views, part(control, 0, 0.5));
  if (method.needsTraining) {
    using weights = method.weights?.(inputsOf(method, views), method.parse(params), queries);
    const spread = weights && inFloat64(await weights.toHost());
    const isSpread = spread?.data.every((weight) => weight >= 0);
    const exactness = await checkFirstTokens(contender, views, { signal: control.signal });
    const warning = await method.warning?.(inputsOf(method, views), method.parse(params), { signal: control.signal });
    return {
      ...cost,
      exactness,
      ...(spread && isSpread && { entropy: entropyOf(spread) }),
      ...(warning && { warning }),
    };
  }
  const { out, lse } = results as Required<Results<HostTensor>>;
  const byMask = mask && checkAttention(label, host, out, mask, scale);
  // The library's tests hold its masks against their definitions.
  const isOwn = mask && !allMethods.includes(method) && !pictureMethods.includes(method);
  const byDefinition = isOwn ? await checkFirstTokens(contender, views, { signal: control.signal }) : undefined;
  const exactness = byDefinition === undefined ? byMask : Math.max(byDefinition, byMask ?? 0);
  if (baseline) baselines.set(causal, { out: inFloat64(out), lse: inFloat64(lse) });
  const exact = baselines.get(causal);
  return {
    ...cost,
    ...(exactness !== undefined && { exactness }),
    ...(mask && exact && { mass: massKept(lse, exact.lse) }),
    ...(mask &&
      baseline && {
        entropy: entropyOf(softmaxWeights({ ...host, q: pickRows(host.q, queries) }, { mask, scale, queries, n })),
      }),
    ...(exact && { error: outputError(out, exact.out) }),
  };
}

async function withReach(
  measured: Measured,
  contender: Contender,
  views: Qkv,
  grid: readonly number[],
  control: Control,
) {
  const reach = await reachOf(contender, views, grid, control);
  return { ...measured, ...(reach !== undefined && { reach }) };
}

/** With the losses of the next token, which only causal attention has, and which mean something only without training. */
async function withLoss(
  measured: Measured,
  { method, causal, baseline, forward }: Contender,
  losses: NextTokenLosses,
  { signal }: Control,
): Promise<Measured> {
  if (!causal || method.needsTraining) return measured;
  const attend: Attend = (inputs, layer) => forward({ ...inputs }, { signal }, layer).out;
  return { ...measured, loss: await losses(baseline ? undefined : attend, { signal }) };
}

/** Whether the method takes q, k and v of these extents: some, for example, take no more keys than queries. */
function fits(method: Method, { b, n, m, h, g, d, e }: Comparison['extents']): boolean {
  try {
    const specs = Object.entries(method.inputs).map(([name, spec]) => [name, spec.replace('...space', 'n')]);
    bindShapes(Object.fromEntries(specs), inputsOf(method, { q: [b, n, h, d], k: [b, m, g, d], v: [b, m, g, e] }));
    return true;
  } catch (error) {
    if (error instanceof ShapeError) return false;
    throw error;
  }
}

async function runOnce({ forward }: Contender, inputs: Qkv, control: Control) {
  const { runtime } = inputs.q;
  const { backend } = runtime;
  control.signal?.throwIfAborted();
  backend.resetPeak();
  const before = backend.memory().live;
  let results = {} as Results<Tensor>;
  try {
    const estimate = await timeCalls(runtime, () => {
      results = forward({ ...inputs }, control);
    });
    const memory = backend.memory().peak - before;
    const [out, lse] = [await results.out.toHost(), await results.lse?.toHost()];
    const [b, h, e] = [out.shape[0], out.shape.at(-2), out.shape.at(-1)] as [number, number, number];
    const n = out.data.length / (b * h * e);
    return {
      results: { out: { ...out, shape: [b, n, h, e] }, ...(lse && { lse: { ...lse, shape: [b, n, h] } }) },
      estimate,
      memory,
    };
  } finally {
    disposeResults(results);
  }
}

/**
 * q, k and v in a form that every method can take, made on demand: contiguous and f32. Most methods that need training
 * compute features of them first, element by element.
 */
function plainOf(runtime: Runtime, host: HostQkv) {
  let made: Qkv | undefined;
  const copy = (x: HostTensor) => runtime.tensor(Float32Array.from(toFloat64(x)), x.shape);
  return {
    inputs: (): Qkv => (made ??= { q: copy(host.q), k: copy(host.k), v: copy(host.v) }),
    [Symbol.dispose]() {
      for (const tensor of Object.values(made ?? {})) tensor.dispose();
    },
  };
}

async function readFinite({ q, k, v }: Qkv): Promise<Record<keyof Qkv, HostTensor<'f64'>>> {
  const read = async (x: Tensor) => inFloat64(await x.toHost());
  const host = { q: await read(q), k: await read(k), v: await read(v) };
  for (const [name, { data }] of Object.entries(host)) {
    let at = 0;
    while (at < data.length && Number.isFinite(data[at])) at++;
    if (at < data.length) throw new ParameterError(`${name} must hold finite numbers, got ${data[at]}`);
  }
  return host;
}

function inFloat64(x: HostTensor): HostTensor<'f64'> {
  return hostTensor(toFloat64(x), x.shape, 'f64');
}

/** The same control, with progress that never decreases: some methods consist of several ops. */
function forwards({ signal, onProgress }: Control): Control {
  let furthest = 0;
  return {
    signal,
    onProgress: (share) => {
      if (share <= furthest) return;
      furthest = share;
      onProgress?.(share);
    },
  };
}

/** The control of a part of the work, whose progress runs from `from` to `to` of the whole. */
function part({ signal, onProgress }: Control, from: number, to: number): Control {
  return { signal, onProgress: (share) => onProgress?.(from + (to - from) * share) };
}
