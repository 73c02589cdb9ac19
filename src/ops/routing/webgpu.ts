/** Choices of one entry of a bank for each row, and powers of rows that keep their length. */

import { flat, type Kernel, variants } from '../../runtime/webgpu/kernel';
import { functions } from '../../runtime/webgpu/kernels/functions';
import { reductions } from '../../runtime/webgpu/kernels/reductions';
import { eachOf, overRows, READ, rowKernel, type Team, WRITE } from '../../runtime/webgpu/kernels/row-kernel';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import type { FocusBackwardCall, FocusCall, RouteBackwardCall, RouteCall } from './reference';

type Over = (statements: string) => string;

const LANES = 64;
const ROUTE = { rows: 'u32', choices: 'u32', width: 'u32', more: 'u32' } as const;
const ROWS_OF = { x: { access: 'read' }, y: { access: 'read' } } as const;
const ROUTED = { ...ROWS_OF, router: { access: 'read' }, bank: { access: 'read' } } as const;

/** A row of x with that of y beside it. */
const elementCode = `
fn element_of(row: u32, c: u32) -> f32 {
  if (c < numbers.width) { return load_x(row * numbers.width + c); }
  return load_y(row * numbers.more + c - numbers.width);
}`;

/** NaN is chosen only where it comes first, since nothing is larger. */
const routeCode = `
${elementCode}
fn logit_of(row: u32, u: u32) -> f32 {
  var sum = 0.0;
  for (var c = 0u; c < numbers.width + numbers.more; c++) {
    sum = fma(element_of(row, c), load_router(c * numbers.choices + u), sum);
  }
  return sum;
}
fn exceeds(a: f32, b: f32) -> bool { return !is_nan(a) && !is_nan(b) && a > b; }`;

const routeKernel: Kernel = {
  name: 'route',
  invocations: LANES,
  operands: { ...ROUTED, out: { access: 'write' } },
  numbers: ROUTE,
  body: `${functions('is_nan')}${routeCode}
fn run(task: u32, lane: u32) {
  let row = task * ${LANES} + lane;
  if (row >= numbers.rows) { return; }
  var place = 0u;
  var most = logit_of(row, 0);
  for (var u = 1u; u < numbers.choices; u++) {
    let logit = logit_of(row, u);
    if (exceeds(logit, most)) { most = logit; place = u; }
  }
  store_out(row, load_bank(place));
}`,
};

/** To the logits p_u (bank_u - sum_j p_j bank_j) gradOut, for their softmax p. */
const routeLogitsKernel: Kernel = {
  name: 'gradient of route with respect to logits',
  invocations: LANES,
  operands: {
    ...ROUTED,
    gradOut: { access: 'read' },
    chosen: { access: 'write' },
    gradLogits: { access: 'update' },
  },
  numbers: ROUTE,
  body: `${functions('is_nan', 'precise_exp')}${routeCode}
fn run(task: u32, lane: u32) {
  let row = task * ${LANES} + lane;
  if (row >= numbers.rows) { return; }
  let first = row * numbers.choices;
  var place = 0u;
  var most = logit_of(row, 0);
  for (var u = 0u; u < numbers.choices; u++) {
    let logit = logit_of(row, u);
    store_gradLogits(first + u, logit);
    if (exceeds(logit, most)) { most = logit; place = u; }
  }
  store_chosen(row, i32(place));
  var sums = vec2f(0.0);
  for (var u = 0u; u < numbers.choices; u++) {
    let weight = precise_exp(load_gradLogits(first + u) - most);
    sums += vec2f(weight, weight * load_bank(u));
  }
  let factor = load_gradOut(row) / sums.x;
  for (var u = 0u; u < numbers.choices; u++) {
    let weight = precise_exp(load_gradLogits(first + u) - most);
    store_gradLogits(first + u, weight * factor * (load_bank(u) - sums.y / sums.x));
  }
}`,
};

