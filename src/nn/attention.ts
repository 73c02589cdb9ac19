/**
 * Multi-head attention by any method: projections of x to queries, keys and values, what the method needs beside them, and
 * a projection of its result.
 * Letters: b batch, n tokens, h query heads, g key/value heads, d head dimension, e value dimension.
 */
import type { InferInput } from 'valibot';
import { checkBoolean, checkKnown, checkNumbers, checkWhole, show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import type { Complete, Rotate } from '../methods/continuation';
import { checkMethod, type Method, type MethodOf } from '../methods/define';
import { exactAttention } from '../methods/dense/attention';
import type { ParamsSchema } from '../methods/params';
import { contiguous } from '../ops/copy';
import { type RopeOptions, type RopeSettings, rope as turn } from '../ops/rope';
import { ropeSetting } from '../ops/rope/rotation';
import { sizeOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import {
  checkTokens,
  type Definition,
  type Described,
  defineModule,
  type Module,
  type ModuleControl,
  type Parameters,
  partFinder,
  prefixed,
  type TrainableParameters,
} from './module';
import { project, projectAll, projection } from './projection';
import { type RowNormConfig, rowNorm } from './row-norm';

export interface AttentionConfig<Schema extends ParamsSchema = ParamsSchema> {
  /** Default: exact attention. */
  readonly method?: MethodOf<Schema> | undefined;
  /** The method's params, as `parse` takes them. */
  readonly params?: InferInput<Schema> | undefined;
  readonly width: number;
  /** Query heads. */
  readonly heads: number;
  /** Heads of keys and values, which divide those of queries; default: as many. */
  readonly keyHeads?: number | undefined;
  /** The dimensions of queries and keys, and of values; default: width / heads, and d. */
  readonly d?: number | undefined;
  readonly e?: number | undefined;
  /** Which projections have biases: of queries, keys and values, and of the result; default: none. */
  readonly bias?: { readonly qkv?: boolean | undefined; readonly out?: boolean | undefined } | undefined;
  /** The projections in checkpoints; default: `q_proj`, `k_proj`, `v_proj` and `o_proj`, with matrices [out, in]. */
  readonly projections?: ProjectionLayout | undefined;
  /** Queries and keys of each head are normalised, by default by their root mean squares, as in Qwen3. */
  readonly qkNorm?: Pick<RowNormConfig, 'kind' | 'epsilon'> | undefined;
  /** Rotary position embeddings of queries and keys, after their norms, or a function of how many positions there are; default: none. */
  readonly rope?: RopeSettings | ((length: number) => RopeSettings) | undefined;
  /** Extents of the grid, row-major, that the tokens of spatial methods lie on. */
  readonly grid?: readonly number[] | undefined;
  /** Index of the layer, from 0, and number of layers: initial parameters of methods may depend on it. Default: the only one. */
  readonly layer?: number | undefined;
  readonly layers?: number | undefined;
}

/** How the projections of an attention are named, and lie, in checkpoints. */
export interface ProjectionLayout {
  /** The name of one projection to queries, keys and values, in this order. */
  readonly fused?: string | undefined;
  /** The name of the projection of the result. */
  readonly out?: string | undefined;
  /** Whether matrices are [in, out], as in GPT-2. */
  readonly transposed?: boolean | undefined;
}

const NAMES = [
  ...['method', 'params', 'width', 'heads', 'keyHeads', 'd', 'e', 'bias', 'projections', 'qkNorm', 'rope', 'grid'],
  ...['layer', 'layers'],
];

/** For tokens that continue a sequence: their positions, and the method's result for its inputs at these tokens. */
export interface AttentionContext extends ModuleControl {
  readonly positions?: RopeOptions['positions'];
  /** How many positions the sequence may have; default: those of its tokens. */
  readonly length?: number | undefined;
  /** Whether queries and keys are left as they are, for `attend` to rotate them by their positions. */
  readonly isPlain?: boolean | undefined;
  /** Further inputs of the method, which takes those of its optional ones. */
  readonly further?: Readonly<Record<string, Tensor>> | undefined;
  readonly attend?: ((inputs: Readonly<Record<string, Tensor>>, more: Continuing) => Tensor) | undefined;
}

/** How a layer's tokens continue a sequence. */
export interface Continuing {
  /** Adds inputs that the tokens before have a part in. */
  readonly complete?: Complete | undefined;
  /** Rotates queries or keys by positions, if the layer does. */
  readonly rotate: Rotate;
  /** The method's params, as this pass has them. */
  readonly params: Readonly<Record<string, unknown>>;
}

/** A definition whose tokens may continue a sequence. */
export interface AttentionLayer extends Definition<Described> {
  readonly method: Method;
  /** Those of inference. */
  readonly params: Readonly<Record<string, unknown>>;
  /** Heads of queries, those of keys and values, and their extents. */
  readonly heads: number;
  readonly keyHeads: number;
  readonly d: number;
  readonly e: number;
  forward(x: Tensor, parameters: Parameters, context: AttentionContext): Tensor<'f32'>;
}

/**
 * x [b, n, width] -> [b, n, width]. Parameters: `q_proj.weight` [h d, width], `k_proj.weight` [g d, width],
 * `v_proj.weight` [g e, width], `o_proj.weight` [width, h e], their biases, `q_norm.weight` and `k_norm.weight` [d], and
 * those of the method's layer, with as many for its further queries as for q.
 *
 * @throws {ParameterError} a setting that is unknown, out of range, or nothing that the method can be used with
 */
export function attention<Schema extends ParamsSchema = (typeof exactAttention)['params']>(
  config: AttentionConfig<Schema>,
): Module {
  return defineModule(attentionLayer(config as AttentionConfig));
}

export function attentionLayer(config: AttentionConfig): AttentionLayer {
  checkKnown('config', config, NAMES, (name) => `config has no '${name}'`);
  const {
    method = exactAttention as Method,
    params: given = {},
    width,
    heads,
    keyHeads = heads,
    bias = {},
    projections: layout = {},
    qkNorm,
    rope,
    grid,
    layer = 0,
    layers = 1,
  } = config;
  checkMethod('method', method);
  const { name, inputs } = method;
  checkQkv('method', method);
  const parsed = method.parse(given);
  for (const [each, value] of Object.entries({ width, heads, keyHeads, layers })) checkWhole(each, value, 1);
  checkWhole('layer', layer, 0, layers - 1);
  const drawn = (pass?: number) => method.drawn?.(parsed, { layer, pass }) ?? parsed;
  const params = drawn();
  if (config.d === undefined && width % heads !== 0)
    throw new ParameterError(`heads must divide the width ${width} unless d is given, got ${heads}`);
  const { d = width / heads, e = d } = config;
  for (const [each, extent] of Object.entries({ d, e })) checkWhole(each, extent, 1);
  if (heads % keyHeads !== 0) throw new ParameterError(`keyHeads must divide the heads ${heads}, got ${keyHeads}`);
  if (keyHeads !== heads && !groupsHeads(method))
    throw new ParameterError(`keyHeads of ${name} must be as many as heads, ${heads}, got ${keyHeads}`);
  checkKnown('bias', bias, ['qkv', 'out'], (unknown) => `bias has no '${unknown}'`);
  for (const [each, value] of Object.entries(bias)) checkBoolean(`${each} of bias`, value);
  checkLayout(layout);
  if (qkNorm !== undefined)
    checkKnown('qkNorm', qkNorm, ['kind', 'epsilon'], (unknown) => `qkNorm has no '${unknown}'`);
  const normed = qkNorm && normOfHeads({ width: d, ...qkNorm });
  const ropeFor = (length: number) => (typeof rope === 'function' ? rope(length) : rope);
  if (rope !== undefined) ropeSetting.check('rope', ropeFor(1) as RopeSettings, { d }, {});
  checkGrid(name, inputs.q as string, grid);
  const missing = Object.keys(inputs).filter((each) => !['q', 'k', 'v'].includes(each));
  if (missing.length > 0 && !method.layer)
    throw new ParameterError(`method ${name} takes ${missing.join(', ')}, which a layer has no projections for`);
  const extra = method.layer?.({ width, heads, keyHeads, d, e, layer, layers }, params);
  const queries = extra?.queries ?? [];
  const sizes = { q: heads * d, k: keyHeads * d, v: keyHeads * e };
  const { out: result = 'o_proj', transposed } = layout;
  const ofInputs = { bias: bias.qkv ?? false, transposed };
  const own: Described = Object.assign(
    {},
    ...projectionsOf(sizes, layout).map(([each, size]) => projection(each, size, width, ofInputs)),
    projection(result, width, heads * e, { bias: bias.out ?? false, transposed }),
    ...queries.map((each) => projection(`${each}_proj`, heads * d, width, ofInputs)),
    ...(normed ? ['q', 'k', ...queries].map((each) => prefixed(normed.parameters, `${each}_norm`)) : []),
  );
  const twice = Object.keys(extra?.parameters ?? {}).find((each) => Object.hasOwn(own, each));
  if (twice !== undefined)
    throw new ParameterError(`the layer of method ${name} has a parameter '${twice}', which any attention has`);
  return {
    name: `attention by ${name}`,
    parameters: { ...own, ...extra?.parameters },
    method,
    params,
    heads,
    keyHeads,
    d,
    e,
    forward(x, parameters, { signal, training, activations, positions, length, attend, isPlain, further }) {
      const [b, n] = checkTokens(x, width);
      if (grid && n !== sizeOf(grid))
        throw new ShapeError(`x must have ${sizeOf(grid)} tokens, those of the grid ${show(grid)}, got ${n}`);
      const control = { transposed, activations, signal };
      const shape = (count: number, size: number) => [b, ...(grid ?? [n]), count, size];
      const rows = projected(sizes, layout, (names) => projectAll(names, x, parameters, control));
      const rope = ropeFor(length ?? n);
      const rotate = (x: Tensor, positions: RopeOptions['positions']) =>
        rope ? turn(x, { ...rope, positions, signal }) : x;
      const compared = (of: string, count: number) => {
        const plain = (rows[of] ?? project(`${of}_proj`, x, parameters, control)).reshape([b, n, count, d]);
        const scaled = normed ? normed.forward(of, plain, parameters, { signal }) : plain;
        return (isPlain ? scaled : rotate(scaled, positions)).reshape(shape(count, d));
      };
      const projections = {
        q: compared('q', heads),
        k: compared('k', keyHeads),
        v: (rows.v as Tensor).reshape(shape(keyHeads, e)),
      };
      const others = Object.fromEntries(queries.map((each) => [each, compared(each, heads)]));
      const complete: Complete = (given) => ({
        ...given,
        ...extra?.inputs(x, given as typeof projections, parameters as TrainableParameters, { signal }),
        ...takenBy(method, further),
      });
      const known = { ...projections, ...others };
      const isLater = attend && length !== undefined && extra?.isSequential;
      const inputs = isLater ? known : complete(known);
      const own = training ? drawn(training.seed) : params;
      const out = attend
        ? attend(inputs, { rotate, params: own, complete: isLater ? complete : undefined })
        : (method.forward(inputs, own, { signal }).out as Tensor);
      return project(result, out.reshape([b, n, heads * e]), parameters, control);
    },
  };
}

/** Those of further inputs that a method takes. */
const takenBy = ({ optional = {} }: Method, inputs: AttentionContext['further'] = {}) =>
  Object.fromEntries(Object.entries(inputs).filter(([name]) => Object.hasOwn(optional, name)));

/** The norm of the heads of queries, keys and the like, whose weights are found once. */
function normOfHeads(config: RowNormConfig) {
  const { parameters, forward } = rowNorm(config);
  const weights = new Map<string, ReturnType<typeof partFinder>>();
  return {
    parameters,
    forward(of: string, x: Tensor, given: Parameters, control: Pick<ModuleControl, 'signal'>) {
      const find = weights.get(of) ?? partFinder(parameters, `${of}_norm`);
      weights.set(of, find);
      return forward(x, find(given), control);
    },
  };
}

type Sizes = Readonly<Record<'q' | 'k' | 'v', number>>;

/** Names and extents of the projections to queries, keys and values. */
function projectionsOf(sizes: Sizes, { fused }: ProjectionLayout): [name: string, size: number][] {
  if (fused !== undefined) return [[fused, sizes.q + sizes.k + sizes.v]];
  return Object.entries(sizes).map(([each, size]) => [`${each}_proj`, size]);
}

/** x as queries, keys and values, where `apply` is the projections of those names. */
function projected(
  sizes: Sizes,
  { fused }: ProjectionLayout,
  apply: (names: readonly string[]) => Tensor[],
): Readonly<Record<string, Tensor>> {
  if (fused === undefined) {
    const [q, k, v] = apply(['q_proj', 'k_proj', 'v_proj']) as [Tensor, Tensor, Tensor];
    return { q, k, v };
  }
  const [all] = apply([fused]) as [Tensor];
  const part = (from: number, size: number) => contiguous(all.slice(2, from, from + size));
  return { q: part(0, sizes.q), k: part(sizes.q, sizes.k), v: part(sizes.q + sizes.k, sizes.v) };
}

function checkLayout(layout: ProjectionLayout): void {
  checkKnown('projections', layout, ['fused', 'out', 'transposed'], (name) => `projections have no '${name}'`);
  const { fused, out, transposed } = layout;
  for (const [name, value] of Object.entries({ fused, out }))
    if (value !== undefined && typeof value !== 'string')
      throw new ParameterError(`${name} of projections must be a string, got ${show(value)}`);
  checkBoolean('transposed of projections', transposed);
}

/** Throws unless a method, called `what`, takes queries, keys and values. */
export function checkQkv(what: string, { name, inputs }: Method): void {
  const absent = ['q', 'k', 'v'].find((each) => inputs[each] === undefined);
  if (absent !== undefined) throw new ParameterError(`${what} must take q, k and v, but ${name} takes no ${absent}`);
}

/** Whether several query heads may share a head of keys and values. */
export const groupsHeads = ({ inputs }: Method): boolean => !inputs.k?.split(' ').includes('h');

/** Throws unless there is a grid exactly if the method, whose queries have the shape `letters`, is spatial. */
function checkGrid(name: string, letters: string, grid: readonly number[] | undefined): void {
  const isSpatial = letters.includes('...space');
  if (grid === undefined) {
    if (isSpatial) throw new ParameterError(`grid must be given: ${name} is of tokens on one`);
    return;
  }
  if (!isSpatial) throw new ParameterError(`grid is of spatial methods: ${name} is of sequences, got ${show(grid)}`);
  checkNumbers('grid', grid, 'integers >= 1', (extent) => Number.isSafeInteger(extent) && extent >= 1);
  if (grid.length < 1 || grid.length > 3)
    throw new ParameterError(`grid must have one to three axes, got ${show(grid)}`);
}
