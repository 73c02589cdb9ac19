/** Cumulative sums of rows: lanes take four elements each, and the sums of those before. */
import { type Kernel, variants } from '../../runtime/webgpu/kernel';
import { overRows, READ, rowKernel, type Team, WRITE } from '../../runtime/webgpu/kernels/row-kernel';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import type { CumulativeSumCall } from './reference';

/** Blocks that are summed on their own before they join those before: sums of few terms have small errors. */
const RECENT = 64;

/** `sums_of`: the sum of the values of the lanes before this one, and of all; all lanes must call. */
function sumsOf({ lanes, subgroups }: Team): string {
  if (lanes === 1) return 'fn sums_of(value: f32) -> vec2f { return vec2f(0.0, value); }';
  // The first barrier is for those who still read what the last call left.
  return `
var<workgroup> parts: array<f32, ${lanes}>;
fn sums_of(value: f32) -> vec2f {
  ${
    subgroups
      ? `let within = subgroupExclusiveAdd(value);
  let whole = subgroupAdd(value);
  workgroupBarrier();
  if (subgroup_lane == 0) { parts[member / subgroup_size] = whole; }
  workgroupBarrier();
  var sums = vec2f(0.0);
  for (var s = 0u; s * subgroup_size < ${lanes}; s++) {
    if (s == member / subgroup_size) { sums.x = sums.y + within; }
    sums.y += parts[s];
  }
  return sums;`
      : `workgroupBarrier();
  parts[member] = value;
  for (var step = 1u; step < ${lanes}; step *= 2) {
    workgroupBarrier();
    let earlier = select(0.0, parts[max(member, step) - step], member >= step);
    workgroupBarrier();
    parts[member] += earlier;
  }
  workgroupBarrier();
  return vec2f(select(0.0, parts[max(member, 1) - 1], member > 0), parts[${lanes - 1}]);`
  }
}`;
}

const cumulativeSumKernel = variants(({ reverse, team }: { reverse: boolean; team: Team }): Kernel => {
  const block = 4 * team.lanes;
  return rowKernel({
    name: `cumulative sum${reverse ? ' in reverse' : ''}`,
    team,
    operands: { x: READ, out: WRITE },
    head: sumsOf(team),
    // In reverse blocks, lanes and elements are taken from the last to the first.
    each: () => `
  var before = 0.0;
  var recent = 0.0;
  for (var start = 0u; start < numbers.columns; start += ${block}) {
    let c = ${reverse ? `(numbers.columns - 1) / ${block} * ${block} - start + (${team.lanes - 1} - member) * 4` : 'start + member * 4'};
    let i = row * numbers.columns + c;
    let count = max(numbers.columns, c) - c;
    var x = vec4f(0.0);
    if (count > 0) { x = kept(load4_x(i), count, 0.0)${reverse ? '.wzyx' : ''}; }
    let low = x.x + x.y;
    let own = vec4f(x.x, low, low + x.z, low + (x.z + x.w));
    let sums = sums_of(own.w);
    if (count > 0) { store4_out(i, (before + ((recent + sums.x) + own))${reverse ? '.wzyx' : ''}, count); }
    recent += sums.y;
    if (start / ${block} % ${RECENT} == ${RECENT - 1}) {
      before += recent;
      recent = 0.0;
    }
  }`,
  });
});

export function planCumulativeSum({ x, out, reverse }: CumulativeSumCall, workspace: Workspace): Plan {
  const kernelFor = (team: Team) => cumulativeSumKernel({ reverse, team });
  return { dispatches: [overRows(kernelFor, x.shape.at(-1) as number, { x, out }, {}, workspace)] };
}
