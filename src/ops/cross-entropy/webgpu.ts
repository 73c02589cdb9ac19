import { type Kernel, variants } from '../../runtime/webgpu/kernel';
import { eachOf, overRows, READ, rowKernel, type Team, WRITE } from '../../runtime/webgpu/kernels/row-kernel';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import { NONE } from './params.generated';
import type { CrossEntropyCall, CrossEntropyGradientCall, MeanLossCall } from './reference';

const SETTINGS = { ignore: 'i32', smoothing: 'f32' } as const;

/** Those outside are a fault that the host tells. */
const CLASS = 'u32(clamp(wanted, 0, i32(numbers.columns) - 1))';

const lossKernel = variants(
  (team: Team): Kernel =>
    rowKernel({
      name: 'cross entropy',
      team,
      operands: {
        logits: READ,
        targets: { access: 'read' },
        out: { access: 'write' },
        lse: { access: 'write' },
      },
      numbers: SETTINGS,
      needs: ['precise_exp', 'precise_log'],
      head: eachOf('precise_exp'),
      each: (over) => `
  var most = 0u;
  ${over(`let x = kept(load4_logits(i), count, -numbers.infinity);
    most = max(max(max(rank_of(x.x), rank_of(x.y)), max(rank_of(x.z), rank_of(x.w))), most);`)}
  let most_of_row = number_of(largest_of(most));
  var sums = vec2f(0.0);
  ${over(`let x = load4_logits(i);
    sums += vec2f(total(kept(each_precise_exp(x - most_of_row), count, 0.0)), total(kept(x, count, 0.0)));`)}
  sums = sum_of(sums);
  if (member == 0) {
    let lse = most_of_row + precise_log(sums.x);
    let wanted = load_targets(row);
    let logit = load_logits(row * numbers.columns + ${CLASS});
    let mean = select(0.0, numbers.smoothing * (sums.y / f32(numbers.columns)), numbers.smoothing > 0.0);
    store_lse(row, lse);
    store_out(row, select(lse - (1.0 - numbers.smoothing) * logit - mean, 0.0, wanted == numbers.ignore));
  }`,
    }),
);

const gradientKernel = variants(
  (team: Team): Kernel =>
    rowKernel({
      name: 'gradient of cross entropy',
      team,
      operands: {
        logits: READ,
        targets: { access: 'read' },
        lse: { access: 'read' },
        gradLosses: { access: 'read' },
        out: WRITE,
      },
      numbers: SETTINGS,
      needs: ['precise_exp'],
      head: eachOf('precise_exp'),
      each: (over) => `
  let wanted = load_targets(row);
  let lse = load_lse(row);
  let grad = load_gradLosses(row);
  let share = numbers.smoothing / f32(numbers.columns);
  ${over(`let is_wanted = vec4u(c, c + 1, c + 2, c + 3) == vec4u(${CLASS});
    let hot = select(vec4f(0.0), vec4f(1.0 - numbers.smoothing), is_wanted);
    let y = (each_precise_exp(load4_logits(i) - lse) - share - hot) * grad;
    store4_out(i, select(y, vec4f(0.0), wanted == numbers.ignore), count);`)}`,
    }),
);

const LANES = 256;

const meanKernel: Kernel = {
  name: 'mean loss',
  invocations: LANES,
  operands: {
    losses: { access: 'read' },
    targets: { access: 'read' },
    out: { access: 'write' },
    share: { access: 'write' },
  },
  numbers: { rows: 'u32', ignore: 'i32' },
  body: `
var<workgroup> sums: array<vec2f, ${LANES}>;
fn run(task: u32, lane: u32) {
  var sum = vec2f(0.0);
  for (var row = lane; row < numbers.rows; row += ${LANES}) {
    sum += select(vec2f(load_losses(row), 1.0), vec2f(0.0), load_targets(row) == numbers.ignore);
  }
  sums[lane] = sum;
  for (var half = ${LANES / 2}u; half > 0; half /= 2) {
    workgroupBarrier();
    if (lane < half) { sums[lane] += sums[lane + half]; }
  }
  if (lane > 0) { return; }
  let share = select(0.0, 1.0 / sums[0].y, sums[0].y > 0.0);
  store_share(0, share);
  store_out(0, sums[0].x * share);
}`,
};

export function planCrossEntropy(call: CrossEntropyCall, workspace: Workspace): Plan {
  const { logits, targets, classes, out, lse, ignore = NONE, smoothing } = call;
  const operands = { logits, targets, out, lse };
  return { dispatches: [overRows(lossKernel, classes, operands, { ignore, smoothing }, workspace)] };
}

export function planCrossEntropyGradient(call: CrossEntropyGradientCall, workspace: Workspace): Plan {
  const { logits, targets, classes, lse, gradLosses, out, ignore = NONE, smoothing } = call;
  const operands = { logits, targets, lse, gradLosses, out };
  return { dispatches: [overRows(gradientKernel, classes, operands, { ignore, smoothing }, workspace)] };
}

export function planMeanLoss({ losses, targets, ignore = NONE, out, share }: MeanLossCall): Plan {
  const { size: rows } = losses;
  const operands = { losses, targets, out, share };
  return { dispatches: [{ kernel: meanKernel, operands, numbers: { rows, ignore }, tasks: 1, operations: 4 * rows }] };
}
