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
import { scatterAdd } from '../scatter-add';
import { axesOf, broadcast, broadcastShape, repeatedAxes } from './broadcast';
import type { Item, MapCall } from './call';
import type { Compiled, Derived, ElementwiseFunction, Kind } from './function';
import { add } from './index';
import { MapItem, MapOperand, MapParams, MapTensor, RUN } from './params.generated';

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

function planMap({ compiled, numbers, tensors, items }: MapCall, { memory }: Machine): Plan {
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
      tensors: tensors.length,
      items: itemsAt,
    });
  const captured = tensors.flatMap((x) =>
    MapTensor({ address: address(x), size: x.size, outside: x.dtype === 'f32' ? NAN_BITS : 0 }),
  );
  const given = [...numbers, ...captured];
  const microseconds = (elements * Math.max(1, work)) / ELEMENTS_PER_MICROSECOND;
  const phases = [{ kernel: 'map', tasks }];
  if (items.length === 1) {
    return {
      jobs: (_, addressOf) => [
        { phases, params: [...params(addressOf(program), 0), ...given, ...described], microseconds },
      ],
    };
  }
  return {
    bytes: { items: 8 * described.length },
    jobs({ items: at }, addressOf) {
      new Float64Array(memory.buffer, at, described.length).set(described);
      return [{ phases, params: [...params(addressOf(program), at as number), ...given], microseconds }];
    },
  };
}

/** Words of 32 bits go by the code of f32. */
const wordsOf = (dtype: DType) => (dtype === 'i32' ? F32 : codeOf(dtype));

const NAN_BITS = 0x7fc00000;

export interface ItemOptions {
  /** Of the results; by default that of the inputs. */
  readonly dtype?: DType | undefined;
  /** What the inputs and results of an item are called in messages. */
  readonly names: (item: number) => { readonly inputs: readonly string[]; readonly outs: readonly string[] };
  /** Where results go, by item. */
  readonly outs?: readonly (readonly (Tensor | undefined)[])[] | undefined;
  /** What the function captured, by what messages call it: contiguous, f32 or i32. */
  readonly tensors?: Readonly<Record<string, Tensor>>;
  /** Of the numbers; default: integers where these and all inputs are. */
  readonly numberKinds?: readonly Kind[];
}

const DTYPES: readonly DType[] = ['f32', 'f16', 'bf16', 'i32'];

