/** Networks of convolutions in float64, in plain loops, with gradients: each operation says how its result's gradient goes on. */
import { type HostTensor, toFloat64 } from '../../tensor/host';
import { type Shape, sizeOf } from '../../tensor/shape';
import { add, at, tensor, type Wide } from '../reference';

/** Numbers, and the gradient that has reached them. */
export interface Traced {
  readonly shape: Shape;
  readonly data: Float64Array;
  readonly gradient: Float64Array;
}

interface Convolution {
  /** Zeros on both sides of rows and of columns. */
  readonly padding?: readonly [rows: number, columns: number];
  readonly dilation?: readonly [rows: number, columns: number];
  readonly groups?: number;
}

/** Operations in their order; `pull` takes gradients back through them. */
export class Trace {
  readonly #steps: (() => void)[] = [];

  input = (x: HostTensor): Traced => made(x.shape, Float64Array.from(toFloat64(x)));

  pull(out: Traced, gradOut: HostTensor): void {
    out.gradient.set(toFloat64(gradOut));
    for (const step of [...this.#steps].reverse()) step();
  }

  /** An element of the result from those of the inputs, whose axes of extent 1 repeat, and its slope by each. */
  map(
    value: (...x: readonly number[]) => number,
    slopes: readonly ((...x: readonly number[]) => number)[],
    ...inputs: readonly Traced[]
  ): Traced {
    const shape = [...(inputs[0] as Traced).shape.keys()].map((axis) =>
      Math.max(...inputs.map((x) => x.shape[axis] as number)),
    );
    const out = made(shape, new Float64Array(sizeOf(shape)));
    const places = inputs.map((x) => placesIn(x.shape, shape));
    const values = (i: number) => inputs.map((x, at) => x.data[places[at]?.[i] as number] as number);
    for (let i = 0; i < out.data.length; i++) out.data[i] = value(...values(i));
    this.#steps.push(() => {
      for (let i = 0; i < out.data.length; i++) {
        const given = values(i);
        for (const [which, x] of inputs.entries())
          add(x.gradient, places[which]?.[i] as number, at(out.gradient, i) * (slopes[which]?.(...given) as number));
      }
    });
    return out;
  }

  add = (x: Traced, y: Traced): Traced => this.map((a = 0, b = 0) => a + b, [() => 1, () => 1], x, y);
  multiply = (x: Traced, y: Traced): Traced => this.map((a = 0, b = 0) => a * b, [(_, b = 0) => b, (a = 0) => a], x, y);
  relu = (x: Traced): Traced => this.map((a = 0) => Math.max(a, 0), [(a = 0) => (a > 0 ? 1 : 0)], x);
  sigmoid = (x: Traced): Traced => this.map(sigmoid, [(a = 0) => sigmoid(a) * (1 - sigmoid(a))], x);