/** Each element of x and y. */
const routeRowsKernel: Kernel = {
  name: 'gradient of route with respect to rows',
  invocations: LANES,
  operands: {
    gradLogits: { access: 'read' },
    router: { access: 'read' },
    gradX: { access: 'write' },
    gradY: { access: 'write' },
  },
  numbers: ROUTE,
  body: `
fn run(task: u32, lane: u32) {
  let all = numbers.width + numbers.more;
  let at = task * ${LANES} + lane;
  if (at >= numbers.rows * all) { return; }
  let row = at / all;
  let c = at % all;
  var sum = 0.0;
  for (var u = 0u; u < numbers.choices; u++) {
    sum = fma(load_gradLogits(row * numbers.choices + u), load_router(c * numbers.choices + u), sum);
  }
  if (c < numbers.width) { store_gradX(row * numbers.width + c, sum); }
  else { store_gradY(row * numbers.more + c - numbers.width, sum); }
}`,
};

/** Sums over all rows; a task is an element of the router, or an entry of the bank. */
const routeSumsKernel = variants(
  (subgroups: boolean): Kernel => ({
    name: 'gradient of route with respect to router and bank',
    invocations: LANES,
    operands: {
      ...ROWS_OF,
      gradOut: { access: 'read' },
      chosen: { access: 'read' },
      gradLogits: { access: 'read' },
      gradRouter: { access: 'write' },
      gradBank: { access: 'write' },
    },
    numbers: ROUTE,
    subgroups,
    body: `${elementCode}
${reductions({ invocations: LANES, subgroups })}
fn run(task: u32, lane: u32) {
  let u = task % numbers.choices;
  let c = task / numbers.choices;
  let is_bank = c == numbers.width + numbers.more;
  var sum = 0.0;
  for (var row = lane; row < numbers.rows; row += ${LANES}) {
    if (!is_bank) { sum = fma(element_of(row, c), load_gradLogits(row * numbers.choices + u), sum); }
    else if (load_chosen(row) == i32(u)) { sum += load_gradOut(row); }
  }
  let all = sum_of_lanes(vec2f(sum, 0.0), lane).x;
  if (lane > 0) { return; }
  if (is_bank) { store_gradBank(u, all); } else { store_gradRouter(task, all); }
}`,
  }),
);

/** What kernels of `route` read, x in the place of a y that there is not. */
function routed({ x, y, router, bank }: Omit<RouteCall, 'out'>) {
  const [width, choices] = [x.shape.at(-1) as number, bank.size];
  const rows = x.size / width;
  return {
    operands: { x, y: y ?? x, router, bank },
    numbers: { rows, choices, width, more: (router.shape[0] as number) - width },
    operations: 2 * rows * router.size,
  };
}

export function planRoute(call: RouteCall): Plan {
  const { operands, numbers, operations } = routed(call);
  const tasks = Math.ceil(numbers.rows / LANES);
  return {
    dispatches: [{ kernel: routeKernel, operands: { ...operands, out: flat(call.out) }, numbers, tasks, operations }],
  };
}

export function planRouteBackward(call: RouteBackwardCall, workspace: Workspace): Plan {
  const { gradX, gradY = gradX, gradRouter, gradBank, router } = call;
  const { operands, numbers, operations } = routed(call);
  const { rows, choices } = numbers;
  const gradOut = flat(call.gradOut);
  const chosen = workspace.scratch([rows], 'i32');
  const gradLogits = workspace.scratch([rows, choices]);
  const elements = rows * (router.shape[0] as number);
  return {
    dispatches: [
      {
        kernel: routeLogitsKernel,
        operands: { ...operands, gradOut, chosen, gradLogits },
        numbers,
        tasks: Math.ceil(rows / LANES),
        operations,
      },
      {
        kernel: routeRowsKernel,
        operands: { gradLogits, router, gradX, gradY },
        numbers,
        tasks: Math.ceil(elements / LANES),
        operations,
      },
      {
        kernel: routeSumsKernel(workspace.device.subgroups),
        operands: { x: operands.x, y: operands.y, gradOut, chosen, gradLogits, gradRouter, gradBank },
        numbers,
        tasks: router.size + choices,
        operations,
      },
    ],
  };
}

/** u = relu(x) over its largest and t = u^g, for a vector; the largest first. */
const powers = (over: Over) => `
  var most = 0u;
  ${over(`let x = kept(positive(load4_x(i)), count, 0.0);
    most = max(max(max(rank_of(x.x), rank_of(x.y)), max(rank_of(x.z), rank_of(x.w))), most);`)}
  let largest = number_of(largest_of(most));
  let divisor = select(largest, 1.0, largest == 0.0);
  let given = load_exponents(row);
  let g = max(1.0, given);`;

