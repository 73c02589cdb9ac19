/** The shader around a kernel's body, for the operands of a dispatch, and how these are bound. */
import { BackendError, UnsupportedError } from '../../errors';
import { bytesPerElement, type DType } from '../../tensor/dtype';
import { lastElement, sizeOf } from '../../tensor/shape';
import type { GpuBuffer } from './buffer';
import type { Dispatch, Kernel, OperandSpec, Region } from './kernel';

/** How a dispatch's operands are bound. */
export interface Form {
  /** What the shader depends on besides the kernel. */
  readonly key: string;
  readonly operands: readonly OperandForm[];
  readonly bindings: readonly Binding[];
}

interface OperandForm {
  readonly name: string;
  readonly spec: OperandSpec;
  readonly dtype: DType;
  /** Whether its rows are read as whole vectors. */
  readonly isAligned: boolean;
  /** The operand whose bindings hold it: itself, or another one in the same buffer. */
  readonly holder: string;
  readonly parts: number;
  /** Whether its bindings hold words, because operands of different dtypes share them. */
  readonly isWords: boolean;
  /** The byte offset in the buffer at which its bindings begin. */
  readonly begin: number;
}

interface Binding {
  readonly buffer: GpuBuffer;
  readonly isWritten: boolean;
  readonly offset: number;
  readonly size: number;
}

/** Alignment of bindings and vectors, in bytes. */
const ALIGNMENT = 256;

/** Most bytes of a binding. */
export const partBytes = ({ limits }: GPUDevice) =>
  Math.floor(Math.min(limits.maxStorageBufferBindingSize, 2 ** 31) / ALIGNMENT) * ALIGNMENT;

export function formOf({ kernel, operands }: Dispatch, device: GPUDevice): Form {
  const names = Object.keys(kernel.operands);
  const bufferOf = (name: string) => (operands[name] as Region).storage.buffer as GpuBuffer;
  const isWritten = (name: string) => (kernel.operands[name] as OperandSpec).access !== 'read';
  const written = new Set(names.filter(isWritten).map((name) => bufferOf(name).handle));
  // A buffer that is written may be bound only once.
  const holderOf = (name: string) =>
    written.has(bufferOf(name).handle)
      ? (names.find((other) => bufferOf(other).handle === bufferOf(name).handle) as string)
      : name;
  const holders = names.map(holderOf);
  const most = partBytes(device);
  const bindings: Binding[] = [];
  const each = names.map((name, at): OperandForm => {
    const region = operands[name] as Region;
    const spec = kernel.operands[name] as OperandSpec;
    const holder = holders[at] as string;
    const sharing = names.filter((_, other) => holders[other] === holder).map((other) => operands[other] as Region);
    const buffer = bufferOf(name);
    const [begin, end] = rangeOf(sharing, buffer.handle.size);
    if (holder === name) {
      for (let offset = begin; offset < end; offset += most) {
        bindings.push({ buffer, isWritten: written.has(buffer.handle), offset, size: Math.min(most, end - offset) });
      }
    }
    const isAligned = spec.vector === true && sharing.length === 1 && isVectors(region);
    const isWords = sharing.some(({ dtype }) => dtype !== region.dtype);
    const parts = Math.ceil((end - begin) / most);
    return { name, spec, dtype: region.dtype, isAligned, holder, parts, isWords, begin };
  });
  const isMixed = kernel.alike === true && each.some(({ spec, isAligned }) => spec.vector && !isAligned);
  const forms = isMixed ? each.map((form) => ({ ...form, isAligned: false })) : each;
  const { maxStorageBuffersPerShaderStage } = device.limits;
  if (bindings.length > maxStorageBuffersPerShaderStage) {
    const remedy = forms.some(({ parts }) => parts > 1)
      ? `for tensors this large, of ${most} bytes each, and this GPU has ${maxStorageBuffersPerShaderStage}: split the tensors along batch, or into tensors of some heads each`
      : `and this device has ${maxStorageBuffersPerShaderStage}: request a higher maxStorageBuffersPerShaderStage for a device of your own`;
    throw new UnsupportedError(`${kernel.name} needs ${bindings.length} bindings ${remedy}, or use backend 'wasm'`);
  }
  const key = forms
    .map(
      ({ dtype, isAligned, holder, parts, isWords }) =>
        `${holder} ${dtype} ${isAligned} ${parts} ${isWords} ${written.has(bufferOf(holder).handle)}`,
    )
    .join();
  return { key, operands: forms, bindings };
}

