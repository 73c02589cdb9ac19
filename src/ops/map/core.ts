/** Calls of functions of elements. */
import { DTypeError, ParameterError } from '../../errors';
import type { Control } from '../../runtime/backend';
import { address, codeOf, ELEMENTS_PER_MICROSECOND, F32, type Machine, type Plan } from '../../runtime/wasm/plan';
import type { DType } from '../../tensor/dtype';
import { sameShape } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { checkOut, overlaps } from '../check';
import { compute, type ResultSpec } from '../compute';
import type { ResultOptions } from '../float32';
import type { Op } from '../op';
import { sum } from '../reduce';
import { axesOf, broadcast, broadcastShape, repeatedAxes } from './broadcast';
import type { Item, MapCall } from './call';
import type { Compiled, ElementwiseFunction, Kind } from './function';
import { MapItem, MapOperand, MapParams, RUN } from './params.generated';

const op: Op<MapCall> = {
  name: 'map',
  reference: async () => (await import('./reference')).map,
  kernels: {
    relaxed: () => new URL('./map.relaxed.wasm', import.meta.url),
    baseline: () => new URL('./map.baseline.wasm', import.meta.url),
  },
  wasm: planMap,
  webgpu: async () => (await import('./webgpu')).planMap,
};

function planMap({ compiled, numbers, items }: MapCall, { memory }: Machine): Plan {
  const { program, work, results } = compiled;
  const [{ inputs }] = items as [Item];
  let [tasks, elements] = [0, 0];
  const described: number[] = [];
  for (const { inputs, outs } of items) {
    const [{ size, shape }] = outs as [Tensor];
    tasks += Math.ceil(size / RUN);
    elements += size;
    const axes = axesOf(inputs, shape);
    const bytes = 8 * (4 + 2 * (inputs.length + outs.length) + axes.length * (1 + inputs.length));
    described.push(...MapItem({ pastTask: tasks, size, axes: axes.length, bytes }));
    for (const x of inputs) described.push(...MapOperand({ address: address(x as Tensor), dtype: wordsOf(x.dtype) }));
    for (const x of outs) described.push(...MapOperand({ address: address(x), dtype: wordsOf(x.dtype) }));
    for (const { extent, strides } of axes) described.push(extent, ...strides);
  }
  const params = (programAt: number, itemsAt: number) =>
    MapParams({
      program: programAt,
      inputs: inputs.length,
      outs: results.length,
      numbers: numbers.length,
      items: itemsAt,
    });
  const microseconds = (elements * Math.max(1, work)) / ELEMENTS_PER_MICROSECOND;
  const phases = [{ kernel: 'map', tasks }];
  if (items.length === 1) {
    return {
      jobs: (_, addressOf) => [
        { phases, params: [...params(addressOf(program), 0), ...numbers, ...described], microseconds },
      ],
    };
  }
  return {
    bytes: { items: 8 * described.length },
    jobs({ items: at }, addressOf) {
      new Float64Array(memory.buffer, at, described.length).set(described);
      return [{ phases, params: [...params(addressOf(program), at as number), ...numbers], microseconds }];
    },
  };
}

/** Words of 32 bits go by the code of f32. */
const wordsOf = (dtype: DType) => (dtype === 'i32' ? F32 : codeOf(dtype));

export interface ItemOptions {
  /** Of the results; by default that of the inputs. */
  readonly dtype?: DType | undefined;
  /** What the inputs and results of an item are called in messages. */
  readonly names: (item: number) => { readonly inputs: readonly string[]; readonly outs: readonly string[] };
  /** Where results go, by item. */
  readonly outs?: readonly (readonly (Tensor | undefined)[])[] | undefined;
}

const DTYPES: readonly DType[] = ['f32', 'f16', 'bf16', 'i32'];

