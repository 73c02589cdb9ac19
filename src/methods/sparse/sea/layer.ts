/**
 * SEA's layer, as the authors' code has it: Performer with values that tell positions apart, a perceptron on what it found, and
 * convolutions over time and cells, which mix heads, estimate where each query would look. Names of parameters are reconstructed.
 */
import { ParameterError } from '../../../errors';
import { conv } from '../../../ops/conv';
import { concat, contiguous } from '../../../ops/copy';
import { gelu, sigmoid } from '../../../ops/map';
import type { Elementwise } from '../../../ops/map/function';
import { elementwise } from '../../../ops/map/map';
import { matmul } from '../../../ops/matmul';
import { layerNorm } from '../../../ops/norm';
import { resize } from '../../../ops/resize';
import { softmax } from '../../../ops/softmax';
import type { Control } from '../../../runtime/backend';
import type { Tensor } from '../../../tensor/tensor';
import type { Layer, LayerConfig, LayerParameter } from '../../define';
import { type PerformerState, performer, performerBehind } from '../../linear/performer';
import { seaPositions } from '../../linear/performer/sea';

interface Estimating {
  readonly causal: boolean;
  /** How many a map has. */
  readonly cells: number;
  /** Tokens that the causal estimator can tell apart by their places. */
  readonly positions: number;
}

type Parameters = Readonly<Record<string, Tensor>>;

/** Cells that a number of the narrow map stands for: the convolutions see 1 / 4 or, not causal, half of the width. */
const NARROWER = { causal: 4, full: 2 } as const;

export function layer(config: LayerConfig, params: Estimating): Layer {
  const { heads: h, d, e } = config;
  const { causal, cells, positions } = params;
  const factor = causal ? NARROWER.causal : NARROWER.full;
  if (cells % factor !== 0) throw new ParameterError(`cells must be a multiple of ${factor}, got ${cells}`);
  const width = cells / factor;
  const channels = causal ? 2 : 4;
  const kernels = (out: number, taps: number): LayerParameter => ({
    shape: [out, channels * h, taps, taps],
    initial: { std: 1 / Math.sqrt(channels * h * taps * taps) },
  });
  const all = {
    ...linearOf('estimator.encoder', 2 * d, d + 2 * e),
    ...normOf('estimator.encoder_norm', 2 * d),
    ...linearOf('estimator.decoder', channels * width, 2 * d),
    ...(causal && {
      'estimator.positions': { shape: [positions, d], initial: { std: 1 } },
      ...normOf('estimator.decoder_norm', width),
    }),
    'estimator.conv0.weight': kernels(channels * h, 3),
    'estimator.conv0.bias': zeros(channels * h),
    'estimator.conv1.weight': kernels(channels * h, 3),
    'estimator.conv1.bias': zeros(channels * h),
    'estimator.conv2.weight': kernels(h, causal ? 1 : 3),
    'estimator.conv2.bias': zeros(h),
    ...(causal && normOf('estimator.map_norm', cells)),
    ...linearOf('estimator.gates', 2, 2 * d),
  };
  return {
    parameters: all,
    isSequential: true,
    inputs: (_, given, parameters, control = {}) => estimated(given, parameters, params, control),
    flops: (n) => estimating(n, config, params),
  };
}

/** Operations of the estimator on n tokens: Performer, products with matrices, and convolutions. */
function estimating(n: number, { heads: h, keyHeads: g, d, e }: LayerConfig, { causal, cells }: Estimating): number {
  const [channels, width] = causal ? [2, cells / NARROWER.causal] : [4, cells / NARROWER.full];
  const { flops } = performer.cost({ b: 1, n, m: n, h, g, d, e: d + e }, performing(d, causal));
  const dense = 2 * (d + 2 * e) * 2 * d + 2 * 2 * d * (channels * width + 2) + (causal ? 2 * (width + 2) * cells : 0);
  // The taps of the three: without a causal order the first two have half as many rows, and the last has all nine.
  const taps = channels * h * (causal ? 2 * 9 * channels * h + h : 9 * channels * h + 9 * h);
  return flops + n * (h * dense + 2 * width * taps);
}

const zeros = (extent: number): LayerParameter => ({ shape: [extent], initial: { value: 0 } });
const linearOf = (name: string, out: number, into: number): Record<string, LayerParameter> => ({
  [`${name}.weight`]: { shape: [out, into], initial: { std: 1 / Math.sqrt(into) } },
  [`${name}.bias`]: zeros(out),
});
const normOf = (name: string, extent: number): Record<string, LayerParameter> => ({
  [`${name}.weight`]: { shape: [extent], initial: { value: 1 } },
  [`${name}.bias`]: zeros(extent),
});