/** The bytes of a buffer that regions take up, aligned, and not empty, since no binding may be. */
function rangeOf(regions: readonly Region[], size: number): readonly [begin: number, end: number] {
  let [begin, end] = [size, 0];
  for (const { dtype, shape, strides, offset } of regions) {
    if (sizeOf(shape) === 0) continue;
    const bytes = bytesPerElement(dtype);
    const last = lastElement(shape, strides, offset);
    begin = Math.min(begin, offset * bytes);
    end = Math.max(end, (last + 1) * bytes);
  }
  const aligned = end > 0 ? Math.floor(begin / ALIGNMENT) * ALIGNMENT : 0;
  return [aligned, Math.min(size, Math.max(1, Math.ceil(end / ALIGNMENT)) * ALIGNMENT)];
}

/** Whether all rows of a region begin and end at vectors. */
function isVectors({ shape, strides, offset }: Region): boolean {
  const last = shape.length - 1;
  return (
    (shape[last] ?? 1) % 4 === 0 &&
    strides[last] === 1 &&
    offset % 4 === 0 &&
    strides.every((stride, axis) => axis === last || shape[axis] === 1 || stride % 4 === 0)
  );
}

/** Numbers of every shader, before the kernel's own. */
const SHARED_NUMBERS = { first_task: 'u32', end_task: 'u32', infinity: 'f32' } as const;

/** The whole shader. Bindings have at most `most` bytes; subgroups have one size only if it is given. */
export function shaderOf(kernel: Kernel, form: Form, most: number, subgroupSize?: number): string {
  const numbers: Record<string, string> = { ...SHARED_NUMBERS };
  for (const { name, spec } of form.operands) {
    numbers[`${name}_offset`] = 'u32';
    for (let axis = 0; axis < (spec.rank ?? 0); axis++) numbers[`${name}_stride${axis}`] = 'u32';
  }
  const ofCall = Object.keys(numbers);
  Object.assign(numbers, kernel.numbers);
  let binding = 1;
  const written = (holder: string) => form.operands.some((x) => x.holder === holder && x.spec.access !== 'read');
  const declarations = form.operands.flatMap((operand) => {
    const { name, holder, parts } = operand;
    const access = written(holder) ? 'read_write' : 'read';
    return holder === name
      ? Array.from(
          { length: parts },
          (_, part) =>
            `@group(0) @binding(${binding++}) var<storage, ${access}> ${name}_${part}: array<${cellOf(operand).type}>;`,
        )
      : [];
  });
  const { subgroups, invocations } = kernel;
  const text = [
    ...(subgroups ? ['enable subgroups;'] : []),
    ...(subgroups && subgroupSize ? ['enable subgroup_size_control;'] : []),
    `struct Numbers { ${Object.entries(numbers)
      .map(([name, type]) => `${name}: ${type}`)
      .join(', ')} }`,
    '@group(0) @binding(0) var<uniform> numbers: Numbers;',
    ...declarations,
    ...form.operands.flatMap((operand) => accessors(operand, most)),
    ...(subgroups ? ['var<private> subgroup_lane: u32;', 'var<private> subgroup_size: u32;'] : []),
    kernel.body.trim(),
    `@compute @workgroup_size(${invocations})${subgroups && subgroupSize ? ` @subgroup_size(${subgroupSize})` : ''}`,
    `fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) workgroups: vec3u, @builtin(local_invocation_index) lane: u32${
      subgroups
        ? ', @builtin(subgroup_invocation_id) in_subgroup: u32, @builtin(subgroup_size) size_of_subgroup: u32'
        : ''
    }) {`,
    ...(subgroups ? ['  subgroup_lane = in_subgroup;', '  subgroup_size = size_of_subgroup;'] : []),
    '  let task = numbers.first_task + workgroup.x + workgroup.y * workgroups.x;',
    '  if (task < numbers.end_task) { run(task, lane); }',
    '}',
    '',
  ].join('\n');
  refuseTwins(kernel.name, [...ofCall, ...Object.keys(kernel.numbers ?? {})]);
  refuseTwins(kernel.name, declaredIn(text));
  return text;
}