/** The results of `fn` for each item: its tensors, which are usable ones of a common runtime. */
export function mapItems(
  fn: ElementwiseFunction,
  items: readonly (readonly Tensor[])[],
  numbers: readonly number[],
  { dtype, names, outs }: ItemOptions,
  control: Control,
): readonly (readonly Tensor[])[] {
  const inputs: Record<string, Tensor> = {};
  const specs: Record<string, ResultSpec> = {};
  const written = new Map<string, Tensor>();
  let compiled: Compiled | undefined;
  for (const [at, tensors] of items.entries()) {
    const called = names(at);
    tensors.forEach((tensor, input) => {
      inputs[called.inputs[input] as string] = tensor;
    });
    const common = commonDType(called.inputs, tensors, dtype);
    const forItem = compiledFor(fn, tensors, numbers, dtype);
    compiled ??= forItem;
    if (forItem !== compiled)
      throw new DTypeError(
        `${called.inputs.join(', ')} must be floats or integers as those of the first item, got ${tensors.map((x) => x.dtype).join(', ')}`,
      );
    const shape = broadcastShape(called.inputs, tensors);
    forItem.results.forEach(({ type }, result) => {
      const name = called.outs[result] as string;
      const resultType = dtype ?? (type === 'integer' ? 'i32' : common === 'i32' ? 'f32' : common);
      const given = outs?.[at]?.[result];
      if (given && tensors.some((x) => isSameView(given, x))) written.set(name, given);
      specs[name] = { shape, dtype: resultType as DType, given };
    });
  }
  if (written.size > 0) checkInPlace(written, specs, items, names);
  const fresh = Object.fromEntries(Object.entries(specs).filter(([name]) => !written.has(name)));
  const call = (results: Record<string, Tensor>): MapCall => ({
    function: fn,
    compiled: compiled as Compiled,
    numbers,
    items: items.map((tensors, at) => {
      const outs = names(at).outs.map((name) => (written.get(name) ?? results[name]) as Tensor);
      const { shape } = outs[0] as Tensor;
      return { inputs: tensors.map((x) => broadcast(x, shape)), outs };
    }),
  });
  const results = compute(op, inputs, fresh, call, control, {
    written: [...written.values()],
    derivative: derivativeOf(fn, items, numbers, names),
  });
  return items.map((_, at) => names(at).outs.map((name) => (written.get(name) ?? results[name]) as Tensor));
}

const OUT = ['out'];

/** The result of a function that has one, of f32 tensors by name. */
export function mapOne(
  fn: ElementwiseFunction,
  inputs: Readonly<Record<string, Tensor>>,
  options: ResultOptions = {},
): Tensor<'f32'> {
  const names = { inputs: Object.keys(inputs), outs: OUT };
  const results = mapItems(fn, [Object.values(inputs)], [], { names: () => names, outs: [[options.out]] }, options);
  return results[0]?.[0] as Tensor<'f32'>;
}

/** That of the inputs of an item, or the one that is asked for. */
function commonDType(names: readonly string[], tensors: readonly Tensor[], dtype: DType | undefined): DType {
  const [first] = tensors as [Tensor];
  for (const [at, tensor] of tensors.entries()) {
    if (!DTYPES.includes(tensor.dtype))
      throw new DTypeError(`${names[at]} must be ${DTYPES.join(', ')}, got ${tensor.dtype}`);
    if (dtype === undefined && tensor.dtype !== first.dtype)
      throw new DTypeError(
        `${names[0]} is ${first.dtype} and ${names[at]} ${tensor.dtype}: say what the results are to be, such as { dtype: 'f32' }`,
      );
  }
  return dtype ?? first.dtype;
}

