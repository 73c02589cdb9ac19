import { expect, test } from 'vitest';
import { planUnary } from '../../../ops/elementwise/webgpu';
import { planRowwise } from '../../../ops/rows/webgpu';
import type { Tensor } from '../../../tensor/tensor';
import type { Device } from '../device';
import type { Plan, Workspace } from '../queue';

/** A tensor that is none, for what looks at its shape only. */
const shaped = (...shape: number[]) => ({ shape, size: shape.reduce((a, b) => a * b) }) as unknown as Tensor;

const bodyOf = ({ dispatches }: Plan) => dispatches[0]?.kernel.body;

test('a function of each element', () => {
  const x = shaped(3, 700);
  const plan = planUnary({ operation: 'relu', exponent: 1, x, out: x });
  expect(plan.dispatches[0]?.tasks).toBe(2);
  expect(bodyOf(plan)).toMatchInlineSnapshot(`
    "
    fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffff) > 0x7f800000; }
    fn is_positive(x: f32) -> bool { return bitcast<u32>(x) - 1 < 0x7f800000; }
    fn value(x: f32) -> f32 { return select(0.0, x, is_positive(x) || is_nan(x)); }

    fn run(task: u32, lane: u32) {
      for (var vector = 0u; vector < 8; vector++) {
        let i = task * 2048 + (vector * 64 + lane) * 4;
        if (i < numbers.size) {
          let x = load4_x(i);
          store4_out(i, vec4f(value(x.x), value(x.y), value(x.z), value(x.w)), numbers.size - i);
        }
      }
    }"
  `);
});

test('a sum of rows by workgroups of a GPU with subgroups', () => {
  const workspace = { device: { isSoftware: false, subgroups: true } as Device } as Workspace;
  const plan = planRowwise({ operation: 'sum', x: shaped(500, 700), out: shaped(500) }, workspace);
  expect(plan.dispatches[0]?.tasks).toBe(500);
  expect(bodyOf(plan)).toMatchInlineSnapshot(`
    "
    fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffff) > 0x7f800000; }


    var<workgroup> parts_of_sum_of_lanes: array<vec2f, 64>;
    fn sum_of_lanes(value: vec2f, lane: u32) -> vec2f {
      let part = subgroupAdd(value);
      workgroupBarrier();
      if (subgroup_lane == 0) { parts_of_sum_of_lanes[lane / subgroup_size] = part; }
      workgroupBarrier();
      var result = parts_of_sum_of_lanes[0];
      for (var s = 1u; s * subgroup_size < 64; s++) { result = result + parts_of_sum_of_lanes[s]; }
      return result;
    }

    var<workgroup> parts_of_largest_of_lanes: array<u32, 64>;
    fn largest_of_lanes(value: u32, lane: u32) -> u32 {
      let part = subgroupMax(value);
      workgroupBarrier();
      if (subgroup_lane == 0) { parts_of_largest_of_lanes[lane / subgroup_size] = part; }
      workgroupBarrier();
      var result = parts_of_largest_of_lanes[0];
      for (var s = 1u; s * subgroup_size < 64; s++) { result = max(result, parts_of_largest_of_lanes[s]); }
      return result;
    }
    var<private> member: u32;
    fn sum_of(value: vec2f) -> vec2f { return sum_of_lanes(value, member); }
    fn largest_of(value: u32) -> u32 { return largest_of_lanes(value, member); }
    fn kept(values: vec4f, count: u32, rest: f32) -> vec4f {
      return select(vec4f(rest), values, vec4u(0, 1, 2, 3) < vec4u(count));
    }
    fn total(values: vec4f) -> f32 { return (values.x + values.y) + (values.z + values.w); }
    fn rank_of(x: f32) -> u32 {
      let bits = bitcast<u32>(x);
      return select(select(bits | 0x80000000, ~bits, (bits >> 31) == 1), 0xffffffff, is_nan(x));
    }
    fn number_of(rank: u32) -> f32 {
      return bitcast<f32>(select(~rank, rank & 0x7fffffff, (rank >> 31) == 1));
    }

    fn run(task: u32, lane: u32) {
      let row = task;
      member = lane;
      if (row >= numbers.rows) { return; }
      var sum = 0.0;
      
      for (var c = member * 4; c < numbers.columns; c += 256) {
        let i = row * numbers.columns + c;
        let count = numbers.columns - c;
        sum += total(kept(load4_x(i), count, 0.0));
      }
      let sum_of_row = sum_of(vec2f(sum, 0.0)).x;
      if (member == 0) { store_out(row, sum_of_row); }
    }"
  `);
});
