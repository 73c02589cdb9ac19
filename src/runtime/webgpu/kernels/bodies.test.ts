import { expect, test } from 'vitest';
import { apply } from '../../../expressions/expression';
import { ElementwiseFunction, element } from '../../../ops/map/function';
import { planMap } from '../../../ops/map/webgpu';
import { planSoftmax } from '../../../ops/softmax/webgpu';
import type { Tensor } from '../../../tensor/tensor';
import type { Plan, Workspace } from '../plan';

/** A tensor that is none, for what looks at its shape only. */
const shaped = (...shape: number[]) =>
  ({ shape, strides: [700, 1], dtype: 'f32', size: shape.reduce((a, b) => a * b) }) as unknown as Tensor;

const bodyOf = ({ dispatches }: Plan) => dispatches[0]?.kernel.body;

test('a function of each element', () => {
  const x = shaped(3, 700);
  const fn = new ElementwiseFunction('double', 1, [apply('add', element(0), element(0))]);
  const compiled = fn.compiled(['float'], [], 'float');
  const plan = planMap({ function: fn, compiled, numbers: [], tensors: [], items: [{ inputs: [x], outs: [x] }] });
  expect(plan.dispatches[0]?.tasks).toBe(2);
  expect(bodyOf(plan)).toMatchInlineSnapshot(`
    "
    fn mapped(x0: f32) -> f32 {
      let v0 = x0 + x0;
      return v0;
    }

    fn run(task: u32, lane: u32) {
      for (var vector = 0u; vector < 8; vector++) {
        let i = task * 2048 + (vector * 64 + lane) * 4;
        if (i < numbers.size) {
          let rest0 = i; let i0 = rest0;
          let x0 = load4_x0(at_x0(i0));
          let r_x = mapped(x0.x);
          let r_y = mapped(x0.y);
          let r_z = mapped(x0.z);
          let r_w = mapped(x0.w);
          store4_out0(i, vec4f(r_x, r_y, r_z, r_w), numbers.size - i);
        }
      }
    }"
  `);
});

test('a softmax of rows by workgroups of a GPU with subgroups', () => {
  const workspace = { device: { isSoftware: false, subgroups: true } as Workspace['device'] } as Workspace;
  const plan = planSoftmax({ x: shaped(500, 700), out: shaped(500, 700), outer: 500, n: 700, inner: 1 }, workspace);
  expect(plan.dispatches[0]?.tasks).toBe(500);
  expect(bodyOf(plan)).toMatchInlineSnapshot(`
    "
    fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffff) > 0x7f800000; }
    fn power_of_two(n: i32) -> f32 { return bitcast<f32>((n + 127) << 23); }
    /// e^r - 1 of what is left of x after n ln 2.
    fn growth_of_rest(x: f32, n: f32) -> f32 {
      let r = (x - n * 0.693359375) + n * 2.12194440e-4;
      var y = fma(1.98756915e-4, r, 1.3981999507e-3);
      y = fma(y, r, 8.3334519073e-3);
      y = fma(y, r, 4.1665795894e-2);
      y = fma(y, r, 1.6666665459e-1);
      y = fma(y, r, 5.0000001201e-1);
      return fma(y, r * r, r);
    }
    fn precise_exp(x: f32) -> f32 {
      let bounded = clamp(x, -104.0, 89.0);
      let n = round(bounded * 1.44269504);
      let half = i32(n) >> 1;
      let y = (1.0 + growth_of_rest(bounded, n)) * power_of_two(half) * power_of_two(i32(n) - half);
      let ranged = select(select(y, numbers.infinity, x > 88.722839), 0.0, x < -103.972077);
      return select(ranged, x, is_nan(x));
    }


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

    fn each_precise_exp(x: vec4f) -> vec4f { return vec4f(precise_exp(x.x), precise_exp(x.y), precise_exp(x.z), precise_exp(x.w)); }
    fn run(task: u32, lane: u32) {
      let row = task;
      member = lane;
      if (row >= numbers.rows) { return; }
      var most = 0u;
      
      for (var c = member * 4; c < numbers.columns; c += 256) {
        let i = row * numbers.columns + c;
        let count = numbers.columns - c;
        let x = kept(load4_x(i), count, -numbers.infinity);
        most = max(max(max(rank_of(x.x), rank_of(x.y)), max(rank_of(x.z), rank_of(x.w))), most);
      }
      let most_of_row = number_of(largest_of(most));
      var sum = 0.0;
      
      for (var c = member * 4; c < numbers.columns; c += 256) {
        let i = row * numbers.columns + c;
        let count = numbers.columns - c;
        sum += total(kept(each_precise_exp(load4_x(i) - most_of_row), count, 0.0));
      }
      let factor = 1.0 / sum_of(vec2f(sum, 0.0)).x;
      
      for (var c = member * 4; c < numbers.columns; c += 256) {
        let i = row * numbers.columns + c;
        let count = numbers.columns - c;
        store4_out(i, each_precise_exp(load4_x(i) - most_of_row) * factor, count);
      }
    }"
  `);
});
