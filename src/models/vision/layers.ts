/** Layers of networks on pictures, channels last, under the names of PyTorch's checkpoints. */
import { apply } from '../../expressions/expression';
import { type Activation, activate, activationEpilogue } from '../../nn/activation';
import { linear } from '../../nn/linear';
import { type Described, type Module, type ModuleControl, prefixed } from '../../nn/module';
import { norm } from '../../nn/norm';
import { foldBatchNorm } from '../../ops/batch-norm';
import { type ConvOptions, conv } from '../../ops/conv';
import { contiguous, pad } from '../../ops/copy';
import { add, multiply } from '../../ops/map';
import { mapOne } from '../../ops/map/core';
import { ElementwiseFunction, element } from '../../ops/map/function';
import { mean } from '../../ops/reduce';
import { sizeOf } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';

/** The parameters of a layer by their names in it; undefined for those that folding took away. */
export type Find = (name: string) => Tensor | undefined;

/** A function of x [b, rows, columns, c] and of parameters, which it describes and does not hold. */
export interface Layer<Out = Tensor<'f32'>> {
  readonly parameters: Described;
  forward(x: Tensor, find: Find, control: ModuleControl): Out;
  /** The parameters for inference, with batch norms folded into convolutions; default: all as they are. */
  fold?(find: Find): Record<string, Tensor>;
}

type Layers = Readonly<Record<string, Layer>>;
type Calls<L> = { readonly [Name in keyof L]: (x: Tensor) => Tensor<'f32'> };
type Own<O> = { readonly [Name in keyof O]: Tensor };

/** The parameters of a part by their names in it. */
export const within =
  (find: Find, part: string): Find =>
  (name) =>
    find(`${part}.${name}`);

/** Whether a part has its parameters among those of the layer, and a name only to be called by. */
const isLocal = (part: string) => part.startsWith('$');
const findIn = (find: Find, part: string) => (isLocal(part) ? find : within(find, part));
const namedBy = <T>(parameters: Readonly<Record<string, T>>, part: string) =>
  isLocal(part) ? parameters : prefixed(parameters, part);

/** Those of these names that there are. */
const found = (names: Described, find: Find): Record<string, Tensor> =>
  Object.fromEntries(
    Object.keys(names).flatMap((name) => {
      const tensor = find(name);
      return tensor ? [[name, tensor] as const] : [];
    }),
  );

/** A layer of parts, whose parameters begin with their names unless these begin with `$`, and of parameters of its own. */
export function layerOf<const L extends Layers, const O extends Described, Out = Tensor<'f32'>>(
  parts: L,
  own: O,
  forward: (x: Tensor, parts: Calls<L>, own: Own<O>, control: ModuleControl) => Out,
): Layer<Out> {
  const entries = Object.entries<Layer>(parts);
  return {
    parameters: Object.assign({ ...own }, ...entries.map(([name, { parameters }]) => namedBy(parameters, name))),
    forward(x, find, control) {
      const calls = entries.map(([name, part]) => [name, (x: Tensor) => part.forward(x, findIn(find, name), control)]);
      return x.runtime.scope(() =>
        forward(x, Object.fromEntries(calls) as Calls<L>, found(own, find) as Own<O>, control),
      );
    },
    fold: (find) =>
      Object.assign(
        found(own, find),
        ...entries.map(([name, part]) => namedBy(folded(part, findIn(find, name)), name)),
      ),
  };
}

/** The parameters for inference of a layer. */
export const folded = (layer: Pick<Layer, 'parameters' | 'fold'>, find: Find): Record<string, Tensor> =>
  layer.fold?.(find) ?? found(layer.parameters, find);

/** Layers one after the other, under their indices or names; JavaScript puts names that are integers in front. */
export const sequence = (parts: Layers | readonly Layer[]): Layer =>
  layerOf(
    { ...parts } as Layers,
    {},
    (x, calls) =>
      Object.values<(x: Tensor) => Tensor<'f32'>>(calls).reduce<Tensor>((h, call) => call(h), x) as Tensor<'f32'>,
  );

/** A module of `saccade/nn` as a layer. */
const ofModule = ({ parameters, forward }: Module): Layer => ({
  parameters,
  forward: (x, find, { signal, training }) => forward(x, found(parameters, find), { signal, training }),
});

export const batchNorm = (width: number, epsilon?: number): Layer => ofModule(norm({ kind: 'batch', width, epsilon }));
export const layerNorm = (width: number, epsilon = 1e-6): Layer => ofModule(norm({ kind: 'layer', width, epsilon }));

