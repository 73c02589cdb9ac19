/** The declaration of a model, from which the command line, the tests and the pages follow. */
import type * as valibot from 'valibot';
import { checkFunction, checkKnown, checkNoPromise, checkOptions, checkRecord, show } from '../check';
import { DTypeError, ParameterError } from '../errors';
import type { Inputs, Interface, None, Outputs, Specs } from '../methods/define';
import { runtimeOf } from '../methods/inputs';
import { checkResults, type Results as GivenResults, settled } from '../methods/outputs';
import type { Numbers, Picture } from '../methods/page';
import { type ParamsSchema, parseParams } from '../methods/params';
import { initial, type Module, type ModuleControl, type Parameters } from '../nn/module';
import { checkControl } from '../ops/check';
import type { PictureSettings } from '../pictures';
import type { Runtime } from '../runtime/runtime';
import type { DType } from '../tensor/dtype';
import type { HostTensor } from '../tensor/host';
import { bindShapes, type Shape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { type Load, loaderOf, type WeightNames } from './load';

/** What the params of a model describe: parameters under the names of checkpoints, and the outputs by name. */
export interface Network<In, Out> extends WeightNames {
  forward(inputs: In, parameters: Parameters, control: ModuleControl): Out;
  /** The parameters for inference alone, such as with batch norms folded into convolutions; default: all as they are. */
  fold?(parameters: Parameters): Record<string, Tensor>;
  /**
   * The results of inference once they are there, for a network that reads some of its own in between, such as which tokens
   * count; default: those of `forward`.
   */
  infer?(inputs: In, parameters: Parameters, control: ModuleControl): Promise<Out>;
  /** How it takes pictures as its input x; default: it takes none. */
  readonly pictures?: PictureSettings | undefined;
  /** What training lowers, from the outputs and the classes of pictures or places: a tensor of one number; default: their mean cross entropy. */
  loss?(outputs: Out, labels: Tensor): Tensor;
}

/** Trained weights of a network. */
export interface Published<Params = object> {
  /** Those of the network. */
  readonly params: Params;
  /** The tensors by the names of the network, and what a `config.json` beside them would say. */
  load(): Promise<{
    readonly tensors: Readonly<Record<string, HostTensor>>;
    readonly config?: Readonly<Record<string, unknown>> | undefined;
  }>;
}

/** The declaration of a model: inputs and outputs in letters, params as a schema, and the network that they describe. */
export interface ModelSpec<
  Schema extends ParamsSchema,
  Shapes extends Specs = Specs,
  Optional extends Specs = Specs,
  Results extends Specs = Specs,
  Sometimes extends string = string,
  Promised extends string = string,
> extends Interface<Schema, Shapes, Optional, Results, Sometimes, Promised> {
  network(
    params: valibot.InferOutput<Schema>,
  ): Network<NoInfer<Inputs<Shapes, Optional>>, NoInfer<Outputs<Results, Sometimes, Promised>>>;
  /** Params and inputs that show what it does, in a moment, for its page and its tests. */
  sample(): {
    readonly params: valibot.InferInput<Schema>;
    readonly inputs: { readonly [Name in keyof Shapes]: HostTensor<DType> };
  };
  /** What its page shows of its results on the sample, where these alone show little: before them. */
  pictures?(results: Readonly<Record<string, Numbers>>): readonly Picture[];
  /** The params that a `config.json` beside weights gives, where they are left out; default: none. */
  configured?(config: Readonly<Record<string, unknown>>): Partial<valibot.InferInput<Schema>>;
  /** Whether its matrices may be of 16 bits and in blocks, as files have them; default false: they become f32. */
  readonly keepsTypes?: boolean;
  /** Trained weights that a package ships; default: there are none. */
  readonly published?: Published<valibot.InferInput<Schema>>;
}

/** A model with its params, as a function of its inputs and of parameters, which the caller holds. */
export interface CreatedModel<In = Readonly<Record<string, Tensor>>, Out = Outputs<Specs, string, string>>
  extends Module<In, Out> {
  /** Which of the inputs are i32. */
  readonly integers: readonly string[];
  /** Parameters and buffers to train from. */
  initialize(runtime: Runtime, options?: { readonly seed?: number | undefined }): Record<string, Tensor<'f32'>>;
  /** Those of a file, or of the checkpoint of a training. */
  readonly load: Load;
  /**
   * Parameters for inference alone, which is faster with them: batch norms become parts of the convolutions before them. Those
   * that stay are the same tensors.
   */
  fold(parameters: Parameters): Parameters;
  /** As `forward` in inference, but with promised results awaited and, where a network has one, by a way that is faster then. */
  infer(inputs: In, parameters: Parameters, control?: Pick<ModuleControl, 'signal'>): Promise<Settled<Out>>;
  /** How it takes pictures as its input x, which `preprocess` of `saccade/pictures` follows; undefined if it takes none. */
  readonly pictures: PictureSettings | undefined;
}

type Settled<Out> = { readonly [Name in keyof Out]: Awaited<Out[Name]> };

/** A model as a value: one of the library's, or one that `defineModel` made. Without types of its own, any model. */
export interface Model<
  Schema extends ParamsSchema = ParamsSchema,
  Shapes extends Specs = Specs,
  Optional extends Specs = Specs,
  Results extends Specs = Specs,
  Sometimes extends string = string,
  Promised extends string = string,
> extends ModelSpec<Schema, Shapes, Optional, Results, Sometimes, Promised> {
  /** Checks params and fills in defaults; a ParameterError names the wrong one. */
  parse(params: valibot.InferInput<Schema>): valibot.InferOutput<Schema>;
  /** The model that params describe. */
  create(
    params: valibot.InferInput<Schema>,
  ): CreatedModel<Inputs<Shapes, Optional>, Outputs<Results, Sometimes, Promised>>;
}

/**
 * A model from its declaration. Its forward pass checks inputs by name, element type and shape, and runs in inference unless
 * its control has a `TrainingPass`.
 */
export function defineModel<
  const Schema extends ParamsSchema,
  const Shapes extends Specs,
  const Results extends Specs,
  const Optional extends Specs = None,
  const Sometimes extends string = never,
  const Promised extends string = never,
>(
  spec: ModelSpec<Schema, Shapes, Optional, Results, Sometimes, Promised>,
): Model<Schema, Shapes, Optional, Results, Sometimes, Promised> {
  checkSpec(spec);
  const { name } = spec;
  const parse = (params: valibot.InferInput<Schema>) => parseParams(name, spec.params, params);
  return {
    ...spec,
    parse,
    create(params) {
      const { forward, infer, fold, pictures, ...names } = spec.network(parse(params));
      return {
        name,
        parameters: names.parameters,
        pictures,
        integers: spec.integers ?? [],
        initialize(runtime, options = {}) {
          checkOptions('initialize', options, ['seed']);
          return initial(names, runtime, options.seed);
        },
        load: loaderOf(names),
        fold(parameters) {
          checkRecord('parameters', parameters);
          return fold?.(parameters) ?? parameters;
        },
        forward(inputs, parameters: Parameters, control: ModuleControl = {}) {
          checkForward(spec, inputs, control, ['signal', 'training']);
          const results = forward(inputs, parameters, control);
          checkNoPromise(`forward of ${name}`, results);
          checkResults(name, spec.promised ?? [], results);
          return results;
        },
        async infer(inputs, parameters: Parameters, control: ModuleControl = {}) {
          checkForward(spec, inputs, control, ['signal']);
          const results = infer ? await infer(inputs, parameters, control) : forward(inputs, parameters, control);
          return (await settled(results as unknown as GivenResults)) as never;
        },
      };
    },
  };
}

function checkForward(spec: Declared, inputs: object, control: ModuleControl, known: readonly string[]): void {
  checkKnown('control', control, known, (unknown) => `control has no '${unknown}'`);
  checkControl(control);
  checkInputs(spec, inputs);
}

type Declared = Pick<Model, 'name' | 'inputs' | 'optional' | 'integers'>;

/** Whether a package ships weights of the network that params describe; whether it tells features of stages changes none. */
export function isPublishedWith(
  { published, parse }: Model,
  { features: _, ...params }: { features?: unknown },
): boolean {
  if (!published) return false;
  const [own, given] = [published.params, params].map((each) => JSON.stringify(parse(each as never)));
  return own === given;
}

/** Throws unless the inputs are those declared, of their element types and shapes, on one runtime. */
function checkInputs(spec: Declared, inputs: object): void {
  runtimeOf(spec, inputs);
  const { integers = [] } = spec;
  const given = Object.entries(inputs as Readonly<Record<string, Tensor | undefined>>).flatMap(([name, tensor]) =>
    tensor ? [[name, tensor] as const] : [],
  );
  for (const [name, { dtype }] of given)
    if (integers.includes(name) !== (dtype === 'i32'))
      throw new DTypeError(
        `${name} must ${integers.includes(name) ? 'be i32' : 'hold floating-point numbers'}, got ${dtype}`,
      );
  const all: Specs = { ...spec.inputs, ...spec.optional };
  const specs = Object.fromEntries(given.map(([name]) => [name, all[name] as string]));
  bindShapes(specs, Object.fromEntries(given.map(([name, { shape }]) => [name, shape as Shape])));
}

/** Throws a ParameterError unless a declaration is complete. */
function checkSpec(spec: object): void {
  checkRecord('spec', spec);
  const { name, ...rest } = spec as Readonly<Record<string, unknown>>;
  if (typeof name !== 'string') throw new ParameterError(`name of a model must be a string, got ${show(name)}`);
  for (const what of ['inputs', 'outputs', 'params']) checkRecord(`${what} of ${name}`, rest[what]);
  for (const what of ['network', 'sample']) checkFunction(`${what} of ${name}`, rest[what]);
}