/** The function for these inputs; numbers are integers where all else is. */
function compiledFor(
  fn: ElementwiseFunction,
  tensors: readonly Tensor[],
  numbers: readonly number[],
  dtype: DType | undefined,
): Compiled {
  const kinds = tensors.map((x): Kind => (x.dtype === 'i32' ? 'integer' : 'float'));
  const areIntegers = !kinds.includes('float');
  const ofNumbers = numbers.map((x): Kind => (areIntegers && Object.is(x | 0, x) ? 'integer' : 'float'));
  const results = dtype === 'i32' ? 'integer' : dtype === undefined && areIntegers ? undefined : 'float';
  return fn.compiled(kinds, ofNumbers, results);
}

const isSameView = (a: Tensor, b: Tensor) =>
  a.storage === b.storage &&
  a.offset === b.offset &&
  a.dtype === b.dtype &&
  sameShape(a.shape, b.shape) &&
  sameShape(a.strides, b.strides);

/** Throws unless each result that goes where an input of its item lies fits there and meets nothing else. */
function checkInPlace(
  written: ReadonlyMap<string, Tensor>,
  specs: Readonly<Record<string, ResultSpec>>,
  items: readonly (readonly Tensor[])[],
  names: ItemOptions['names'],
): void {
  for (const [at, _tensors] of items.entries()) {
    for (const name of names(at).outs) {
      const out = written.get(name);
      if (!out) continue;
      const { shape, dtype } = specs[name] as ResultSpec;
      checkOut(name, out, shape, dtype, {});
      for (const [other, inputs] of items.entries()) {
        inputs.forEach((x, input) => {
          if (overlaps(out, x) && !(other === at && isSameView(out, x)))
            throw new ParameterError(
              `${name} overlaps ${names(other).inputs[input]} otherwise than exactly: pass a tensor of its own`,
            );
        });
      }
      for (const [other, { given }] of Object.entries(specs)) {
        if (given && other !== name && overlaps(out, given))
          throw new ParameterError(`${name} shares memory with ${other}: pass a tensor of its own`);
      }
    }
  }
}

function derivativeOf(
  fn: ElementwiseFunction,
  items: readonly (readonly Tensor[])[],
  numbers: readonly number[],
  names: ItemOptions['names'],
): Derivative {
  const inputsOf = (wanted: ReadonlySet<string>, item: number) =>
    names(item).inputs.flatMap((name, input) => (wanted.has(name) ? [input] : []));
  return {
    saves: (wanted) =>
      items.flatMap((_, at) => {
        const { inputs } = fn.gradient(inputsOf(wanted, at), [...fn.results.keys()]);
        return inputs.map((input) => names(at).inputs[input] as string);
      }),
    gradients(saved, gradients, wanted, control) {
      const found: Record<string, Tensor> = {};
      for (const [at] of items.entries()) {
        const { inputs, outs } = names(at);
        const ofItem = inputsOf(wanted, at);
        const present = outs.flatMap((name, out) => (gradients[name] ? [out] : []));
        if (ofItem.length === 0 || present.length === 0) continue;
        const gradient = fn.gradient(ofItem, present);
        const given = [
          ...gradient.inputs.map((input) => saved[inputs[input] as string] as Tensor),
          ...gradient.gradients.map((out) => gradients[outs[out] as string] as Tensor),
        ];
        const called = {
          inputs: given.map((_, each) => `x${each}`),
          outs: gradient.wanted.map((each) => `gradient ${each}`),
        };
        const options = { dtype: 'f32', names: () => called } as const;
        const [results] =
          gradient.wanted.length > 0 ? mapItems(gradient.function, [given], numbers, options, control) : [[]];
        const place = (input: number, result: Tensor) => {
          const { shape } = (items[at] as readonly Tensor[])[input] as Tensor;
          const axes = repeatedAxes(shape, result.shape);
          found[inputs[input] as string] = axes.length > 0 ? sum(result, { axes }).reshape(shape) : result;
        };
        for (const { input, result } of gradient.same) place(input, gradients[outs[result] as string] as Tensor);
        gradient.wanted.forEach((input, each) => {
          place(input, results?.[each] as Tensor);
        });
      }
      return found;
    },
  };
}