interface ConvSettings extends Pick<ConvOptions, 'stride' | 'padding' | 'dilation'> {
  readonly kernel: number | readonly [rows: number, columns: number];
  /** Groups of channels; default 1, `depthwise` has one a channel. */
  readonly groups?: number | undefined;
  /** Default true. */
  readonly bias?: boolean | undefined;
  /** Applied to the results; default none. */
  readonly activation?: Activation | undefined;
  /** Standard deviation of initial weights; default sqrt(2 / fan out). */
  readonly std?: number | undefined;
}

/** A convolution with `weight` [o, c / groups, rows, columns] and `bias`; padding is `same` unless given. */
export function convolution(c: number, o: number, settings: ConvSettings): Layer {
  const { kernel, groups = 1, bias = true, activation = 'none', padding = 'same', stride, dilation } = settings;
  const taps = typeof kernel === 'number' ? [kernel, kernel] : kernel;
  const { std = Math.sqrt((2 * groups) / (o * sizeOf(taps))) } = settings;
  const options = { stride, padding, dilation, groups, epilogue: activationEpilogue(activation) };
  return {
    parameters: {
      weight: { shape: [o, c / groups, ...taps], initial: { std } },
      ...(bias && { bias: { shape: [o], initial: { value: 0 } } }),
    },
    forward: (x, find, { signal }) => conv(x, find('weight') as Tensor, { ...options, bias: find('bias'), signal }),
  };
}

/** A convolution of each channel. */
export const depthwise = (c: number, settings: ConvSettings): Layer => convolution(c, c, { ...settings, groups: c });

/** A product at each place, with `weight` [o, c, 1, 1] and `bias`. */
export const pointwise = (c: number, o: number, settings: Omit<ConvSettings, 'kernel'> = {}): Layer =>
  convolution(c, o, { ...settings, kernel: 1 });

/** A product at each place, with `weight` [o, c] and `bias`. */
export function dense(c: number, o: number, { std = 0.02, ...settings }: Omit<ConvSettings, 'kernel'> = {}): Layer {
  const { parameters, forward } = pointwise(c, o, { ...settings, std });
  return {
    parameters: { ...parameters, weight: { shape: [o, c], initial: { std } } },
    forward: (x, find, control) =>
      forward(x, (name) => (name === 'weight' ? find(name)?.reshape([o, c, 1, 1]) : find(name)), control),
  };
}

/**
 * A layer that inference computes as another one. `merge` makes the parameters of that from those that are trained, of which
 * `mark` is one that it has not: in `fold`, or at each call where they are not yet folded.
 */
export function mergeable(
  trained: Layer,
  merged: Layer,
  mark: string,
  merge: (find: Find) => Readonly<Record<string, Tensor>>,
): Layer {
  const fold = (find: Find) => (find(mark) ? merge(find) : found(merged.parameters, find));
  return {
    parameters: trained.parameters,
    fold,
    forward: (x, find, control) =>
      x.runtime.scope(() => {
        if (control.training) return trained.forward(x, find, control);
        const parameters = fold(find);
        return merged.forward(x, (name) => parameters[name], control);
      }),
  };
}

/** What batch norm makes of the results of a convolution, as weight and bias of one; `find` is that of the norm's names. */
export function foldedNorm(weight: Tensor, convBias: Tensor | undefined, find: Find) {
  const [gain, bias, mean, variance] = ['weight', 'bias', 'running_mean', 'running_var'].map(find) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  return foldBatchNorm(weight, gain, bias, { statistics: { mean, variance }, convBias });
}

/** What a batch norm is by its statistics, factor x + shift: `find` is that of its names. */
export function affineNorm(find: Find) {
  const [gain, bias] = ['weight', 'bias'].map(find) as [Tensor, Tensor];
  const folded = foldedNorm(gain.runtime.full(gain.shape, 1), undefined, find);
  return { factor: folded.weight.reshape(gain.shape), shift: folded.bias.reshape(bias.shape) };
}

/** The weight and bias of a convolution of one tap that gives what it makes of factor x + shift. */
export function normedInput(find: Find, { factor, shift }: ReturnType<typeof affineNorm>) {
  const [weight, bias] = [find('weight') as Tensor, find('bias') as Tensor];
  const [o, c] = weight.shape as [number, number];
  const matrix = weight.reshape([o, c]);
  return {
    weight: multiply(weight, factor.reshape([c, 1, 1])),
    bias: add(bias, linear(shift.reshape([1, c]), matrix).reshape([o])),
  };
}

