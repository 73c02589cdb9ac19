/**
 * Sums and maxima over the lanes of a workgroup, in an order that depends only on the device: by subgroups and then over their
 * results, or by halves in workgroup memory. All lanes must call them, and all get the result.
 *
 *   sum_of_lanes(vec2f, lane)    componentwise
 *   largest_of_lanes(u32, lane)
 */

interface Lanes {
  /** How many a workgroup has: a power of two. */
  readonly invocations: number;
  readonly subgroups: boolean;
}

export const reductions = (lanes: Lanes): string => `
${reduction('sum_of_lanes', 'vec2f', 'subgroupAdd', (a, b) => `${a} + ${b}`, lanes)}
${reduction('largest_of_lanes', 'u32', 'subgroupMax', (a, b) => `max(${a}, ${b})`, lanes)}`;

function reduction(
  name: string,
  type: string,
  ofSubgroup: string,
  combine: (a: string, b: string) => string,
  { invocations, subgroups }: Lanes,
): string {
  const parts = `parts_of_${name}`;
  // The first barrier is for lanes that still read the results of the previous call.
  return `
var<workgroup> ${parts}: array<${type}, ${invocations}>;
fn ${name}(value: ${type}, lane: u32) -> ${type} {
  ${
    subgroups
      ? `let part = ${ofSubgroup}(value);
  workgroupBarrier();
  if (subgroup_lane == 0) { ${parts}[lane / subgroup_size] = part; }
  workgroupBarrier();
  var result = ${parts}[0];
  for (var s = 1u; s * subgroup_size < ${invocations}; s++) { result = ${combine('result', `${parts}[s]`)}; }
  return result;`
      : `workgroupBarrier();
  ${parts}[lane] = value;
  for (var half = ${invocations / 2}u; half > 0; half /= 2) {
    workgroupBarrier();
    if (lane < half) { ${parts}[lane] = ${combine(`${parts}[lane]`, `${parts}[lane + half]`)}; }
  }
  workgroupBarrier();
  return ${parts}[0];`
  }
}`;
}
