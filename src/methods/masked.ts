/** Methods that are softmax attention under a mask: what they have in common follows from the mask. */
import type * as valibot from 'valibot';
import { DTypeError } from '../errors';
import { area } from '../masks/area';
import { causal } from '../masks/band';
import { and } from '../masks/combine';
import { lastQueries } from '../masks/last-queries';
import type { Mask } from '../masks/mask';
import { attention } from '../ops/attention';
import {
  type Modifier,
  type RawScore,
  type Sees,
  softmaxAttention,
  softmaxAttentionBackward,
} from '../ops/attention/softmax';
import type { Control } from '../runtime/backend';
import type { Score } from '../scores/score';
import type { DType } from '../tensor/dtype';
import type { HostTensor } from '../tensor/host';
import { bindShapes, type Shape, sizeOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import type { Continuation } from './continuation';
import {
  checkDeclared,
  defineMethod,
  type MaskProblem,
  type Method,
  type MethodSpec,
  type None,
  problemOfLetters,
  type Specs,
} from './define';
import type { ParamsSchema } from './params';

type QkvSpecs = Specs & Readonly<Record<'q' | 'k' | 'v', string>>;

type Description =
  | 'name'
  | 'short'
  | 'family'
  | 'summary'
  | 'paper'
  | 'optional'
  | 'params'
  | 'isCausal'
  | 'variants'
  | 'leads'
  | 'layer'
  | 'continuation'
  | 'page';

/** The declaration of a method that is softmax attention under a mask. */
export interface MaskedSpec<Schema extends ParamsSchema, Shapes extends QkvSpecs, Optional extends Specs = None>
  extends Pick<MethodSpec<Schema, Shapes, Optional>, Description> {
  /** q, k and v in letters; default: sequences. */
  readonly inputs?: Shapes;
  readonly integers?: readonly string[];
  mask(params: valibot.InferOutput<Schema>, problem: MaskProblem): Mask;
  /** How many pairs the mask sees, if that is known without going through them. */
  pairs?(params: valibot.InferOutput<Schema>, problem: MaskProblem): number | undefined;
  /** The change of the scores, if there is one. */
  score?(params: valibot.InferOutput<Schema>, inputs: Readonly<Record<string, Tensor | undefined>>): Score | undefined;
  /** Inputs that `score` captures, which have gradients. */
  readonly captured?: readonly string[];
  /** The definition of the mask, for the reference: shares no code with `mask`. */
  sees(params: valibot.InferOutput<Schema>, problem: MaskProblem): Sees;
  /** The definition of what changes the scores, for the reference. */
  modifier?(
    params: valibot.InferOutput<Schema>,
    problem: MaskProblem,
    inputs: Readonly<Record<string, HostTensor>>,
  ): Modifier | undefined;
}

/** A method that always has a mask. */
export interface MaskedMethod<Schema extends ParamsSchema, Shapes extends Specs, Optional extends Specs = Specs>
  extends Method<Schema, Shapes, Optional, SoftmaxOutputs, never, never> {
  mask(params: valibot.InferOutput<Schema>, problem: MaskProblem): Mask;
  score?(params: valibot.InferOutput<Schema>, inputs: Readonly<Record<string, Tensor | undefined>>): Score | undefined;
  readonly captured?: readonly string[];
}

/** Tokens of the sequence at which a mask is asked whether a query sees later keys. */
const ASKED = 256;

type SoftmaxOutputs = Readonly<Record<'out' | 'lse', string>>;

const SEQUENCES = { q: 'b n h d', k: 'b m g d', v: 'b m g e' } as const;

/**
 * A method that is softmax attention under a mask, and under changes of the scores, if any: outputs out and lse, forward
 * pass, reference and cost follow from the mask and its definition.
 *
 * @throws {ParameterError} a declaration that lacks what these follow from
 */
export function defineMaskedMethod<
  const Schema extends ParamsSchema,
  const Shapes extends QkvSpecs = typeof SEQUENCES,
  const Optional extends Specs = None,
  const Name extends string = string,
>(
  spec: MaskedSpec<Schema, Shapes, Optional> & { readonly name: Name },
): MaskedMethod<Schema, Shapes, Optional> & { readonly name: Name } {
  checkDeclared(spec, ['mask', 'sees'], ['pairs', 'score', 'modifier']);
  type Params = valibot.InferOutput<Schema>;
  const inputs = (spec.inputs ?? SEQUENCES) as Shapes;
  const spatial = isSpatial(inputs);
  const masked = { ...spec, inputs } as unknown as AnyMasked;
  const method = defineMethod<Schema, Shapes, SoftmaxOutputs, Optional>({
    // Several params may decide it together, so the mask is asked; on a grid a method says what later means.
    ...(!spatial && {
      isCausal(params: Params) {
        const problem = problemOfLetters({ n: ASKED, m: ASKED });
        const mask = spec.mask(params, problem);
        return area(mask, problem) === area(and(mask, causal()), problem);
      },
    }),
    ...spec,
    inputs,
    outputs: spatial ? { out: 'b ...space h e', lse: 'b ...space h' } : { out: 'b n h e', lse: 'b n h' },
    reference: (host, params, gradOut) => reference(masked, givenOf<HostTensor>(host), params, gradOut),
    continuation: (params) => spec.continuation?.(params) ?? underMask(masked, params),
    forward: (tensors, params, control) =>
      tensors.q.runtime.scope(() => forward(masked, givenOf<Tensor>(tensors), params, control)),
    cost(letters, params) {
      const extents = letters as Readonly<Record<string, number>>;
      const problem = problemOfLetters(extents);
      const { b, n, m, h, g } = problem;
      const { d, e } = extents as Record<'d' | 'e', number>;
      const pairs = spec.pairs?.(params, problem) ?? area(spec.mask(params, problem), problem);
      const elements = b * (n * h * d + m * g * d + m * g * e + n * h * e + n * h);
      return { flops: 2 * (d + e) * pairs, bytes: 4 * elements, state: 0, visited: pairs / (b * h * n * m) };
    },
  });
  return method as MaskedMethod<Schema, Shapes, Optional> & { readonly name: Name };
}

type AnyMasked = MaskedSpec<ParamsSchema, QkvSpecs, Specs> & { readonly inputs: QkvSpecs };
type AnyParams = { readonly scale?: number | undefined };

const isSpatial = ({ q }: Specs) => q?.includes('...space') ?? false;

/** The problem that mask and modifier describe; the shapes of the inputs must fit together. */
function problemOf(
  { inputs, optional = {} }: AnyMasked,
  shapes: Readonly<Record<string, Shape>>,
  given: MaskProblem['given'],
): MaskProblem {
  const specs = Object.fromEntries(Object.entries({ ...inputs, ...optional }).filter(([name]) => shapes[name]));
  return { ...problemOfLetters(bindShapes(specs, shapes)), given };
}

/** The definition of the method in float64, with the gradients if `gradOut` is given. */
function reference(
  masked: AnyMasked,
  given: Readonly<Record<string, HostTensor>>,
  params: AnyParams,
  gradOut: HostTensor | undefined,
): Record<string, HostTensor<'f64'>> {
  const { inputs, integers = [], captured = [] } = masked;
  const problem = problemOf(masked, mapValues(given, shapeOf), integersOf(given, integers));
  const qkv = { q: given.q as HostTensor, k: given.k as HostTensor, v: given.v as HostTensor };
  const rows = isSpatial(inputs) ? mapValues(qkv, (x) => ({ ...x, shape: flattened(x.shape) })) : qkv;
  const { scale = 1 / Math.sqrt(rows.q.shape[3] as number) } = params;
  const sees = masked.sees(params, problem);
  const modifier = masked.modifier?.(params, problem, given);
  const { out, lse } = softmaxAttention(rows, scale, sees, modifier);
  const [shape, e] = [qkv.q.shape.slice(0, -1), qkv.v.shape.at(-1) as number];
  const results = { out: { ...out, shape: [...shape, e] }, lse: { ...lse, shape } };
  if (!gradOut) return results;
  const sums = mapValues(pickGiven(given, captured), ({ shape }) => zerosOf(shape));
  const { elements } = modifier ?? {};
  const onScore =
    elements &&
    ((raw: RawScore, gradient: number) => {
      for (const { input, index, factor } of elements(raw)) {
        const { data } = sums[input] as HostTensor<'f64'>;
        data[index] = (data[index] as number) + gradient * factor;
      }
    });
  const operands = { ...rows, gradOut: { ...gradOut, shape: out.shape } };
  const { gradQ, gradK, gradV } = softmaxAttentionBackward(operands, scale, sees, modifier, onScore);
  return {
    ...results,
    grad_q: { ...gradQ, shape: qkv.q.shape },
    grad_k: { ...gradK, shape: qkv.k.shape },
    grad_v: { ...gradV, shape: qkv.v.shape },
    ...Object.fromEntries(Object.entries(sums).map(([input, sum]) => [`grad_${input}`, sum])),
  };
}

function forward(
  masked: AnyMasked,
  given: Readonly<Record<string, Tensor>>,
  params: AnyParams,
  control: Control | undefined,
) {
  const spatial = isSpatial(masked.inputs);
  const settings = settingsOf(masked, given, params);
  const [q, k, v] = [given.q, given.k, given.v].map((x) => flat(x as Tensor, spatial)) as [Tensor, Tensor, Tensor];
  const { out, lse } = attention(q, k, v, { ...settings, ...control });
  if (!spatial) return { out, lse };
  const shape = (given.q as Tensor).shape.slice(0, -1);
  return { out: out.reshape([...shape, v.shape[3] as number]), lse: lse.reshape(shape) };
}

/** From keys and values under the mask, if it is one mask at any length and all that matters; else undefined. */
function underMask(masked: AnyMasked, params: AnyParams): Continuation | undefined {
  const { inputs, optional, score } = masked;
  const isPlain = !score && !optional && Object.keys(inputs).length === 3;
  if (!isPlain || isSpatial(inputs)) return undefined;
  const [mask, longer] = [ASKED, 2 * ASKED].map((n) => masked.mask(params, problemOfLetters({ n, m: n }))) as [
    Mask,
    Mask,
  ];
  if (mask !== longer) return undefined;
  return {
    from: 'keys',
    attend: ({ q }, keys, options) =>
      attention(q as Tensor, keys, { scale: params.scale, mask: lastQueries(mask), ...options }).out,
  };
}

const flat = (x: Tensor, spatial: boolean): Tensor => x.reshape(spatial ? flattened(x.shape) : x.shape);

/** The options of the op; mask and scores follow from the params and the small inputs. */
function settingsOf(masked: AnyMasked, given: Readonly<Record<string, Tensor>>, params: AnyParams) {
  const { integers = [] } = masked;
  const shapes = mapValues(given, shapeOf);
  const mask = (host: Readonly<Record<string, HostTensor>>) =>
    masked.mask(params, problemOf(masked, shapes, integersOf(host, integers)));
  problemOf(masked, shapes, {});
  const settings = { scale: params.scale, score: masked.score?.(params, given) };
  const known = pickGiven(given, integers);
  if (Object.keys(known).length === 0) return { ...settings, mask: mask({}) };
  checkIntegers(known, integers);
  return { ...settings, deferred: { tensors: known, mask } };
}

/** [b, ...space, h, c] as [b, n, h, c]. */
function flattened(shape: Shape): number[] {
  const [b, ...rest] = shape as [number, ...number[]];
  const [h, c] = rest.slice(-2) as [number, number];
  return [b, rest.slice(0, -2).reduce((size, extent) => size * extent, 1), h, c];
}

const shapeOf = ({ shape }: { readonly shape: Shape }) => shape;

/** The inputs without those that were left out. */
function givenOf<T>(inputs: object): Record<string, T> {
  return Object.fromEntries(Object.entries(inputs).filter(([, x]) => x !== undefined));
}

function checkIntegers(
  tensors: Readonly<Record<string, { readonly dtype: DType } | undefined>>,
  names: readonly string[],
): void {
  for (const name of names) {
    const { dtype = 'i32' } = tensors[name] ?? {};
    if (dtype !== 'i32') throw new DTypeError(`${name} must be i32, got ${dtype}`);
  }
}

function integersOf(host: Readonly<Record<string, HostTensor>>, names: readonly string[]): Record<string, Int32Array> {
  checkIntegers(host as Readonly<Record<string, HostTensor<DType> | undefined>>, names);
  return mapEntries(pickGiven(host, names), (_, { data }) => data as Int32Array);
}

/** Those of the named values that were given. */
function pickGiven<T>(values: Readonly<Record<string, T | undefined>>, names: readonly string[]): Record<string, T> {
  return Object.fromEntries(names.flatMap((name) => (values[name] ? [[name, values[name]]] : [])));
}

function zerosOf(shape: Shape): HostTensor<'f64'> {
  return { dtype: 'f64', shape, data: new Float64Array(sizeOf(shape)) };
}

function mapEntries<Name extends string, A, B>(
  record: Readonly<Record<Name, A>>,
  map: (name: Name, value: A) => B,
): Record<Name, B> {
  const entries = Object.entries<A>(record) as [Name, A][];
  return Object.fromEntries(entries.map(([name, value]) => [name, map(name, value)])) as Record<Name, B>;
}

function mapValues<Name extends string, A, B>(
  record: Readonly<Record<Name, A>>,
  map: (value: A) => B,
): Record<Name, B> {
  return mapEntries(record, (_, value) => map(value));
}
