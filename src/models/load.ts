/** Parameters of models from the tensors of files. */
import { checkChoice, checkOptions, checkRecord, labelled, show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import type { Described, ModuleParameter } from '../nn/module';
import { checkControl } from '../ops/check';
import type { PackedWeight } from '../ops/packed';
import type { Control } from '../runtime/backend';
import { Runtime } from '../runtime/runtime';
import { bytesPerElement, type DType } from '../tensor/dtype';
import { checkHost, convert, type HostTensor } from '../tensor/host';
import { formatShape, type Shape, sameShape, sizeOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { formatBytes } from '../text/format';
import { parametersIn } from '../train/parameters-in';
import { readable } from '../weights/elements';
import type { ReadableTensor, StoredTensor } from '../weights/stored';
import type { Weights } from '../weights/weights';

/** The parameters and buffers of a model by the names of its checkpoints. */
export interface WeightNames {
  readonly parameters: Described;
  /** Other forms of the same network, of which files may have the names and shapes. */
  readonly otherForms?: readonly Described[] | undefined;
  /** A prefix of these names that files may lack, such as `transformer`. */
  readonly prefix?: string | undefined;
  /** Tensors of files that are passed over: those that only training uses, or that follow from the configuration. */
  readonly ignored?: RegExp | undefined;
  /** Why files lack just these parameters, in place of their names, if there is a reason. */
  readonly whyMissing?: ((names: readonly string[]) => string | undefined) | undefined;
  /** Whether matrices in blocks whose numbers packing would change become f32, with `types: 'stored'`. */
  readonly isExact?: boolean | undefined;
}

type Types = 'f32' | 'stored';

export interface LoadOptions extends Control {
  /**
   * As f32 (default), or with `stored` matrices as the file has them: those of f16 and bf16 as tensors, those in blocks packed, which
   * opened weights have: Q8_0, Q5_0, Q4_0 and Q4_1 as their numbers are, Q4_K with scales in f16, Q5_1, Q5_K and Q6_K rounded to 8
   * bits. These four become f32 for a decoder of `activations: 'f32'`.
   */
  readonly types?: Types | undefined;
}

/** Parameters whose matrices may be packed only if their types are kept. */
type Loaded<O> = O extends { readonly types: 'stored' }
  ? Record<string, Tensor | PackedWeight>
  : Record<string, Tensor>;

/**
 * What a model computes with, from the tensors of a file, or from weights that `openWeights` opened, which are read one by
 * one. Of the checkpoint of a training it takes the parameters. Names may begin with `model.`, `module.`, `backbone.` and the like.
 *
 * @throws {ParameterError | ShapeError} tensors that are missing, unexpected or of another shape, by their names; of opened
 * weights also more than the heap holds, before anything is read
 */
export interface Load {
  (runtime: Runtime, file: Readonly<Record<string, HostTensor>>, options?: LoadOptions): Record<string, Tensor>;
  <const O extends LoadOptions>(runtime: Runtime, file: Weights, options?: O): Promise<Loaded<O>>;
}

/** Batches that PyTorch's batch norm has seen. */
const COUNTS = /(^|\.)num_batches_tracked$/;

/** What names begin with where a network was part of another one, such as one that computes on several devices. */
const WRAPPERS = /^(module|model|network|net|backbone|encoder|_orig_mod)\./;

/** How a model with these names is loaded. */
export function loaderOf(names: WeightNames): Load {
  const load = (runtime: Runtime, file: unknown, options: LoadOptions = {}) => {
    if (!(runtime instanceof Runtime)) throw new ParameterError(`runtime must be a Runtime, got ${show(runtime)}`);
    checkOptions('load', options, ['types', 'signal', 'onProgress']);
    checkControl(options);
    checkChoice('types', options.types, ['f32', 'stored']);
    if (isWeights(file)) return loadStored(runtime, names, file, options);
    checkRecord('file', file);
    return loadHosts(runtime, names, file as Readonly<Record<string, HostTensor>>, options);
  };
  return load as Load;
}

/** Without its class, which a page that opens no files need not load. */
const isWeights = (file: unknown): file is Weights => Object.prototype.toString.call(file) === '[object Weights]';

function loadHosts(
  runtime: Runtime,
  names: WeightNames,
  file: Readonly<Record<string, HostTensor>>,
  { types = 'f32' }: LoadOptions,
): Record<string, Tensor> {
  const found = matched(names, file, (own, host) => checkHost(own, host));
  return runtime.scope(() =>
    Object.fromEntries(
      [...found].map(([own, [, host]]) => {
        const dtype = typeOf({ type: host.dtype, shape: host.shape }, types);
        return [own, runtime.fromHost(convert(host, dtype))];
      }),
    ),
  );
}

async function loadStored(
  runtime: Runtime,
  names: WeightNames,
  weights: Weights,
  { types = 'f32', signal, onProgress }: LoadOptions,
): Promise<Record<string, Tensor | PackedWeight>> {
  const tensors = [...matchWeights(names, weights)].map(([own, [name, stored]]) => ({ own, name, stored }));
  const { packsExactly, packWeight } = await import('../weights/pack');
  /** Whether a matrix stays in blocks. */
  const isPacked = ({ type, shape }: Stored, types: Types) =>
    types === 'stored' && shape.length === 2 && type.startsWith('q') && (!names.isExact || packsExactly(type));
  checkHeap(
    runtime,
    weights.name,
    tensors.map(({ stored }) => stored),
    types,
    isPacked,
  );
  const parameters: Record<string, Tensor | PackedWeight> = {};
  try {
    for (const [at, { own, name, stored }] of tensors.entries()) {
      parameters[own] = isPacked(stored, types)
        ? packWeight(runtime, await weights.readBlocks(name, { signal }))
        : runtime.fromHost(await weights.read(name, { dtype: typeOf(stored, types), signal }));
      onProgress?.((at + 1) / tensors.length);
    }
    return parameters;
  } catch (error) {
    for (const tensor of Object.values(parameters)) tensor.dispose();
    throw error;
  }
}

/** Throws unless the heap holds all parameters; the message says as what it would. */
function checkHeap(
  runtime: Runtime,
  name: string,
  tensors: readonly Stored[],
  types: Types,
  isPacked: (tensor: Stored, types: Types) => boolean,
): void {
  const { mostBytes = Number.POSITIVE_INFINITY } = runtime.backend;
  const bytesAs = (bytesOf: (tensor: Stored) => number) =>
    tensors.reduce((sum, tensor) => sum + sizeOf(tensor.shape) * bytesOf(tensor), 0);
  const bytesOf = (as: Types) => (tensor: Stored) =>
    isPacked(tensor, as) ? packedBytes(tensor.type) : bytesPerElement(typeOf(tensor, as));
  const needed = bytesAs(bytesOf(types));
  if (needed <= mostBytes) return;
  const rounded = (type: 'q8' | 'q4') => bytesAs(({ shape }) => (shape.length === 2 ? packedBytes(type) : 4));
  const remedies: readonly (readonly [string, number])[] = [
    ["with types: 'stored' they take", bytesAs(bytesOf('stored'))],
    ['rounded by saccade quantize --type q8 they take', rounded('q8')],
    ['rounded by saccade quantize --type q4 they take', rounded('q4')],
  ];
  const [remedy, bytes] = remedies.find(([, each]) => each <= mostBytes) ?? ['even in 4 bits they take', rounded('q4')];
  throw new ParameterError(
    `${name}: its parameters take ${formatBytes(needed)} as ${types}, and the heap holds ${formatBytes(mostBytes)}: ${remedy} ${formatBytes(bytes)}`,
  );
}

/** The tensors of weights by the names that a model has for them; throws unless it takes them all. Nothing is read. */
export function matchWeights(
  names: WeightNames,
  weights: Weights,
): Map<string, [name: string, tensor: ReadableTensor]> {
  let found: Map<string, [name: string, tensor: StoredTensor]>;
  try {
    found = matched(names, Object.fromEntries(weights.tensors));
  } catch (error) {
    throw labelled(weights.name, error);
  }
  // Those of a checkpoint have other names in the file than for the model.
  const inFile = new Map([...weights.tensors].map(([name, tensor]) => [tensor, name]));
  return new Map([...found].map(([own, [, tensor]]) => [own, [inFile.get(tensor) as string, readable(tensor)]]));
}

type Stored = Pick<ReadableTensor, 'type' | 'shape'>;

/** Bytes of a number of a packed weight, its share of scales and minima among them. */
const packedBytes = (type: string) => (type.startsWith('q4') ? 20 : 34) / 32;

/** The element type that a parameter gets. */
function typeOf({ type, shape }: Stored, types: Types): DType {
  const isKept = types === 'stored' && shape.length === 2 && (type === 'f16' || type === 'bf16');
  return isKept ? type : 'f32';
}

/** The tensors of a file by the names that the model has for them, with their own. */
function matched<T extends { readonly shape: Shape }>(
  { parameters: usual, otherForms = [], prefix, ignored, whyMissing }: WeightNames,
  file: Readonly<Record<string, T>>,
  check: (own: string, tensor: T) => void = () => {},
): Map<string, [name: string, tensor: T]> {
  const parameters = nearest([usual, ...otherForms], file, prefix);
  const known = (name: string) => Object.hasOwn(parameters, name);
  const found = new Map<string, [string, T]>();
  const unknown: string[] = [];
  for (const [name, tensor] of Object.entries(parametersIn(file))) {
    const own = namesOf(name, prefix).find(known);
    if (own === undefined) {
      if (!COUNTS.test(name) && !namesOf(name, prefix).some((each) => ignored?.test(each))) unknown.push(name);
      continue;
    }
    if (found.has(own)) throw new ParameterError(`weights have ${own} twice, also as '${name}'`);
    check(own, tensor);
    found.set(own, [name, tensor]);
  }
  const missing = Object.keys(parameters).filter((name) => !found.has(name));
  const misshapen = [...found].flatMap(([own, [, { shape }]]) => {
    const expected = (parameters[own] as ModuleParameter).shape;
    return sameShape(shape, expected)
      ? []
      : [`${own} must have shape ${formatShape(expected)}, got ${formatShape(shape)}`];
  });
  const why = missing.length > 0 && unknown.length + misshapen.length === 0 ? whyMissing?.(missing) : undefined;
  if (why !== undefined) throw new ParameterError(why);
  refuse(missing, unknown, misshapen);
  return new Map(Object.keys(parameters).map((own) => [own, found.get(own) as [string, T]]));
}

/** Throws with all that does not fit, if anything does not. */
function refuse(missing: readonly string[], unknown: readonly string[], misshapen: readonly string[]): void {
  const faults = [
    ...(missing.length > 0 ? [`weights have no tensor ${missing.join(', ')}`] : []),
    ...(unknown.length > 0
      ? [`weights have ${unknown.length > 1 ? 'tensors' : 'a tensor'} '${unknown.join("', '")}' too many`]
      : []),
    ...misshapen,
  ];
  if (faults.length === 0) return;
  // What a short line has room for comes first.
  faults.sort((a, b) => a.length - b.length);
  throw new (missing.length + unknown.length > 0 ? ParameterError : ShapeError)(faults.join('; '));
}

/** The form of which a file has the most names. */
function nearest(forms: readonly Described[], file: object, prefix: string | undefined): Described {
  if (forms.length === 1) return forms[0] as Described;
  const names = Object.keys(parametersIn(file as Readonly<Record<string, HostTensor>>)).flatMap((name) =>
    namesOf(name, prefix),
  );
  const fitting = forms.map((form) => names.filter((name) => Object.hasOwn(form, name)).length);
  return forms[fitting.indexOf(Math.max(...fitting))] as Described;
}

/** The names that a tensor of a file may have in the model, the likeliest first. */
function namesOf(name: string, prefix: string | undefined): string[] {
  const names = [name];
  for (let bare = name; WRAPPERS.test(bare); names.push(bare)) bare = bare.replace(WRAPPERS, '');
  return prefix === undefined ? names : [...names, ...names.map((each) => `${prefix}.${each}`)];
}
