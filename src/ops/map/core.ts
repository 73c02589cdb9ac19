/** Calls of functions of elements. */
import { DTypeError, ParameterError } from '../../errors';
import { apply } from '../../expressions/expression';
import type { Value } from '../../expressions/typed';
import { groupBy } from '../../group-by';
import type { Control } from '../../runtime/backend';
import { address, codeOf, ELEMENTS_PER_MICROSECOND, F32, type Machine, type Plan } from '../../runtime/cpu/plan';
import type { Op } from '../../runtime/op';
import type { DType } from '../../tensor/dtype';
import { type Shape, sameShape, sizeOf } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { checkOut, checkOutsApart, memoryOf, overlaps } from '../check';
import { compute, type ResultSpec } from '../compute';
import type { ResultOptions } from '../float32';
import { reduce } from '../reduce/core';
import { addRows } from '../scatter-add/core';
import { axesOf, broadcast, commonShape, repeatedAxes } from './broadcast';
import type { Item, MapCall } from './call';
import { type Compiled, type Derived, ElementwiseFunction, element, type Kind, once } from './function';
import { kernels, MapItem, MapParams, MapTensor, RUN } from './params.generated';

const op: Op<MapCall> = {
  name: 'map',
  reference: async () => (await import('./reference')).map,
  kernels,
  cpu: planMap,
  native: 'map',
  webgpu: async () => (await import('./webgpu')).planMap,
};

function planMap(call: MapCall, { memory }: Machine): Plan {
  const { compiled, numbers, tensors, items } = call;
  const isOne = items.length === 1;
  const { params: described, tasks, elements } = describe(items);
  const microseconds = (elements * Math.max(1, compiled.work)) / ELEMENTS_PER_MICROSECOND;
  return {
    ...(isOne ? {} : { bytes: { items: 8 * described.length } }),
    interprets: true,
    jobs({ items: at = 0 }, addressOf) {
      const [{ inputs, outs }] = items as [Item];
      const program = addressOf(compiled.program);
      const counts = {
        inputs: inputs.length,
        outs: outs.length,
        numbers: numbers.length,
        tensors: tensors.length,
      };
      const params = MapParams({ program, ...counts, items: at });
      for (const value of numbers) params.push(value);
      for (const x of tensors)
        params.push(...MapTensor({ address: address(x), size: x.size, outside: x.dtype === 'f32' ? NAN_BITS : 0 }));
      if (isOne) for (const value of described) params.push(value);
      else new Float64Array(memory.buffer, at, described.length).set(described);
      return [{ phases: [{ kernel: 'map', tasks }], params, microseconds }];
    },
  };
}

const NAN_BITS = 0x7fc00000;

/** The items as the kernel reads them. */
function describe(items: readonly Item[]) {
  const params: number[] = [];
  let [tasks, elements] = [0, 0];
  for (const { inputs, outs } of items) {
    const { size, shape } = outs[0] as Tensor;
    const axes = axesOf(inputs, shape);
    tasks += Math.ceil(size / RUN);
    elements += size;
    const bytes = 8 * (4 + 2 * (inputs.length + outs.length) + axes.length * (1 + inputs.length));
    params.push(...MapItem({ pastTask: tasks, size, axes: axes.length, bytes }));
    for (const x of inputs) params.push(address(x as Tensor), wordsOf(x.dtype));
    for (const x of outs) params.push(address(x), wordsOf(x.dtype));
    for (const { extent, strides } of axes) params.push(extent, ...strides);
  }
  return { params, tasks, elements };
}

/** Words of 32 bits go by the code of f32. */
const wordsOf = (dtype: DType) => (dtype === 'i32' ? F32 : codeOf(dtype));

export interface ItemOptions {
  /** The element type of the results; by default that of the inputs. */
  readonly dtype?: DType | undefined;
  /** What the inputs and results of an item are called in messages. */
  readonly names: (item: number) => { readonly inputs: readonly string[]; readonly outs: readonly string[] };
  /** Where results go, by item. */
  readonly outs?: readonly (readonly (Tensor | undefined)[])[] | undefined;
  /** What the function captured, by what messages call it: contiguous, f32 or i32. */
  readonly tensors?: Readonly<Record<string, Tensor>>;
  /** The kinds of the numbers; by default integers where these and all inputs are. */
  readonly numberKinds?: readonly Kind[];
}

