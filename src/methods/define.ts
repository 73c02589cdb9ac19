/** The declaration of a method, from which the CLI, the tests, the benchmarks and the pages follow. */
import type * as valibot from 'valibot';
import {
  checkFunction,
  checkKnown,
  checkNoPromise,
  checkNumbers,
  checkRecord,
  checkWhole,
  isRecord,
  show,
} from '../check';
import { ParameterError, UnsupportedError } from '../errors';
import { checkExtent } from '../masks/check';
import type { Extent, Mask } from '../masks/mask';
import { checkControl } from '../ops/check';
import type { Control } from '../runtime/backend';
import { checkHost, type HostTensor } from '../tensor/host';
import { gridOf, type Shape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { type Calibration, checkCalibration } from './calibration';
import { type Continuation, checkContinuation, usualContinuation } from './continuation';
import { runtimeOf } from './inputs';
import { checkResults, type Output } from './outputs';
import type { Page } from './page';
import { type ParamsSchema, parseParams } from './params';

/** Exact counts of one forward call. */
export interface Cost {
  /** Multiplications and additions of the useful work. */
  readonly flops: number;
  /** Bytes of inputs and outputs, each counted once, in f32. */
  readonly bytes: number;
  /** Bytes of state carried between calls; 0 for methods without one. */
  readonly state: number;
  /** Share of the query-key pairs that are computed, for methods that are a mask. */
  readonly visited?: number;
  /** Share of the elements of keys and values that are read, where they are not all. */
  readonly read?: number;
}

/** Shapes in letters by tensor name, such as `{ q: 'b n h d', k: 'b m g d' }`. */
export type Specs = Readonly<Record<string, string>>;
type LettersOf<Spec extends string> = Spec extends `${infer Letter} ${infer Rest}` ? Letter | LettersOf<Rest> : Spec;

/** No names. */
export type None = Readonly<Record<never, string>>;

/** All required values of a method whose declaration is known; of any other method some may be missing. */
type Given<S extends Specs, T> = { readonly [Name in keyof S]: T | (string extends Name ? undefined : never) };

/** The tensors by the names of a declaration: its inputs, and those of its optional ones that are given. */
export type Inputs<S extends Specs = Specs, Optional extends Specs = None> = Given<S, Tensor> & {
  readonly [Name in keyof Optional]?: Tensor | undefined;
};
export type HostInputs<S extends Specs = Specs, Optional extends Specs = None> = Given<S, HostTensor> & {
  readonly [Name in keyof Optional]?: HostTensor | undefined;
};
/** The results by the names of a declaration; those that some params do not give may be missing. */
export type Outputs<S extends Specs = Specs, Sometimes extends string = never, Promised extends string = never> = {
  readonly [Name in Exclude<keyof S, Known<Sometimes>>]: OutputOf<Name, Promised>;
} & { readonly [Name in Known<Sometimes>]?: OutputOf<Name, Promised> };
type OutputOf<Name, Promised extends string> = string extends Promised
  ? Output
  : Name extends Promised
    ? Promise<Tensor>
    : Tensor;
/** Names that are known one by one. */
type Known<Name extends string> = string extends Name ? never : Name;
/** Extents by letter, as the input specifications name them. */
export type Letters<S extends Specs = Specs> = { readonly [Letter in LettersOf<S[keyof S]>]: number };

/** The problem of these extents, by letter, without integer inputs. */
export function problemOfLetters(letters: Readonly<Record<string, number>>): MaskProblem {
  const { b = 1, n, m, h = 1, g = h } = letters as Record<'b' | 'n' | 'm' | 'h' | 'g', number>;
  return { b, n, m, h, g, grid: gridOf(letters), given: {} };
}

/** What a mask may depend on, besides the params. */
export interface MaskProblem extends Extent {
  /** Extents of the spatial axes, for methods that have them. */
  readonly grid: readonly number[];
  /** The integer inputs that were given, by name, row-major. */
  readonly given: Readonly<Record<string, Int32Array>>;
}

/** The layer of a model in which a method is used. */
export interface LayerConfig {
  /** The width of the layer's inputs and outputs. */
  readonly width: number;
  /** Query heads and those of keys and values. */
  readonly heads: number;
  readonly keyHeads: number;
  /** The dimensions of keys and of values. */
  readonly d: number;
  readonly e: number;
  /** Index of the layer, from 0, and number of layers. */
  readonly layer: number;
  readonly layers: number;
}

/** Where params are drawn for. */
interface DrawPlace {
  /** Index of the layer, from 0. */
  readonly layer: number;
  /** The number of the pass, in training. */
  readonly pass?: number | undefined;
}

/** A parameter of a layer, and what training starts from. */
export interface LayerParameter {
  /** Matrices are [out, in]. */
  readonly shape: Shape;
  /** The standard deviation of normal numbers around 0, or the value of all elements or of each. */
  readonly initial: { readonly std: number } | { readonly value: number } | { readonly values: ArrayLike<number> };
}

/** The part of a model's layer that is the method's own, besides the projections of q, k, v and of the result. */
export interface Layer {
  /** By name, as checkpoints have them, such as `beta_proj.weight`. */
  readonly parameters: Readonly<Record<string, LayerParameter>>;
  /** Inputs of the shape of q that are projected, normalised and rotated as q is, by `r_proj.weight` and so on for r. */
  readonly queries?: readonly string[];
  /** Whether what `inputs` gives for a token depends on the tokens before it; decoding then makes it from all of them. */
  readonly isSequential?: boolean;
  /**
   * The method's inputs from those of the layer: x [b, n, width] and its projections, in the shapes of the method; what is
   * given back under these names takes their place. On ops only, so that gradients follow.
   */
  inputs(
    x: Tensor,
    projections: Readonly<Record<'q' | 'k' | 'v', Tensor>>,
    parameters: Readonly<Record<string, Tensor>>,
    control?: Control,
  ): Readonly<Record<string, Tensor>>;
  /** Multiplications and additions that `inputs` takes for so many tokens, where it does more than project x. Default: 0. */
  flops?(tokens: number): number;
}

/** What methods and models declare alike. */
export interface Interface<
  Schema extends ParamsSchema,
  Shapes extends Specs,
  Optional extends Specs,
  Results extends Specs,
  Sometimes extends string,
  Promised extends string,
> {
  readonly name: string;
  /** One sentence: what it computes. */
  readonly summary: string;
  /** The arXiv number of its paper. */
  readonly paper?: string;
  readonly inputs: Shapes;
  /** Inputs that may be left out. */
  readonly optional?: Optional;
  /** Inputs that hold i32 numbers and have no gradient; the others hold floating-point numbers. */
  readonly integers?: readonly string[];
  readonly outputs: Results;
  /** Outputs that some params do not give. */
  readonly sometimes?: readonly Sometimes[];
  /**
   * Outputs whose extents the data decides, such as indices of what was found: promises of tensors. `forward` reads what they
   * depend on and does not wait. They have no gradient.
   */
  readonly promised?: readonly Promised[];
  readonly params: Schema;
}

/** The declaration of a method: inputs and outputs in letters, params as a schema, reference, forward pass and cost. */
export interface MethodSpec<
  Schema extends ParamsSchema,
  Shapes extends Specs = Specs,
  Optional extends Specs = Specs,
  Results extends Specs = Specs,
  Sometimes extends string = string,
  Promised extends string = string,
> extends Interface<Schema, Shapes, Optional, Results, Sometimes, Promised> {
  readonly family: string;
  /** Short name in tables of many variants; default: the name without `-attention`. */
  readonly short?: string;
  /** Inputs of floating-point numbers that have no gradient. */
  readonly constants?: readonly string[];
  /** `false` for methods that nothing is trained through, such as those that only choose. */
  readonly gradient?: false;
  /**
   * Params as a layer of a model has them, from those that all layers are given: for what is drawn at random, anew in each layer
   * and each pass of training. Default: the same ones.
   */
  drawn?(params: valibot.InferOutput<Schema>, place: DrawPlace): valibot.InferOutput<Schema>;
  /** Whether no result depends on what comes after its query. Default: the param `causal`, if there is one. */
  isCausal?(params: valibot.InferOutput<Schema>): boolean;
  /** The mask, for methods that are one; undefined for settings that are not a mask. */
  mask?(params: valibot.InferOutput<Schema>, problem: MaskProblem): Mask | undefined;
  /**
   * The mathematics in float64, in host memory; shares no code with the fast path. With the gradient with respect to
   * `out` also the gradients with respect to the inputs, as `grad_q` and so on.
   */
  reference(
    inputs: NoInfer<HostInputs<Shapes, Optional>>,
    params: valibot.InferOutput<Schema>,
    gradOut?: HostTensor,
  ): Record<string, HostTensor<'f64'>>;
  /** On the tensors' own runtime, with ops and views only, so that a tape has its gradients. */
  forward(
    inputs: NoInfer<Inputs<Shapes, Optional>>,
    params: valibot.InferOutput<Schema>,
    control?: Control,
  ): NoInfer<Outputs<Results, Sometimes, Promised>>;
  cost(letters: Letters<Shapes>, params: valibot.InferOutput<Schema>): Cost;
  /** Other needs of a model besides q, k and v, for methods that take more. */
  layer?(config: LayerConfig, params: valibot.InferOutput<Schema>): Layer;
  /**
   * How it goes on from tokens that it has seen. Default, also where this gives undefined: from its state, if it takes
   * `initial_state` and gives `state`; else anew, from the inputs of all tokens.
   */
  continuation?(params: valibot.InferOutput<Schema>): Continuation | undefined;
  /**
   * After how many tokens a decoder puts one of its own, the landmark, which ends their block: `landmark_token_id` of its
   * configuration. Its results are no text. Default: nowhere.
   */
  landmarkEvery?(params: valibot.InferOutput<Schema>): number;
  /** Up to how many tokens of a sequence it is exact attention, beside which it saves nothing there. Default: none. */
  exactUpTo?(params: valibot.InferOutput<Schema>): number;
  /** The most tokens of a sequence of which a layer can tell; default: any number. */
  mostTokens?(params: valibot.InferOutput<Schema>): number;
  /** For params that are found for a model by `calibrate`. */
  readonly calibration?: Calibration;
  /**
   * Whether its results become those of softmax attention only by training a model with it: `compare` then shows what it
   * costs and how its weights spread, and no error.
   */
  readonly needsTraining?: boolean;
  /**
   * For methods that need training: the weights of some queries on each key, [b, queries, h, m], up to a factor for each
   * row, by ops as in `forward`; undefined for params without weights.
   */
  weights?(
    inputs: NoInfer<Inputs<Shapes, Optional>>,
    params: valibot.InferOutput<Schema>,
    queries: readonly number[],
  ): Tensor | undefined;
  /**
   * For methods that need training: how far rounding in float32 puts `out` off for these inputs, beyond what is allowed to all
   * (`src/measure/gate.ts`), in the units of `out`. Default: no further.
   */
  rounding?(inputs: HostInputs<Shapes>): number;
  /** A warning about the results for these inputs, in a sentence; undefined for none. */
  warning?(
    inputs: NoInfer<Inputs<Shapes, Optional>>,
    params: valibot.InferOutput<Schema>,
    control?: Control,
  ): Promise<string | undefined>;
  /** The settings worth comparing at these extents, the most telling first. */
  variants(letters: Letters<Shapes>): valibot.InferInput<Schema>[];
  /** How many variants (full and causal each) `compare` takes before a second one of other methods. Default 1. */
  readonly leads?: number;
  /** What its page in the atlas shows: `() => import('./page')`. */
  page?(): Promise<{ readonly page: Page }>;
}

/** Any method with such params. */
export type MethodOf<Schema extends ParamsSchema> = Method<Schema, Specs, Specs, Specs, string, string>;

/** A method as a value: one of the library's, or one that `defineMethod` made. Without types of its own, any method. */
export interface Method<
  Schema extends ParamsSchema = ParamsSchema,
  Shapes extends Specs = Specs,
  Optional extends Specs = Specs,
  Results extends Specs = Specs,
  Sometimes extends string = string,
  Promised extends string = string,
> extends MethodSpec<Schema, Shapes, Optional, Results, Sometimes, Promised> {
  /** Checks params and fills in defaults; a ParameterError names the wrong one. */
  parse(params: valibot.InferInput<Schema>): valibot.InferOutput<Schema>;
  continuation(params: valibot.InferOutput<Schema>): Continuation;
}

/**
 * A method from its declaration. Its forward pass throws, with the name of what is wrong, unless every input is a tensor
 * (ParameterError), not disposed (DisposedError), and all are of one runtime (ParameterError).
 */
export function defineMethod<
  const Schema extends ParamsSchema,
  const Shapes extends Specs,
  const Results extends Specs,
  const Optional extends Specs = None,
  const Sometimes extends string = never,
  const Promised extends string = never,
  const Name extends string = string,
>(
  spec: MethodSpec<Schema, Shapes, Optional, Results, Sometimes, Promised> & { readonly name: Name },
): Method<Schema, Shapes, Optional, Results, Sometimes, Promised> & { readonly name: Name } {
  checkSpec(spec);
  const { forward, reference, cost, variants, mask, weights } = spec;
  const names = [...Object.keys(spec.inputs), ...Object.keys(spec.optional ?? {})];
  const checkInputs = (inputs: object) =>
    checkKnown('inputs', inputs, names, (name) => `${spec.name} has no input '${name}'`);
  const checkParams = (params: unknown) => checkRecord(`params of ${spec.name}`, params);
  const checkHosts = (inputs: HostInputs<Shapes, Optional>) => {
    checkInputs(inputs);
    for (const name of names) {
      const host = (inputs as Readonly<Record<string, HostTensor | undefined>>)[name];
      if (host !== undefined || Object.hasOwn(spec.inputs, name)) checkHost(name, host as HostTensor);
    }
  };
  const checkLetters = (letters: Letters<Shapes>) => {
    checkRecord('letters', letters);
    for (const [letter, extent] of Object.entries<number>(letters)) checkWhole(`letters ${letter}`, extent, 1);
  };
  const check = (inputs: Inputs<Shapes, Optional>, params: unknown, control: Control | undefined) => {
    checkParams(params);
    if (control !== undefined) {
      checkKnown('control', control, ['signal', 'onProgress'], (name) => `control has no '${name}'`);
      checkControl(control);
    }
    runtimeOf(spec, inputs);
  };
  return {
    ...spec,
    forward(inputs, params, control) {
      check(inputs, params, control);
      const results = forward(inputs, params, control);
      checkNoPromise(`forward of ${spec.name}`, results);
      checkResults(spec.name, spec.promised ?? [], results);
      return results;
    },
    reference(inputs, params, gradOut) {
      checkHosts(inputs);
      checkParams(params);
      if (gradOut !== undefined) checkHost('gradOut', gradOut);
      return reference(inputs, params, gradOut);
    },
    cost(letters, params) {
      checkLetters(letters);
      checkParams(params);
      return cost(letters, params);
    },
    variants(letters) {
      checkLetters(letters);
      return variants(letters);
    },
    continuation(params) {
      checkParams(params);
      const continuation = spec.continuation?.(params) ?? usualContinuation(spec);
      checkContinuation(spec, continuation);
      return continuation;
    },
    ...(mask && {
      mask(params, problem) {
        checkParams(params);
        checkProblem(problem);
        return mask(params, problem);
      },
    }),
    ...(weights && {
      weights(inputs, params, queries) {
        checkParams(params);
        const runtime = runtimeOf(spec, inputs);
        checkNumbers('queries', queries, 'integers >= 0', (query) => Number.isSafeInteger(query) && query >= 0);
        return runtime.scope(() => weights(inputs, params, queries));
      },
    }),
    parse: (params) => parseParams(spec.name, spec.params, params),
  };
}

/**
 * The given inputs of a method that have a gradient, for `pullback` to differentiate with respect to.
 * @throws {UnsupportedError} for a method that has none
 */
export function withGradients(
  method: Pick<Method, 'name' | 'gradient' | 'integers' | 'constants' | 'promised'>,
  inputs: Readonly<Record<string, Tensor | undefined>>,
): Record<string, Tensor<'f32' | 'f16' | 'bf16'>> {
  const { name, gradient, integers = [], constants = [], promised = [] } = method;
  if (gradient === false) throw new UnsupportedError(`${name} has no gradient`);
  if (promised.includes('out'))
    throw new UnsupportedError(`${name} has no gradient: the data decides the extents of its output out`);
  const none = [...integers, ...constants];
  return Object.fromEntries(
    Object.entries(inputs).flatMap(([input, tensor]) => (tensor && !none.includes(input) ? [[input, tensor]] : [])),
  ) as Record<string, Tensor<'f32' | 'f16' | 'bf16'>>;
}

const DECLARED = ['reference', 'forward', 'cost', 'variants'];
/** Functions that may be left out. */
const OPTIONAL = [
  'mask',
  'weights',
  'rounding',
  'isCausal',
  'layer',
  'continuation',
  'landmarkEvery',
  'exactUpTo',
  'mostTokens',
  'drawn',
  'page',
];

/** Throws a ParameterError unless `value` is a method. */
export function checkMethod(what: string, value: unknown): void {
  const isMethod =
    isRecord(value) &&
    typeof value.name === 'string' &&
    [value.inputs, value.outputs, value.params].every(isRecord) &&
    [...DECLARED, 'continuation', 'parse'].every((name) => typeof value[name] === 'function');
  if (!isMethod)
    throw new ParameterError(
      `${what} must be a method: one of saccade/methods, or what findMethod or defineMethod returns, got ${show(value)}`,
    );
}

/** Throws a ParameterError unless a declaration has a name and these functions, of which some may be left out. */
export function checkDeclared(spec: object, required: readonly string[], optional: readonly string[]): void {
  checkRecord('spec', spec);
  const { name, ...rest } = spec as Readonly<Record<string, unknown>>;
  if (typeof name !== 'string') throw new ParameterError(`name of a method must be a string, got ${show(name)}`);
  for (const what of [...required, ...optional.filter((each) => rest[each] !== undefined)])
    checkFunction(`${what} of ${name}`, rest[what]);
}

/** Throws a ParameterError unless a declaration is complete. */
function checkSpec(spec: object): void {
  checkDeclared(spec, DECLARED, OPTIONAL);
  const { calibration } = spec as Pick<MethodSpec<ParamsSchema>, 'calibration'>;
  if (calibration !== undefined) checkCalibration((spec as { readonly name: string }).name, calibration);
  const { name, paper, inputs, outputs, params } = spec as Readonly<Record<string, unknown>>;
  if (paper !== undefined && typeof paper !== 'string')
    throw new ParameterError(`paper of ${name} must be an arXiv number such as '1706.03762', got ${show(paper)}`);
  for (const [what, value] of Object.entries({ inputs, outputs, params })) checkRecord(`${what} of ${name}`, value);
}

function checkProblem(problem: MaskProblem): void {
  checkExtent('problem', problem);
  checkNumbers(
    'grid of problem',
    problem.grid,
    'integers >= 1',
    (extent) => Number.isSafeInteger(extent) && extent >= 1,
  );
  checkRecord('given of problem', problem.given);
}
