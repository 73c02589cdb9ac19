/** Choices of one entry of a bank for each row, and powers of rows that keep their length. */

import { flat, type Kernel, variants } from '../../runtime/webgpu/kernel';
import { reductions } from '../../runtime/webgpu/kernels/reductions';
import { eachOf, overRows, READ, rowKernel, type Team, WRITE } from '../../runtime/webgpu/kernels/row-kernel';
import type { Plan, Workspace } from '../../runtime/webgpu/queue';
import type { FocusBackwardCall, FocusCall, RouteBackwardCall, RouteCall } from './call';

type Over = (statements: string) => string;

/** The first of the largest of a row of logits, that is `place`, and its number, `most_of_row`. */
const choice = (over: Over) => `
  var most = 0u;
  ${over(`let ranks = ranks_of(load4_logits(i), c, count);
    most = max(max(max(ranks.x, ranks.y), max(ranks.z, ranks.w)), most);`)}
  most = largest_of(most);
  // By what is left after a place, as only the largest can be asked for.
  var left = 0u;
  ${over(`let is_most = vec4u(vec4<bool>(ranks_of(load4_logits(i), c, count) == vec4u(most)));
    let behind = is_most * (numbers.columns - c - vec4u(0, 1, 2, 3));
    left = max(max(max(behind.x, behind.y), max(behind.z, behind.w)), left);`)}
  let place = numbers.columns - largest_of(left);
  let most_of_row = load_logits(row * numbers.columns + place);`;

/** NaN is chosen only where it comes first, since nothing is larger. */
const RANKS = `
fn rank_at(x: f32, u: u32) -> u32 {
  if (is_nan(x)) { return select(1u, 0xffffffff, u == 0); }
  return rank_of(select(x, 0.0, (bitcast<u32>(x) & 0x7fffffff) == 0));
}
fn ranks_of(x: vec4f, c: u32, count: u32) -> vec4u {
  let ranks = vec4u(rank_at(x.x, c), rank_at(x.y, c + 1), rank_at(x.z, c + 2), rank_at(x.w, c + 3));
  return select(vec4u(0), ranks, vec4u(0, 1, 2, 3) < vec4u(count));
}`;

const routeKernel = variants(
  (team: Team): Kernel =>
    rowKernel({
      name: 'route',
      team,
      operands: { logits: READ, bank: { access: 'read' }, out: { access: 'write' } },
      head: RANKS,
      each: (over) => `${choice(over)}
  if (member == 0) { store_out(row, load_bank(place)); }`,
    }),
);

export function planRoute({ logits, bank, out }: RouteCall, workspace: Workspace): Plan {
  return { dispatches: [overRows(routeKernel, bank.size, { logits, bank, out }, {}, workspace)] };
}

/** By the logits p_u (bank_u - sum_j p_j bank_j) gradOut, for their softmax p. */
const routeLogitsKernel = variants(
  (team: Team): Kernel =>
    rowKernel({
      name: 'gradient of route by logits',
      team,
      operands: {
        ...{ logits: READ, bank: READ, gradOut: { access: 'read' } },
        ...{ choices: { access: 'write' }, gradLogits: WRITE },
      },
      needs: ['precise_exp'],
      head: `${RANKS}${eachOf('precise_exp')}`,
      each: (over) => `${choice(over)}
  if (member == 0) { store_choices(row, i32(place)); }
  var sums = vec2f(0.0);
  ${over(`let weights = kept(each_precise_exp(load4_logits(i) - most_of_row), count, 0.0);
    sums += vec2f(total(weights), dot(weights, kept(load4_bank(c), count, 0.0)));`)}
  sums = sum_of(sums);
  let mean = sums.y / sums.x;
  let factor = load_gradOut(row) / sums.x;
  ${over(`let weights = each_precise_exp(load4_logits(i) - most_of_row);
    store4_gradLogits(i, weights * factor * (load4_bank(c) - mean), count);`)}`,
    }),
);

const BANK_LANES = 64;

/** Sums of gradOut over the rows that chose an entry; a task is an entry. */
const routeBankKernel = variants(
  (subgroups: boolean): Kernel => ({
    name: 'gradient of route by the bank',
    invocations: BANK_LANES,
    operands: { choices: { access: 'read' }, gradOut: { access: 'read' }, gradBank: { access: 'write' } },
    numbers: { rows: 'u32' },
    subgroups,
    body: `
${reductions({ invocations: BANK_LANES, subgroups })}
fn run(task: u32, lane: u32) {
  var sum = 0.0;
  for (var row = lane; row < numbers.rows; row += ${BANK_LANES}) {
    if (load_choices(row) == i32(task)) { sum += load_gradOut(row); }
  }
  let all = sum_of_lanes(vec2f(sum, 0.0), lane).x;
  if (lane == 0) { store_gradBank(task, all); }
}`,
  }),
);

export function planRouteBackward(call: RouteBackwardCall, workspace: Workspace): Plan {
  const { logits, bank, gradLogits, gradBank } = call;
  const gradOut = flat(call.gradOut);
  const rows = call.gradOut.size;
  const choices = workspace.scratch([rows], 'i32');
  return {
    dispatches: [
      overRows(routeLogitsKernel, bank.size, { logits, bank, gradOut, choices, gradLogits }, {}, workspace),
      {
        kernel: routeBankKernel(workspace.device.subgroups),
        operands: { choices, gradOut, gradBank },
        numbers: { rows },
        tasks: bank.size,
        operations: 4 * rows * bank.size,
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
        ...{ x: READ, exponents: { access: 'read' }, gradOut: READ },
        ...{ gradX: WRITE, gradExponents: { access: 'write' } },
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
    ...{ x, exponents: flat(call.exponents), gradOut },
    ...{ gradX, gradExponents: flat(call.gradExponents) },
  };
  return { dispatches: [overRows(focusBackwardKernel, x.shape.at(-1) as number, operands, {}, workspace)] };
}