const DTYPES: readonly DType[] = ['f32', 'f16', 'bf16', 'i32'];

/** The results of `fn` for each item: its tensors, which are usable ones of a common runtime. */
export function mapItems(
  fn: ElementwiseFunction,
  items: readonly (readonly Tensor[])[],
  numbers: readonly number[],
  { dtype, names, outs, tensors: captured = NOTHING, numberKinds }: ItemOptions,
  control: Control,
): readonly (readonly Tensor[])[] {
  const inputs: Record<string, Tensor> = { ...captured };
  const ofTensors = Object.values(captured);
  const ofNumbers = numberKinds ?? kindsOfNumbers(numbers, items[0] as readonly Tensor[]);
  const specs: Record<string, ResultSpec> = {};
  const written: Record<string, ResultSpec> = {};
  const over: Tensor[] = [];
  let compiled: Compiled | undefined;
  for (let at = 0; at < items.length; at++) {
    const tensors = items[at] as readonly Tensor[];
    const called = names(at);
    for (let input = 0; input < tensors.length; input++)
      inputs[called.inputs[input] as string] = tensors[input] as Tensor;
    const common = commonDType(called.inputs, tensors, dtype);
    const own = compiledFor(fn, tensors, ofNumbers, ofTensors, dtype);
    compiled ??= own;
    if (own !== compiled)
      throw new DTypeError(
        `${called.inputs.join(', ')} must be floats or integers as before them in their lists, got ${tensors.map((x) => x.dtype).join(', ')}`,
      );
    const shape = commonShape(called.inputs, tensors);
    for (let result = 0; result < own.results.length; result++) {
      const isInteger = (own.results[result] as Value).type === 'integer';
      const given = outs?.[at]?.[result];
      const spec = { shape, dtype: dtype ?? (common === 'i32' && !isInteger ? 'f32' : common), given };
      const name = called.outs[result] as string;
      if (given && tensors.some((x) => isSameView(given, x))) {
        written[name] = spec;
        over.push(given);
      } else specs[name] = spec;
    }
  }
  if (over.length > 0) checkInPlace(written, specs, items, names, captured);
  const resultsOf = (fresh: Record<string, Tensor>, at: number) =>
    names(at).outs.map((name) => fresh[name] ?? (written[name]?.given as Tensor));
  const call = (fresh: Record<string, Tensor>): MapCall => ({
    function: fn,
    compiled: compiled as Compiled,
    numbers,
    tensors: ofTensors,
    items: items.map((tensors, at) => {
      const results = resultsOf(fresh, at);
      const { shape } = results[0] as Tensor;
      return { inputs: tensors.map((x) => broadcast(x, shape)), outs: results };
    }),
  });
  const isTracked = Object.values(inputs).some(({ variable }) => variable);
  const derivative = isTracked ? derivativeOf(fn, items, numbers, ofNumbers, names, captured) : undefined;
  const fresh = compute(op, inputs, specs, call, control, { written: over, derivative });
  return items.map((_, at) => resultsOf(fresh, at));
}

const plus = once(() => new ElementwiseFunction('add', 2, [apply('add', element(0), element(1))]));

const NOTHING = {};
const OUT = ['out'];

