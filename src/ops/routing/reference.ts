/** Choices and powers of rows, and their gradients, in float64. */

import type { Host } from '../../runtime/op';
import type { Tensor } from '../../tensor/tensor';

/**
 * The entry of bank [u] at the largest of each row of logits, the first of equal ones -> out [r]. Logits are the products of
 * rows of x [r,c], and of y [r,e] beside it if there is one, with the router [c + e,u]; f32, contiguous.
 */
export interface RouteCall {
  readonly x: Tensor;
  readonly y?: Tensor | undefined;
  readonly router: Tensor;
  readonly bank: Tensor;
  readonly out: Tensor;
}

/** Straight through: to the logits as if out was the bank's mean under their softmax, to the bank as it is. */
export interface RouteBackwardCall extends Omit<RouteCall, 'out'> {
  readonly gradOut: Tensor;
  readonly gradX: Tensor;
  readonly gradY?: Tensor | undefined;
  readonly gradRouter: Tensor;
  readonly gradBank: Tensor;
}

/** Rows relu(x)^g of the length of relu(x), g = max(1, exponents [r]); x and out [r,c]; f32, contiguous. */
export interface FocusCall {
  readonly x: Tensor;
  readonly exponents: Tensor;
  readonly out: Tensor;
}

export interface FocusBackwardCall extends Pick<FocusCall, 'x' | 'exponents'> {
  readonly gradOut: Tensor;
  readonly gradX: Tensor;
  readonly gradExponents: Tensor;
}

type Numbers = Float64Array;

export function route(call: RouteCall, { numbers, store }: Host): void {
  const bank = numbers(call.bank);
  store(
    call.out,
    Float64Array.from(logitsOf(call, numbers), (logits) => bank[largestOf(logits)]!),
  );
}

export function routeBackward(call: RouteBackwardCall, { numbers, store }: Host): void {
  const [router, bank, gradOut] = [numbers(call.router), numbers(call.bank), numbers(call.gradOut)];
  const count = bank.length;
  const rows = rowsOf(call, numbers);
  const byRows = rows.map((row) => new Float64Array(row.length));
  const [byRouter, byBank] = [new Float64Array(router.length), new Float64Array(count)];
  logitsOf(call, numbers).forEach((logits, r) => {
    const choice = largestOf(logits);
    const weights = logits.map((value) => Math.exp(value - logits[choice]!));
    const sum = weights.reduce((a, b) => a + b);
    const mean = dot(weights, bank) / sum;
    byBank[choice]! += gradOut[r]!;
    bank.forEach((entry, u) => {
      const byLogit = (weights[u]! / sum) * (entry - mean) * gradOut[r]!;
      rows[r]!.forEach((value, c) => {
        byRows[r]![c]! += byLogit * router[c * count + u]!;
        byRouter[c * count + u]! += byLogit * value;
      });
    });
  });
  const width = call.x.shape.at(-1) as number;
  store(call.gradX, Float64Array.from(byRows.flatMap((row) => [...row.subarray(0, width)])));
  if (call.gradY) store(call.gradY, Float64Array.from(byRows.flatMap((row) => [...row.subarray(width)])));
  store(call.gradRouter, byRouter);
  store(call.gradBank, byBank);
}

type RouteInputs = Omit<RouteCall, 'out'>;

/** Those of x and y side by side. */
function rowsOf({ x, y, router }: RouteInputs, numbers: Host['numbers']): Numbers[] {
  const width = x.shape.at(-1) as number;
  const more = (router.shape[0] as number) - width;
  const [left, right] = [numbers(x), y ? numbers(y) : new Float64Array(0)];
  return Array.from({ length: left.length / width }, (_, r) =>
    Float64Array.of(...left.subarray(r * width, (r + 1) * width), ...right.subarray(r * more, (r + 1) * more)),
  );
}

function logitsOf(call: RouteInputs, numbers: Host['numbers']): Numbers[] {
  const router = numbers(call.router);
  const count = call.bank.size;
  return rowsOf(call, numbers).map((row) =>
    Float64Array.from({ length: count }, (_, u) =>
      row.reduce((sum, value, c) => sum + value * router[c * count + u]!, 0),
    ),
  );
}

/** The place of the largest, the first of equal ones. */
const largestOf = (row: Numbers): number => row.reduce((best, value, u) => (value > row[best]! ? u : best), 0);

export function focus(call: FocusCall, { numbers, store }: Host): void {
  const [x, exponents] = [numbers(call.x), numbers(call.exponents)];
  const columns = x.length / exponents.length;
  const out = new Float64Array(x.length);
  exponents.forEach((exponent, r) => {
    const { y, powers, ratio } = focused(x.subarray(r * columns, (r + 1) * columns), exponent);
    y.forEach((_, c) => {
      out[r * columns + c] = powers[c]! * ratio;
    });
  });
  store(call.out, out);
}

export function focusBackward(call: FocusBackwardCall, { numbers, store }: Host): void {
  const [x, exponents, gradOut] = [numbers(call.x), numbers(call.exponents), numbers(call.gradOut)];
  const columns = x.length / exponents.length;
  const [byX, byExponents] = [new Float64Array(x.length), new Float64Array(exponents.length)];
  exponents.forEach((given, r) => {
    const { y, powers, exponent, largest, ratio } = focused(x.subarray(r * columns, (r + 1) * columns), given);
    if (largest === 0) return;
    const by = gradOut.subarray(r * columns, (r + 1) * columns);
    const inner = dot(powers, by);
    const squares = dot(powers, powers);
    let gradExponent = 0;
    y.forEach((value, c) => {
      if (value === 0) return;
      const byPower = ratio * (by[c]! - (powers[c]! * inner) / squares);
      byX[r * columns + c] =
        (byPower * exponent * powers[c]!) / value + (inner * value) / Math.sqrt(squares * dot(y, y));
      gradExponent += byPower * powers[c]! * Math.log(value / largest);
    });
    if (given >= 1) byExponents[r] = gradExponent;
  });
  store(call.gradX, byX);
  store(call.gradExponents, byExponents);
}

/** relu(x), its powers over the largest one, and what gives them its length. */
function focused(x: Numbers, given: number) {
  const y = x.map((value) => Math.max(0, value));
  const exponent = Math.max(1, given);
  const largest = y.reduce((a, b) => Math.max(a, b));
  if (largest === 0) return { y, powers: y, exponent, largest, ratio: 0 };
  const powers = y.map((value) => (value / largest) ** exponent);
  return { y, powers, exponent, largest, ratio: Math.sqrt(dot(y, y) / dot(powers, powers)) };
}

function dot(a: Numbers, b: Numbers): number {
  return a.reduce((sum, value, c) => sum + value * b[c]!, 0);
}