/** Tokens whose maps are estimated at a time, if causal: all together they are many times the inputs. */
const CHUNK = 1024;
/** Tokens before others that the convolutions see for these. */
const SEEN_BEFORE = 8;

/** What the causal estimator needs of tokens to go on behind them: of the last of them what Performer found, and their values. */
export type Reached = Readonly<Record<'state' | 'keySum' | 'found' | 'values', Tensor>>;

/** Tokens; in a decoder also the keys of all that it has seen, these among them, and what those before these left. */
type Given = Readonly<Record<'q' | 'k' | 'v', Tensor>> & Partial<Reached & Readonly<Record<'seen', Tensor>>>;

/**
 * estimate [b, h, n, cells], prob and mix [b, n, h], of q [b, n, h, d], k [b, n, g, d] and v [b, n, g, e]; in a decoder also what is
 * needed to go on behind these tokens.
 */
function estimated(given: Given, parameters: Parameters, params: Estimating, { signal }: Control) {
  const { q, k, v } = given;
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const g = v.shape[2] as number;
  const of = (name: string) => parameters[`estimator.${name}`] as Tensor;
  const { runtime } = q;
  return runtime.scope(() => {
    const first = ((given.seen ?? k).shape[1] as number) - n;
    const { out, ...left } = runtime.scope(() => {
      const places = placesOf({ b, n, g, d, first }, of('positions'), params, q);
      return performed(q, k, v, places, given, params, { signal });
    });
    const all = (before: Tensor | undefined, own: Tensor) =>
      before ? concat([before, own] as Tensor<'f32'>[], 1) : own;
    const [found, values] = [all(given.found, out), all(given.values, v)];
    const rows = found.shape[1] as number;
    const slice = (x: Tensor, from: number, to: number) =>
      from === 0 && to === rows ? x : contiguous(x.slice(1, from, to) as Tensor<'f32'>);
    const chunk = params.causal ? CHUNK : n;
    const parts: ReturnType<typeof estimatedRows>[] = [];
    for (let at = rows - n; at < rows; at += chunk) {
      const from = Math.max(0, at - SEEN_BEFORE);
      const to = Math.min(rows, at + chunk);
      parts.push(
        runtime.scope(() =>
          estimatedRows(slice(found, from, to), slice(values, from, to), at - from, of, params, h, signal),
        ),
      );
    }
    const joined = (name: 'estimate' | 'prob' | 'mix', axis: number) => {
      const all = parts.map((part) => part[name] as Tensor<'f32'>);
      return all.length === 1 ? (all[0] as Tensor) : concat(all, axis);
    };
    const maps = { estimate: joined('estimate', 2), prob: joined('prob', 1), mix: joined('mix', 1) };
    const last = (x: Tensor) => contiguous(x.slice(1, Math.max(0, rows - SEEN_BEFORE), rows) as Tensor<'f32'>);
    if (!given.seen) return maps;
    const reached = { ...left, found: last(found), values: last(values) } as Reached;
    return { ...maps, ...reached };
  });
}

/** The same for some tokens, without the first `skipped` of them: found is what Performer found, [b, n, h, d + e]. */
function estimatedRows(
  found: Tensor,
  v: Tensor,
  skipped: number,
  of: (name: string) => Tensor,
  params: Estimating,
  h: number,
  signal: AbortSignal | undefined,
) {
  const [b, n, g, e] = v.shape as [number, number, number, number];
  const { runtime } = v;
  const linear = (x: Tensor, name: string) =>
    matmul(x, of(`${name}.weight`), { transposeB: true, bias: of(`${name}.bias`), signal });
  const norm = (x: Tensor, name: string) =>
    layerNorm(x, { gain: of(`${name}.weight`), bias: of(`${name}.bias`), signal });
  // Each stage frees what it needed.
  const z = runtime.scope(() => {
    const values = contiguous(v.reshape([b, n, g, 1, e]).expand([b, n, g, h / g, e])).reshape([b, n, h, e]);
    return gelu(norm(linear(concat([found, values] as Tensor<'f32'>[], 3), 'encoder'), 'encoder_norm'), { signal });
  });
  const channels = params.causal ? 2 : 4;
  const maps = runtime.scope(() => {
    const narrow = linear(z, 'decoder').reshape([b, n, h, channels, -1]);
    const ready = params.causal ? norm(narrow, 'decoder_norm') : narrow;
    return contiguous(ready.permute([0, 2, 3, 1, 4])).reshape([b, h * channels, n, -1]);
  });
  const estimate = runtime.scope(() => {
    if (!params.causal) return softmax(fullMaps(maps, of, [n, params.cells], signal), { signal });
    const own = contiguous(causalMaps(maps, of, params.cells, signal).slice(2, skipped, n) as Tensor<'f32'>);
    return softmax(norm(own, 'map_norm'), { signal });
  });
  const gates = sigmoid(linear(contiguous(z.slice(1, skipped, n) as Tensor<'f32'>), 'gates'), { signal });
  const gate = (at: number) => contiguous(gates.slice(3, at, at + 1)).reshape([b, n - skipped, h]);
  return { estimate, prob: gate(0), mix: gate(1) };
}