/** Two things of one name: some compilers refuse it, and numbers would be read from the wrong place. */
function refuseTwins(kernel: string, names: readonly string[]): void {
  const twin = names.find((name, at) => names.indexOf(name) !== at);
  if (twin !== undefined)
    throw new BackendError(`the kernel ${kernel} has two things of the name ${twin}: please report this`);
}

const DECLARATIONS = /[{}]|\b(?:fn|struct|const|override|alias|var(?:<[^>]*>)?)\s+(\w+)/g;

/** The names that a shader declares outside of functions. */
export function declaredIn(text: string): string[] {
  const names: string[] = [];
  let depth = 0;
  for (const [token, name] of text.replace(/\/\/.*$/gm, '').matchAll(DECLARATIONS)) {
    if (token === '{') depth++;
    else if (token === '}') depth--;
    else if (depth === 0) names.push(name as string);
  }
  return names;
}

/** Writes the numbers for the tasks of a dispatch from `first` to `end`, as in the shader's struct. */
export function writeNumbers(
  { kernel, operands, numbers }: Dispatch,
  form: Form,
  first: number,
  end: number,
  view: DataView,
  at: number,
): void {
  let place = at;
  const put = (type: 'u32' | 'i32' | 'f32', value: number) => {
    if (type === 'f32') view.setFloat32(place, value, true);
    else if (type === 'i32') view.setInt32(place, value, true);
    else view.setUint32(place, value, true);
    place += 4;
  };
  put('u32', first);
  put('u32', end);
  put('f32', Number.POSITIVE_INFINITY);
  for (const { name, spec, dtype, begin } of form.operands) {
    const { offset, strides } = operands[name] as Region;
    // An empty region may begin before its binding.
    put('u32', Math.max(0, offset - begin / bytesPerElement(dtype)));
    for (let axis = 0; axis < (spec.rank ?? 0); axis++) put('u32', strides[axis] as number);
  }
  for (const [name, type] of Object.entries(kernel.numbers ?? {})) put(type, numbers[name] as number);
}

/** Bytes of a kernel's numbers. */
export function numbersBytes({ operands, numbers = {} }: Kernel): number {
  const ofOperands = Object.values(operands).reduce((sum, { rank = 0 }) => sum + 1 + rank, 0);
  const count = Object.keys(SHARED_NUMBERS).length + ofOperands + Object.keys(numbers).length;
  return Math.ceil(count / 4) * 16;
}

/** What an operand's bindings are arrays of, and how elements are read from it. */
interface Cell {
  readonly type: string;
  readonly elements: number;
  element(cell: string, at: string): string;
  four(cell: string): string;
  /** A cell of one element, from that. */
  stored?(value: string): string;
}

const unpackBfloat = (word: string) => `vec2f(bitcast<f32>(${word} << 16), bitcast<f32>(${word} & 0xffff0000))`;

