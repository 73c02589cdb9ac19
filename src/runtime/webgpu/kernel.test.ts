import { expect, test } from 'vitest';
import type { Dispatch, Kernel, Region } from './kernel';
import { formOf, numbersBytes, shaderOf, writeNumbers } from './shader';

const limits = { maxStorageBufferBindingSize: 1024, maxStorageBuffersPerShaderStage: 8 };
const device = { limits } as unknown as GPUDevice;

/** A buffer that is none, for what looks at sizes only. */
const buffer = (size: number) => ({ handle: { size }, bytes: size });

function region(shape: readonly number[], over: Partial<Region> & { size?: number } = {}): Region {
  const { size = 1024, ...rest } = over;
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  return { storage: { buffer: buffer(size) }, dtype: 'f32', shape, strides, offset: 0, ...rest };
}

const copy: Kernel = {
  name: 'copy',
  invocations: 64,
  operands: { x: { access: 'read', rank: 2, vector: true }, out: { access: 'write', vector: true } },
  numbers: { size: 'u32' },
  body: 'fn run(task: u32, lane: u32) { store4_out(lane, load4_x(at_x(task, lane)), numbers.size); }',
};

const dispatch = (operands: Record<string, Region>, kernel = copy): Dispatch => ({
  ...{ kernel, operands, numbers: { size: 4 }, tasks: 1, operations: 1 },
});

test('a shader of aligned rows, whose operand of halves is in two parts', () => {
  const form = formOf(dispatch({ x: region([24, 32], { dtype: 'f16', size: 1536 }), out: region([256]) }), device);
  expect(form.bindings.map(({ offset, size }) => [offset, size])).toEqual([
    [0, 1024],
    [1024, 512],
    [0, 1024],
  ]);
  expect(shaderOf(copy, form, 1024)).toMatchInlineSnapshot(`
    "struct Numbers { first_task: u32, end_task: u32, infinity: f32, x_offset: u32, x_stride0: u32, x_stride1: u32, out_offset: u32, size: u32 }
    @group(0) @binding(0) var<uniform> numbers: Numbers;
    @group(0) @binding(1) var<storage, read> x_0: array<vec2u>;
    @group(0) @binding(2) var<storage, read> x_1: array<vec2u>;
    @group(0) @binding(3) var<storage, read_write> out_0: array<vec4f>;
    fn cell_x(c: u32) -> vec2u { if (c < 128u) { return x_0[c]; } else { return x_1[c - 128u]; } }
    fn load_x(i: u32) -> f32 { let at = i + numbers.x_offset; let cell = cell_x(at / 4); return unpack2x16float(cell[(at / 2) % 2])[at % 2]; }
    fn load4_x(i: u32) -> vec4f { let cell = cell_x((i + numbers.x_offset) / 4); return vec4f(unpack2x16float(cell.x), unpack2x16float(cell.y)); }
    fn at_x(i0: u32, i1: u32) -> u32 { return i0 * numbers.x_stride0 + i1 * numbers.x_stride1; }
    fn store4_out(i: u32, values: vec4f, count: u32) { let c = (i + numbers.out_offset) / 4; { out_0[c] = values; } }
    fn run(task: u32, lane: u32) { store4_out(lane, load4_x(at_x(task, lane)), numbers.size); }
    @compute @workgroup_size(64)
    fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) workgroups: vec3u, @builtin(local_invocation_index) lane: u32) {
      let task = numbers.first_task + workgroup.x + workgroup.y * workgroups.x;
      if (task < numbers.end_task) { run(task, lane); }
    }
    "
  `);
});

test('a shader of one buffer for all, read and written element by element, with subgroups of one size', () => {
  const whole = region([7, 3], { offset: 1 });
  const kernel = { ...copy, subgroups: true };
  const form = formOf(dispatch({ x: whole, out: { ...whole, offset: 30 } }, kernel), device);
  expect(form.bindings).toHaveLength(1);
  expect(shaderOf(kernel, form, 1024, 16)).toMatchInlineSnapshot(`
    "enable subgroups;
    enable subgroup_size_control;
    struct Numbers { first_task: u32, end_task: u32, infinity: f32, x_offset: u32, x_stride0: u32, x_stride1: u32, out_offset: u32, size: u32 }
    @group(0) @binding(0) var<uniform> numbers: Numbers;
    @group(0) @binding(1) var<storage, read_write> x_0: array<f32>;
    fn cell_x(c: u32) -> f32 { { return x_0[c]; } }
    fn load_x(i: u32) -> f32 { let at = i + numbers.x_offset; let cell = cell_x(at / 1); return cell; }
    fn load4_x(i: u32) -> vec4f { let step = numbers.x_stride1; return vec4f(load_x(i), load_x(i + step), load_x(i + 2 * step), load_x(i + 3 * step)); }
    fn at_x(i0: u32, i1: u32) -> u32 { return i0 * numbers.x_stride0 + i1 * numbers.x_stride1; }
    fn store_out(i: u32, value: f32) { let c = i + numbers.out_offset; { x_0[c] = value; } }
    fn store4_out(i: u32, values: vec4f, count: u32) { for (var c = 0u; c < min(count, 4u); c++) { store_out(i + c * 1u, values[c]); } }
    var<private> subgroup_lane: u32;
    var<private> subgroup_size: u32;
    fn run(task: u32, lane: u32) { store4_out(lane, load4_x(at_x(task, lane)), numbers.size); }
    @compute @workgroup_size(64) @subgroup_size(16)
    fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) workgroups: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(subgroup_invocation_id) in_subgroup: u32, @builtin(subgroup_size) size_of_subgroup: u32) {
      subgroup_lane = in_subgroup;
      subgroup_size = size_of_subgroup;
      let task = numbers.first_task + workgroup.x + workgroup.y * workgroups.x;
      if (task < numbers.end_task) { run(task, lane); }
    }
    "
  `);
});