/** The results of `fn` for each item: its tensors, which are usable ones of a common runtime. */
export function mapItems(
  fn: ElementwiseFunction,
  items: readonly (readonly Tensor[])[],
  numbers: readonly number[],
  { dtype, names, outs, tensors: captured = {}, numberKinds }: ItemOptions,
  control: Control,
): readonly (readonly Tensor[])[] {
  const inputs: Record<string, Tensor> = { ...captured };
  const capturedKinds = Object.values(captured).map(kindOf);
  const specs: Record<string, ResultSpec> = {};
  const written = new Map<string, Tensor>();
  const ofNumbers = numberKinds ?? kindsOfNumbers(numbers, items[0] as readonly Tensor[]);
  let compiled: Compiled | undefined;
  for (const [at, tensors] of items.entries()) {
    const called = names(at);
    tensors.forEach((tensor, input) => {
      inputs[called.inputs[input] as string] = tensor;
    });
    const common = commonDType(called.inputs, tensors, dtype);
    const kinds = tensors.map(kindOf);
    const resultKind = dtype === 'i32' ? 'integer' : dtype || kinds.includes('float') ? 'float' : undefined;
    const forItem = fn.compiled(kinds, ofNumbers, resultKind, capturedKinds);
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
  if (written.size > 0) checkInPlace(written, specs, items, names, captured);
  const fresh = Object.fromEntries(Object.entries(specs).filter(([name]) => !written.has(name)));
  const call = (results: Record<string, Tensor>): MapCall => ({
    function: fn,
    compiled: compiled as Compiled,
    numbers,
    tensors: Object.values(captured),
    items: items.map((tensors, at) => {
      const outs = names(at).outs.map((name) => (written.get(name) ?? results[name]) as Tensor);
      const { shape } = outs[0] as Tensor;
      return { inputs: tensors.map((x) => broadcast(x, shape)), outs };
    }),
  });
  const results = compute(op, inputs, fresh, call, control, {
    written: [...written.values()],
    derivative: derivativeOf(fn, items, numbers, ofNumbers, names, captured),
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

const kindOf = ({ dtype }: Tensor): Kind => (dtype === 'i32' ? 'integer' : 'float');

/** Numbers are integers where all inputs are. */
function kindsOfNumbers(numbers: readonly number[], inputs: readonly Tensor[]): readonly Kind[] {
  const areIntegers = inputs.every((x) => x.dtype === 'i32');
  return numbers.map((x) => (areIntegers && Object.is(x | 0, x) ? 'integer' : 'float'));
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
  captured: Readonly<Record<string, Tensor>>,
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
      for (const [tensor, x] of Object.entries(captured)) {
        if (overlaps(out, x)) throw new ParameterError(`${name} overlaps ${tensor}: pass a tensor of its own`);
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
  numberKinds: readonly Kind[],
  names: ItemOptions['names'],
  captured: Readonly<Record<string, Tensor>>,
): Derivative {
  const tensorNames = Object.keys(captured);
  const placesOf = (wanted: ReadonlySet<string>, all: readonly string[]) =>
    all.flatMap((name, place) => (wanted.has(name) ? [place] : []));
  const gradientOf = (wanted: ReadonlySet<string>, item: number, results: readonly number[]) =>
    fn.gradient(placesOf(wanted, names(item).inputs), results, placesOf(wanted, tensorNames));
  return {
    saves: (wanted) =>
      items.flatMap((_, at) => {
        const { elements, lookups } = gradientOf(wanted, at, [...fn.results.keys()]);
        return [elements, ...lookups.flatMap(({ index, term }) => [index, term])].flatMap(({ inputs, tensors }) => [
          ...inputs.map((input) => names(at).inputs[input] as string),
          ...tensors.map((tensor) => tensorNames[tensor] as string),
        ]);
      }),
    gradients(saved, gradients, wanted, control) {
      const found: Record<string, Tensor> = {};
      for (const [at] of items.entries()) {
        const { inputs, outs } = names(at);
        const present = outs.flatMap((name, out) => (gradients[name] ? [out] : []));
        if (present.length === 0) continue;
        const { same, elements, wanted: moved, lookups } = gradientOf(wanted, at, present);
        const resultsOf = (derived: Derived, dtype: DType, own: readonly number[] = []): readonly Tensor[] => {
          const given = [
            ...derived.inputs.map((input) => saved[inputs[input] as string] as Tensor),
            ...derived.gradients.map((out) => gradients[outs[out] as string] as Tensor),
          ];
          const called = {
            inputs: given.map((_, each) => `x${each}`),
            outs: derived.function.results.map((_, each) => `gradient ${each}`),
          };
          const tensors = Object.fromEntries(
            derived.tensors.map((tensor) => {
              const name = tensorNames[tensor] as string;
              return [name, saved[name] as Tensor];
            }),
          );
          const kinds = [...own.map((): Kind => 'integer'), ...numberKinds];
          const options = { dtype, names: () => called, tensors, numberKinds: kinds };
          return mapItems(derived.function, [given], [...own, ...numbers], options, control)[0] as readonly Tensor[];
        };
        const place = (input: number, result: Tensor) => {
          const { shape } = (items[at] as readonly Tensor[])[input] as Tensor;
          const axes = repeatedAxes(shape, result.shape);
          found[inputs[input] as string] = axes.length > 0 ? sum(result, { axes }).reshape(shape) : result;
        };
        for (const { input, result } of same) place(input, gradients[outs[result] as string] as Tensor);
        const results = moved.length > 0 ? resultsOf(elements, 'f32') : [];
        moved.forEach((input, each) => {
          place(input, results[each] as Tensor);
        });
        for (const { tensor, index, term } of lookups) {
          const name = tensorNames[tensor] as string;
          const { size, shape } = captured[name] as Tensor;
          const [terms] = resultsOf(term, 'f32') as [Tensor];
          const [indices] = resultsOf(index, 'i32', [size]) as [Tensor];
          if (terms.size === 0) continue;
          // A row more, for indices outside.
          const sums = scatterAdd(terms.reshape([terms.size, 1]), indices.reshape([terms.size]), size + 1, control);
          const gradient = sums.slice(0, 0, size).reshape(shape);
          const before = found[name];
          found[name] = before ? add(before, gradient, control) : gradient;
        }
      }
      return found;
    },
  };
}