function cellOf({ dtype, isAligned, isWords }: OperandForm): Cell {
  if (isWords && (dtype === 'i32' || dtype === 'f32')) {
    const element = (cell: string) => `bitcast<${dtype}>(${cell})`;
    return { type: 'u32', elements: 1, element, four: () => '', stored: (value) => `bitcast<u32>(${value})` };
  }
  if (dtype === 'i32') return { type: 'i32', elements: 1, element: (cell) => cell, four: () => '' };
  if (dtype === 'f32') {
    return isAligned
      ? { type: 'vec4f', elements: 4, element: (cell, at) => `${cell}[${at} % 4]`, four: (cell) => cell }
      : { type: 'f32', elements: 1, element: (cell) => cell, four: () => '' };
  }
  const unpack = dtype === 'f16' ? (word: string) => `unpack2x16float(${word})` : unpackBfloat;
  return isAligned
    ? {
        type: 'vec2u',
        elements: 4,
        element: (cell, at) => `${unpack(`${cell}[(${at} / 2) % 2]`)}[${at} % 2]`,
        four: (cell) => `vec4f(${unpack(`${cell}.x`)}, ${unpack(`${cell}.y`)})`,
      }
    : { type: 'u32', elements: 2, element: (cell, at) => `${unpack(cell)}[${at} % 2]`, four: () => '' };
}

const CELL_BYTES: Record<string, number> = { f32: 4, i32: 4, u32: 4, vec2u: 8, vec4f: 16 };

function accessors(operand: OperandForm, most: number): string[] {
  const { name, spec, dtype, isAligned, holder, parts } = operand;
  const { type, elements, element, four, stored = (value: string) => value } = cellOf(operand);
  const scalar = dtype === 'i32' ? 'i32' : 'f32';
  const cellsOfPart = most / (CELL_BYTES[type] as number);
  const lines: string[] = [];
  const last = parts - 1;
  const step = spec.rank ? `numbers.${name}_stride${spec.rank - 1}` : '1u';
  const through = (line: (variable: string, cell: string) => string) =>
    Array.from({ length: parts }, (_, part) => {
      const statement = line(`${holder}_${part}`, part === 0 ? 'c' : `c - ${part * cellsOfPart}u`);
      return part < last ? `if (c < ${(part + 1) * cellsOfPart}u) { ${statement} }` : `{ ${statement} }`;
    }).join(' else ');
  if (spec.access !== 'write') {
    lines.push(`fn cell_${name}(c: u32) -> ${type} { ${through((variable, cell) => `return ${variable}[${cell}];`)} }`);
    lines.push(
      `fn load_${name}(i: u32) -> ${scalar} { let at = i + numbers.${name}_offset; let cell = cell_${name}(at / ${elements}); return ${element('cell', 'at')}; }`,
    );
    if (spec.vector) {
      lines.push(
        isAligned
          ? `fn load4_${name}(i: u32) -> vec4f { let cell = cell_${name}((i + numbers.${name}_offset) / 4); return ${four('cell')}; }`
          : `fn load4_${name}(i: u32) -> vec4f { let step = ${step}; return vec4f(load_${name}(i), load_${name}(i + step), load_${name}(i + 2 * step), load_${name}(i + 3 * step)); }`,
      );
    }
  }
  if (spec.access !== 'read') {
    const put = (value: string) => through((variable, cell) => `${variable}[${cell}] = ${value};`);
    if (!isAligned) {
      lines.push(
        `fn store_${name}(i: u32, value: ${scalar}) { let c = i + numbers.${name}_offset; ${put(stored('value'))} }`,
      );
    }
    if (spec.vector) {
      lines.push(
        isAligned
          ? `fn store4_${name}(i: u32, values: vec4f, count: u32) { let c = (i + numbers.${name}_offset) / 4; ${put('values')} }`
          : `fn store4_${name}(i: u32, values: vec4f, count: u32) { for (var c = 0u; c < min(count, 4u); c++) { store_${name}(i + c * ${step}, values[c]); } }`,
      );
    }
  }
  if (spec.rank) {
    const axes = Array.from({ length: spec.rank }, (_, axis) => axis);
    lines.push(
      `fn at_${name}(${axes.map((axis) => `i${axis}: u32`).join(', ')}) -> u32 { return ${axes
        .map((axis) => `i${axis} * numbers.${name}_stride${axis}`)
        .join(' + ')}; }`,
    );
  }
  return lines;
}