/** The result of a function that has one, of f32 tensors by name. */
export function mapOne(
  fn: ElementwiseFunction,
  inputs: Readonly<Record<string, Tensor>>,
  options: ResultOptions = {},
): Tensor<'f32'> {
  const [called, tensors] = [Object.keys(inputs), Object.values(inputs)];
  const names = () => ({ inputs: called, outs: OUT });
  const { out: given } = options;
  let [isPlain, isTracked] = [true, false];
  for (const x of tensors) {
    if (x.dtype !== 'f32' || x.storage === given?.storage) isPlain = false;
    if (x.variable) isTracked = true;
  }
  if (!isPlain) return mapItems(fn, [tensors], [], { names, outs: [[given]] }, options)[0]?.[0] as Tensor<'f32'>;
  // Most calls are small ones of floats, whose time is that of what comes before kernels.
  const shape = commonShape(called, tensors);
  const call = ({ out }: { out: Tensor }): MapCall => ({
    function: fn,
    compiled: fn.ofFloats,
    numbers: [],
    tensors: [],
    items: [{ inputs: tensors.map((x) => broadcast(x, shape)), outs: [out] }],
  });
  const derivative = isTracked ? derivativeOf(fn, [tensors], [], [], names, NOTHING) : undefined;
  return compute(
    op,
    inputs,
    { out: { shape, dtype: 'f32', given } },
    call,
    options,
    derivative ? { derivative } : undefined,
  ).out as Tensor<'f32'>;
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

/** The function for these inputs, numbers and captured tensors. */
function compiledFor(
  fn: ElementwiseFunction,
  inputs: readonly Tensor[],
  numbers: readonly Kind[],
  tensors: readonly Tensor[],
  dtype: DType | undefined,
): Compiled {
  // By far the most calls.
  if (numbers.length === 0 && tensors.length === 0 && dtype !== 'i32' && !inputs.some((x) => x.dtype === 'i32'))
    return fn.ofFloats;
  const kinds = inputs.map(kindOf);
  const results = dtype === 'i32' ? 'integer' : dtype || kinds.includes('float') ? 'float' : undefined;
  return fn.compiled(kinds, numbers, results, tensors.map(kindOf));
}

const isSameView = (a: Tensor, b: Tensor) =>
  a.storage === b.storage &&
  a.offset === b.offset &&
  a.dtype === b.dtype &&
  sameShape(a.shape, b.shape) &&
  sameShape(a.strides, b.strides);

/** Throws unless each result that goes where an input of its item lies fits there and meets nothing else. */
function checkInPlace(
  written: Readonly<Record<string, ResultSpec>>,
  others: Readonly<Record<string, ResultSpec>>,
  items: readonly (readonly Tensor[])[],
  names: ItemOptions['names'],
  captured: Readonly<Record<string, Tensor>>,
): void {
  const results = Object.entries({ ...others, ...written }).flatMap(([name, { given }]) =>
    given ? [[name, given] as const] : [],
  );
  const read = items.flatMap((inputs, item) => inputs.map((x, input) => ({ x, item, input })));
  const near = groupBy(read, ({ x }) => memoryOf(x));
  items.forEach((_, at) => {
    for (const name of names(at).outs) {
      const { given: out, shape, dtype } = written[name] ?? {};
      if (!out) continue;
      checkOut(name, out, shape as Shape, dtype as DType, {});
      for (const [tensor, x] of Object.entries(captured))
        if (overlaps(out, x)) throw new ParameterError(`${name} overlaps ${tensor}: pass a tensor of its own`);
      for (const { x, item, input } of near.get(memoryOf(out)) ?? [])
        if (overlaps(out, x) && !(item === at && isSameView(out, x)))
          throw new ParameterError(
            `${name} overlaps ${names(item).inputs[input]} otherwise than exactly: pass a tensor of its own`,
          );
    }
  });
  checkOutsApart(results);
}

/**
 * One map for all gradients with respect to the inputs of an item, and their sums over the axes along which one was repeated;
 * for each place where a captured tensor is looked up, the map of its indices, that of its terms, and the sums of these.
 */
function derivativeOf(
  fn: ElementwiseFunction,
  items: readonly (readonly Tensor[])[],
  numbers: readonly number[],
  numberKinds: readonly Kind[],
  names: ItemOptions['names'],
  captured: Readonly<Record<string, Tensor>>,
): Derivative {
  const shapes = items.map((tensors) => tensors.map(({ shape }) => shape));
  const tensorNames = Object.keys(captured);
  const tensorShapes = Object.values(captured).map(({ shape }) => shape);
  const placesOf = (wanted: ReadonlySet<string>, all: readonly string[]) =>
    all.flatMap((name, place) => (wanted.has(name) ? [place] : []));
  const gradientOf = (wanted: ReadonlySet<string>, item: number, results: readonly number[]) =>
    fn.gradient(placesOf(wanted, names(item).inputs), results, placesOf(wanted, tensorNames));
  return {
    saves: (wanted) =>
      shapes.flatMap((_, at) => {
        const { elements, lookups } = gradientOf(wanted, at, [...fn.results.keys()]);
        return [elements, ...lookups.flatMap(({ index, term }) => [index, term])].flatMap(({ inputs, tensors }) => [
          ...inputs.map((input) => names(at).inputs[input] as string),
          ...tensors.map((tensor) => tensorNames[tensor] as string),
        ]);
      }),
    gradients(saved, gradients, wanted, control) {
      const found: Record<string, Tensor> = {};
      // What items share, or lookups, has a gradient from each.
      const addTo = (name: string, gradient: Tensor) => {
        const before = found[name];
        found[name] = before ? mapOne(plus(), { before, gradient }, control) : gradient;
      };
      shapes.forEach((ofInputs, at) => {
        const { inputs, outs } = names(at);
        const present = outs.flatMap((name, out) => (gradients[name] ? [out] : []));
        if (present.length === 0) return;
        const resultsOf = (of: Derived, dtype: DType, own: readonly number[] = []): readonly Tensor[] => {
          const given = [
            ...of.inputs.map((input) => saved[inputs[input] as string] as Tensor),
            ...of.gradients.map((out) => gradients[outs[out] as string] as Tensor),
          ];
          // What is the gradient of a result itself needs no map.
          const passed = of.function.results.map((result) =>
            'name' in result ? given[Number(result.name.slice(1))] : undefined,
          );
          if (!passed.includes(undefined)) return passed as Tensor[];
          // As most often.
          const isPlain = passed.length === 1 && of.tensors.length === 0 && own.length === 0 && numbers.length === 0;
          if (isPlain && given.every((x) => x.dtype === 'f32'))
            return [mapOne(of.function, Object.fromEntries(given.map((x, each) => [`x${each}`, x])), control)];
          const called = {
            inputs: given.map((_, each) => `x${each}`),
            outs: passed.map((_, each) => `gradient ${each}`),
          };
          const options = {
            dtype,
            names: () => called,
            tensors: Object.fromEntries(
              of.tensors.map((tensor) => [tensorNames[tensor], saved[tensorNames[tensor] as string] as Tensor]),
            ),
            numberKinds: [...own.map((): Kind => 'integer'), ...numberKinds],
          };
          const [mapped] = mapItems(of.function, [given], [...own, ...numbers], options, control);
          return passed.map((each, result) => each ?? (mapped?.[result] as Tensor));
        };
        const { elements, wanted: ofWanted, lookups } = gradientOf(wanted, at, present);
        const results = resultsOf(elements, 'f32');
        ofWanted.forEach((input, each) => {
          const shape = ofInputs[input] as Shape;
          const result = results[each] as Tensor;
          const axes = repeatedAxes(shape, result.shape);
          addTo(inputs[input] as string, axes.length > 0 ? reduce('sum', result, { axes }, {}).reshape(shape) : result);
        });
        for (const { tensor, index, term } of lookups) {
          const [name, shape] = [tensorNames[tensor] as string, tensorShapes[tensor] as Shape];
          const size = sizeOf(shape);
          const [terms] = resultsOf(term, 'f32') as [Tensor];
          const [indices] = resultsOf(index, 'i32', [size]) as [Tensor];
          if (terms.size === 0) continue;
          // A row more, for indices outside.
          const sums = addRows(terms.reshape([terms.size, 1]), indices.reshape([terms.size]), size + 1, control);
          addTo(name, sums.slice(0, 0, size).reshape(shape));
        }
      });
      return found;
    },
  };
}