/** What tells positions apart, [b, n, g, d]: rows of the identity stretched over all tokens, or learned ones from `first` on. */
function placesOf(
  { b, n, g, d, first }: Readonly<Record<'b' | 'n' | 'g' | 'd' | 'first', number>>,
  learned: Tensor | undefined,
  { positions }: Estimating,
  { runtime }: Tensor,
): Tensor {
  if (!learned) return runtime.fromHost(seaPositions({ b, m: n, g, width: d }));
  if (first + n > positions)
    throw new ParameterError(
      `sea: a sequence of ${first + n} tokens needs as many positions, got params with ${positions}`,
    );
  return contiguous(
    learned
      .slice(0, first, first + n)
      .reshape([1, n, 1, d])
      .expand([b, n, g, d]),
  );
}

/** Performer of the values and their places: [b, n, h, d + e]; if causal, from and with what tokens leave to later ones. */
function performed(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  places: Tensor,
  before: PerformerState,
  { causal }: Estimating,
  control: Control,
): { readonly out: Tensor } & PerformerState {
  const d = q.shape[3] as number;
  const settings = performing(d, causal);
  const inputs = { q, k, v: concat([places, v] as Tensor<'f32'>[], 3) };
  return causal ? performerBehind(inputs, settings, before, control) : performer.forward(inputs, settings, control);
}

function performing(d: number, causal: boolean) {
  const features = Math.max(1, Math.floor((d * Math.log(d)) / (causal ? 8 : 1)));
  return performer.parse({ kernel: causal ? 'relu' : 'softmax', features, causal });
}

const positive = (): Elementwise => elementwise((x, { relu }) => relu(x));

/** Maps [b, 2 h, n, cells / 4] -> [b, h, n, cells]: results see the rows two and four before theirs, and none after. */
function causalMaps(
  maps: Tensor,
  of: (name: string) => Tensor,
  cells: number,
  signal: AbortSignal | undefined,
): Tensor {
  const step = (x: Tensor, at: number) =>
    conv(x, of(`conv${at}.weight`), {
      bias: of(`conv${at}.bias`),
      dilation: 2,
      padding: ['causal', 2],
      channelsFirst: true,
      epilogue: positive(),
      signal,
    });
  const last = conv(step(step(maps, 0), 1), of('conv2.weight'), {
    bias: of('conv2.bias'),
    padding: [0, 1],
    channelsFirst: true,
    signal,
  });
  return matmul(last, maps.runtime.tensor(widening(cells), [cells / 4 + 2, cells]), { signal });
}

/**
 * From cells / 4 numbers and one on either side to cells: each of the inner ones is repeated four times, and the cells + 2 numbers are
 * averaged over windows that cover them evenly.
 */
function widening(cells: number): Float32Array {
  const matrix = new Float32Array((cells / 4 + 2) * cells);
  for (let cell = 0; cell < cells; cell++) {
    const first = Math.floor((cell * (cells + 2)) / cells);
    const past = Math.ceil(((cell + 1) * (cells + 2)) / cells);
    for (let at = first; at < past; at++) {
      const from = at === 0 ? 0 : at === cells + 1 ? cells / 4 + 1 : 1 + Math.floor((at - 1) / 4);
      matrix[from * cells + cell]! += 1 / (past - first);
    }
  }
  return matrix;
}

/** Maps [b, 4 h, n, cells / 2] -> [b, h, n, cells], by way of half as many rows. */
function fullMaps(
  maps: Tensor,
  of: (name: string) => Tensor,
  size: readonly [number, number],
  signal: AbortSignal | undefined,
): Tensor {
  const step = (x: Tensor, at: number, stride: readonly [number, number], epilogue?: Elementwise) =>
    conv(x, of(`conv${at}.weight`), {
      bias: of(`conv${at}.bias`),
      stride,
      padding: 1,
      channelsFirst: true,
      signal,
      ...(epilogue && { epilogue }),
    });
  const half = step(step(maps, 0, [2, 1], positive()), 1, [1, 1], positive());
  const [rows, columns] = half.shape.slice(2) as [number, number];
  const whole = resize(half, { size: [2 * rows, columns], mode: 'nearest', channelsFirst: true, signal });
  return resize(step(whole, 2, [1, 1]), { size, channelsFirst: true, signal });
}