  /** The mean over the axes that the result has once. */
  mean(x: Traced, shape: Shape): Traced {
    const out = made(shape, new Float64Array(sizeOf(shape)));
    const places = placesIn(shape, x.shape);
    const share = out.data.length / x.data.length;
    for (let i = 0; i < x.data.length; i++) add(out.data, places[i] as number, share * at(x.data, i));
    this.#steps.push(() => {
      for (let i = 0; i < x.data.length; i++) add(x.gradient, i, share * at(out.gradient, places[i] as number));
    });
    return out;
  }

  /** The largest along the axis that the result has once; the first of equal ones has the gradient. */
  max(x: Traced, shape: Shape): Traced {
    const out = made(shape, new Float64Array(sizeOf(shape)).fill(-Infinity));
    const places = placesIn(shape, x.shape);
    const from = new Int32Array(out.data.length);
    for (let i = 0; i < x.data.length; i++) {
      const place = places[i] as number;
      if (at(x.data, i) <= at(out.data, place)) continue;
      out.data[place] = at(x.data, i);
      from[place] = i;
    }
    this.#steps.push(() => {
      for (const [place, i] of from.entries()) add(x.gradient, i, at(out.gradient, place));
    });
    return out;
  }

  /** Maps [b, c, rows, columns] one behind the other along c. */
  concat(...parts: readonly Traced[]): Traced {
    const [b, , rows, columns] = (parts[0] as Traced).shape as [number, number, number, number];
    const channels = parts.map(({ shape }) => shape[1] as number);
    const total = channels.reduce((sum, each) => sum + each, 0);
    const out = made([b, total, rows, columns], new Float64Array(b * total * rows * columns));
    const each = (move: (part: Traced, i: number, to: number) => void) => {
      for (let picture = 0; picture < b; picture++) {
        let to = picture * total * rows * columns;
        for (const [which, part] of parts.entries()) {
          const size = (channels[which] as number) * rows * columns;
          for (let i = 0; i < size; i++, to++) move(part, picture * size + i, to);
        }
      }
    };
    each((part, i, to) => {
      out.data[to] = at(part.data, i);
    });
    this.#steps.push(() => each((part, i, to) => add(part.gradient, i, at(out.gradient, to))));
    return out;
  }

  /** Channel `which` of maps [b, c, rows, columns], as the only one. */
  channel(x: Traced, which: number): Traced {
    const [b, c, rows, columns] = x.shape as [number, number, number, number];
    const size = rows * columns;
    const placeOf = (i: number) => (Math.floor(i / size) * c + which) * size + (i % size);
    const out = made(
      [b, 1, rows, columns],
      Float64Array.from({ length: b * size }, (_, i) => at(x.data, placeOf(i))),
    );
    this.#steps.push(() => {
      for (let i = 0; i < out.data.length; i++) add(x.gradient, placeOf(i), at(out.gradient, i));
    });
    return out;
  }

  /** x [b, c, rows, columns] with kernels [o, c / groups, u, v] -> [b, o, ...]. */
  conv(
    x: Traced,
    weight: Traced,
    bias: Traced | undefined,
    { padding = [0, 0], dilation = [1, 1], groups = 1 }: Convolution = {},
  ): Traced {
    const [b, c, rows, columns] = x.shape as [number, number, number, number];
    const [o, inputs, tall, wide] = weight.shape as [number, number, number, number];
    const height = rows + 2 * padding[0] - (tall - 1) * dilation[0];
    const width = columns + 2 * padding[1] - (wide - 1) * dilation[1];
    const out = made([b, o, height, width], new Float64Array(b * o * height * width));
    const each = (visit: (to: number, from: number, tap: number) => void) => {
      for (let to = 0; to < out.data.length; to++) {
        const [left, top] = [to % width, Math.floor(to / width) % height];
        const channel = Math.floor(to / width / height) % o;
        const picture = Math.floor(to / width / height / o);
        const group = Math.floor((channel * groups) / o);
        for (let i = 0; i < inputs; i++)
          for (let u = 0; u < tall; u++)
            for (let v = 0; v < wide; v++) {
              const row = top + u * dilation[0] - padding[0];
              const column = left + v * dilation[1] - padding[1];
              if (row < 0 || row >= rows || column < 0 || column >= columns) continue;
              const from = ((picture * c + group * inputs + i) * rows + row) * columns + column;
              visit(to, from, ((channel * inputs + i) * tall + u) * wide + v);
            }
      }
    };
    const channelOf = (to: number) => Math.floor(to / width / height) % o;
    if (bias) for (let to = 0; to < out.data.length; to++) out.data[to] = at(bias.data, channelOf(to));
    each((to, from, tap) => add(out.data, to, at(x.data, from) * at(weight.data, tap)));
    this.#steps.push(() => {
      if (bias) for (let to = 0; to < out.data.length; to++) add(bias.gradient, channelOf(to), at(out.gradient, to));
      each((to, from, tap) => {
        add(x.gradient, from, at(out.gradient, to) * at(weight.data, tap));
        add(weight.gradient, tap, at(out.gradient, to) * at(x.data, from));
      });
    });
    return out;
  }

  /** Batch normalisation of maps by given statistics. */
  batchNorm(x: Traced, gain: Traced, bias: Traced, mean: Traced, variance: Traced): Traced {
    const seen = (y: Traced): Traced => ({ ...y, shape: [1, y.data.length, 1, 1] });
    const scale = (v = 0) => 1 / Math.sqrt(v + EPSILON);
    return this.map(
      (a = 0, g = 0, c = 0, m = 0, v = 0) => (a - m) * scale(v) * g + c,
      [
        (_a, g = 0, _c, _m, v) => scale(v) * g,
        (a = 0, _g, _c, m = 0, v) => (a - m) * scale(v),
        () => 1,
        (_a, g = 0, _c, _m, v) => -scale(v) * g,
        (a = 0, g = 0, _c, m = 0, v) => -0.5 * (a - m) * g * scale(v) ** 3,
      ],
      x,
      seen(gain),
      seen(bias),
      seen(mean),
      seen(variance),
    );
  }
}

/** The default of batch normalisation in PyTorch. */
export const EPSILON = 1e-5;

const sigmoid = (a = 0) => 1 / (1 + Math.exp(-a));

const made = (shape: Shape, data: Float64Array): Traced => ({ shape, data, gradient: new Float64Array(data.length) });

/** For each element of `whole` its place in `part`, whose axes of extent 1 repeat. */
function placesIn(part: Shape, whole: Shape): Int32Array {
  return Int32Array.from({ length: sizeOf(whole) }, (_, i) => {
    let [place, step, rest] = [0, 1, i];
    for (let axis = whole.length - 1; axis >= 0; axis--) {
      const index = rest % (whole[axis] as number);
      rest = Math.floor(rest / (whole[axis] as number));
      const extent = part[axis] as number;
      place += extent === 1 ? 0 : index * step;
      step *= extent;
    }
    return place;
  });
}

const wide = ({ data, shape }: Traced): Wide => tensor(data, shape);

/** Results by name, and the gradients with respect to these inputs if there is one with respect to `out`. */
export function resultsOf(
  trace: Trace,
  results: { readonly out: Traced } & Readonly<Record<string, Traced>>,
  inputs: Readonly<Record<string, Traced>>,
  gradOut: HostTensor | undefined,
): Record<string, HostTensor<'f64'>> {
  const found: Record<string, Wide> = Object.fromEntries(
    Object.entries(results).map(([name, each]) => [name, wide(each)]),
  );
  if (!gradOut) return found;
  trace.pull(results.out, gradOut);
  for (const [name, { gradient, shape }] of Object.entries(inputs)) found[`grad_${name}`] = tensor(gradient, shape);
  return found;
}