const SHARES = `
fn positive(x: vec4f) -> vec4f { return vec4f(positive_of(x.x), positive_of(x.y), positive_of(x.z), positive_of(x.w)); }
fn positive_of(x: f32) -> f32 { return select(max(x, 0.0), x, is_nan(x)); }
${eachOf('precise_exp')}
${eachOf('precise_log')}
fn powers_of(u: vec4f, g: f32) -> vec4f {
  if (g == 1.0) { return u; }
  return each_precise_exp(g * each_precise_log(u));
}`;

const focusKernel = variants(
  (team: Team): Kernel =>
    rowKernel({
      name: 'focus',
      team,
      operands: { x: READ, exponents: { access: 'read' }, out: WRITE },
      needs: ['precise_exp', 'precise_log'],
      head: SHARES,
      each: (over) => `${powers(over)}
  var sums = vec2f(0.0);
  ${over(`let u = kept(positive(load4_x(i)), count, 0.0) / divisor;
    let t = powers_of(u, g);
    sums += vec2f(dot(u, u), dot(t, t));`)}
  sums = sum_of(sums);
  let ratio = select(largest * sqrt(sums.x / sums.y), 0.0, largest == 0.0);
  ${over('store4_out(i, powers_of(positive(load4_x(i)) / divisor, g) * ratio, count);')}`,
    }),
);

export function planFocus({ x, exponents, out }: FocusCall, workspace: Workspace): Plan {
  const operands = { x, exponents: flat(exponents), out };
  return { dispatches: [overRows(focusKernel, x.shape.at(-1) as number, operands, {}, workspace)] };
}

/**
 * With s = |t|, Y = |relu(x)|, a = t gradOut and c = gradOut - t a / s^2: gradX = g Y / s c u^(g - 1) / max + a / s
 * relu(x) / Y, and the gradient with respect to g is Y / s (c t) log u.
 */
const focusBackwardKernel = variants(
  (team: Team): Kernel =>
    rowKernel({
      name: 'gradient of focus',
      team,
      operands: {
        x: READ,
        exponents: { access: 'read' },
        gradOut: READ,
        gradX: WRITE,
        gradExponents: { access: 'write' },
      },
      needs: ['precise_exp', 'precise_log'],
      head: SHARES,
      each: (over) => `${powers(over)}
  var squares = vec2f(0.0);
  var along = 0.0;
  ${over(`let u = kept(positive(load4_x(i)), count, 0.0) / divisor;
    let t = powers_of(u, g);
    squares += vec2f(dot(u, u), dot(t, t));
    along += dot(t, kept(load4_gradOut(i), count, 0.0));`)}
  squares = sum_of(squares);
  let inner = sum_of(vec2f(along, 0.0)).x;
  let ratio = largest * sqrt(squares.x / squares.y);
  let shift = inner / squares.y;
  let by_x = inner / sqrt(squares.x * squares.y);
  var by_g = 0.0;
  ${over(`let u = kept(positive(load4_x(i)), count, 0.0) / divisor;
    let is_positive = u > vec4f(0.0);
    let t = powers_of(u, g);
    let slopes = ratio * (kept(load4_gradOut(i), count, 0.0) - t * shift);
    let logarithms = select(vec4f(0.0), each_precise_log(u), is_positive);
    by_g += total(select(vec4f(0.0), slopes * t * logarithms, is_positive));
    let grads = slopes * g * each_precise_exp((g - 1.0) * logarithms) / divisor + by_x * u;
    store4_gradX(i, select(vec4f(0.0), grads, is_positive), count);`)}
  let by_exponent = sum_of(vec2f(by_g, 0.0)).x;
  if (member == 0) { store_gradExponents(row, select(0.0, by_exponent, given >= 1.0)); }`,
    }),
);

export function planFocusBackward(call: FocusBackwardCall, workspace: Workspace): Plan {
  const { x, gradOut, gradX } = call;
  const operands = {
    x,
    exponents: flat(call.exponents),
    gradOut,
    gradX,
    gradExponents: flat(call.gradExponents),
  };
  return { dispatches: [overRows(focusBackwardKernel, x.shape.at(-1) as number, operands, {}, workspace)] };
}