/** The weight and bias of a convolution whose results are each multiplied by the scale of its channel. */
export function scaledConvolution(find: Find, scale: Tensor) {
  const [weight, bias] = [find('weight') as Tensor, find('bias') as Tensor];
  return { weight: multiply(weight, scale.reshape([-1, 1, 1, 1])), bias: multiply(bias, scale) };
}

/** The names of a convolution and of the batch norm that follows it. */
type NormedNames = readonly [conv: string, norm: string];

/** A convolution and the batch norm of its results, which inference computes as one convolution. */
export function normedConvolution([name, normName]: NormedNames, c: number, o: number, settings: ConvSettings): Layer {
  const { activation = 'none', ...plain } = settings;
  const parts = { [name]: convolution(c, o, plain), [normName]: batchNorm(o) };
  return mergeable(
    sequence({ ...parts, $activation: activated(activation) }),
    sequence({ [name]: convolution(c, o, { ...settings, bias: true }) }),
    `${normName}.running_mean`,
    (find) => {
      const own = within(find, name);
      return prefixed({ ...foldedNorm(own('weight') as Tensor, own('bias'), within(find, normName)) }, name);
    },
  );
}

/** An activation, without parameters. */
export const activated = (activation: Activation): Layer => ({
  parameters: {},
  forward: (x, _, control) => (activation === 'none' ? (x as Tensor<'f32'>) : activate(activation, x, control)),
});

/** The mean over places, [b, 1, 1, c]. */
export const pooling: Layer = {
  parameters: {},
  forward: (x) => mean(x, { axes: [1, 2] }).reshape([x.shape[0] as number, 1, 1, x.shape[3] as number]),
};

const added = new ElementwiseFunction('x + scale y', 3, [
  apply('add', element(0), apply('multiply', element(1), element(2))),
]);

/** x + scale y, with a scale for each channel. */
export const addScaled = (x: Tensor, scale: Tensor, y: Tensor): Tensor<'f32'> => mapOne(added, { x, scale, y });

/** Zeros at the end of both axes of x [b, rows, columns, c], up to these extents. */
export function paddedTo(x: Tensor, rows: number, columns: number): Tensor<'f32'> {
  const [, had, wide] = x.shape as [number, number, number];
  if (rows === had && columns === wide) return x as Tensor<'f32'>;
  return pad(x as Tensor<'f32'>, [
    [0, 0],
    [0, rows - had],
    [0, columns - wide],
    [0, 0],
  ]);
}

/** The least multiple of `step` that is no less. */
export const upTo = (extent: number, step: number): number => Math.ceil(extent / step) * step;

/** Without the zeros at the end of both axes. */
export const cropped = (x: Tensor, rows: number, columns: number): Tensor<'f32'> =>
  contiguous((x as Tensor<'f32'>).slice(1, 0, rows).slice(2, 0, columns));

type Projections = readonly [q: Tensor, k: Tensor, v: Tensor];

/** Who is told of projections. */
let onProjected: ((projections: Projections) => void) | undefined;

/** Runs `work` and tells `on` the queries, keys and values of each layer of attention in it, in their order. */
export function watchProjections<T>(on: (projections: Projections) => void, work: () => T): T {
  const before = onProjected;
  onProjected = on;
  try {
    return work();
  } finally {
    onProjected = before;
  }
}

/** Queries, keys and values of x [b, rows, columns, c] by heads, [b, rows, columns, h, d]: weight [3 c, c], bias [3 c]. */
export function projected(x: Tensor, heads: number, weight: Tensor, bias?: Tensor): Projections {
  const c = x.shape[3] as number;
  const matrix = weight.reshape([3 * c, c]);
  const projections = [0, 1, 2].map((part) => {
    const own = <T extends Tensor>(all: T) => all.slice(0, part * c, (part + 1) * c);
    const out = linear(x, own(matrix), { bias: bias && own(bias) });
    return out.reshape([...x.shape.slice(0, 3), heads, c / heads]);
  }) as unknown as Projections;
  onProjected?.(projections);
  return projections;
}

/** [b, rows, columns, h, d] as tokens [b, n, h, d]. */
export const tokensOf = (x: Tensor): Tensor => {
  const [b, rows, columns, h, d] = x.shape as [number, number, number, number, number];
  return x.reshape([b, rows * columns, h, d]);
};

/** A feed-forward network at each place, with layers of these names. */
export const feedForward = (c: number, hidden: number, [first, second]: readonly [string, string]): Layer =>
  sequence({ [first]: dense(c, hidden, { activation: 'gelu' }), [second]: dense(hidden, c) });