test('what a shader depends on is in the key of its form', () => {
  const shared = region([4, 4]);
  const operands: Record<string, Region>[] = [
    { x: region([4, 4]), out: region([16]) },
    { x: region([4, 3]), out: region([16]) },
    { x: region([4, 4], { dtype: 'f16' }), out: region([16]) },
    { x: region([4, 4], { dtype: 'bf16' }), out: region([16]) },
    { x: region([70, 4], { size: 2048 }), out: region([16]) },
    { x: region([4, 4]), out: region([500], { size: 2048 }) },
    { x: shared, out: { ...shared, offset: 4 } },
    { x: { ...shared, dtype: 'f16' }, out: { ...shared, offset: 4 } },
  ];
  const forms = operands.map((each) => formOf(dispatch(each), device));
  expect(new Set(forms.map(({ key }) => key)).size).toBe(operands.length);
  expect(new Set(forms.map((form) => shaderOf(copy, form, 1024))).size).toBe(operands.length);
});

test('rows are read by vectors only where all begin and end at one', () => {
  const isAligned = (x: Region) => formOf(dispatch({ x, out: region([16]) }), device).operands[0]?.isAligned;
  expect(isAligned(region([3, 8]))).toBe(true);
  expect(isAligned(region([3, 8], { offset: 4 }))).toBe(true);
  expect(isAligned(region([3, 8], { offset: 2 }))).toBe(false);
  expect(isAligned(region([3, 6]))).toBe(false);
  expect(isAligned(region([3, 8], { strides: [10, 1] }))).toBe(false);
  expect(isAligned(region([1, 8], { strides: [10, 1] }))).toBe(true);
  expect(isAligned(region([8, 8], { strides: [1, 8] }))).toBe(false);
});

test('of a buffer only that is bound where the operands lie', () => {
  const far = { size: 8192, offset: 1100 };
  const x = region([4, 4], far);
  const ofBindings = (operands: Record<string, Region>) => {
    const each = dispatch(operands);
    const form = formOf(each, device);
    const view = new DataView(new ArrayBuffer(64));
    writeNumbers(each, form, 0, 1, view, 0);
    const offsets = [view.getUint32(12, true), view.getUint32(24, true)];
    return [form.bindings.map(({ offset, size }) => [offset, size]), offsets];
  };
  expect(ofBindings({ x, out: region([16]) })).toEqual([
    [
      [4352, 256],
      [0, 256],
    ],
    [12, 0],
  ]);
  // Rows and columns in between are bound too, up to the last.
  const view = region([2, 4], { ...far, strides: [100, 1] });
  expect(ofBindings({ x: view, out: region([16]) })).toEqual([
    [
      [4352, 512],
      [0, 256],
    ],
    [12, 0],
  ]);
  // What shares bindings begins where the first begins.
  const out = { ...x, shape: [16], strides: [1], offset: 1300 };
  expect(ofBindings({ x, out })).toEqual([[[4352, 1024]], [12, 212]]);
  expect(ofBindings({ x: region([0, 4], { offset: 256 }), out: region([16]) })).toEqual([
    [
      [0, 256],
      [0, 256],
    ],
    [256, 0],
  ]);
});

test('numbers lie in the order of the shader', () => {
  const x = region([5, 3], { offset: 7, strides: [3, 1] });
  const view = new DataView(new ArrayBuffer(256));
  const each = dispatch({ x, out: region([16], { offset: 2 }) });
  writeNumbers(each, formOf(each, device), 10, 20, view, 16);
  const words = Array.from({ length: numbersBytes(copy) / 4 }, (_, i) => view.getUint32(16 + 4 * i, true));
  // First and last task, infinity, offset and strides of x, offset of out, size; then up to a multiple of 16 bytes.
  expect(words).toEqual([10, 20, 0x7f800000, 7, 3, 1, 2, 4]);
  expect(view.getUint32(12, true)).toBe(0);
});

test('two things of one name are refused, whether in the text or among the numbers', () => {
  const refusal = (more: Partial<Kernel>) => {
    const kernel = { ...copy, ...more };
    const form = formOf(dispatch({ x: region([24, 32]), out: region([256]) }, kernel), device);
    return () => shaderOf(kernel, form, 1024);
  };
  const body = (line: string) => `${line}\n${copy.body}`;
  expect(refusal({ body: body('fn power() { let x = 1; } // fn power() {}') })).not.toThrow();
  expect(refusal({ body: body('fn power() {} fn other() { const power = 1; }') })).not.toThrow();
  expect(refusal({ body: body('fn power() {}\nconst power = 1;') })).toThrow('copy has two things of the name power');
  expect(refusal({ body: body('var<workgroup> load_x: array<f32, 4>;') })).toThrow('of the name load_x');
  expect(refusal({ numbers: { size: 'u32', x_stride0: 'u32' } })).toThrow('of the name x_stride0');
});
