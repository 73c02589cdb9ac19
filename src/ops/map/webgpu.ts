/** Functions of elements in WGSL: four at a time where rows allow it, else one by one. */
import type { Value } from '../../expressions/typed';
import { type Dispatch, flat, type Kernel, variants } from '../../runtime/webgpu/kernel';
import { type Code, tensorOperands, tensorSizes, tensorsCode, Writer } from '../../runtime/webgpu/kernels/expressions';
import { functions } from '../../runtime/webgpu/kernels/functions';
import { overVectors, VECTOR_INVOCATIONS, vectorTasks } from '../../runtime/webgpu/kernels/vectors';
import type { Plan } from '../../runtime/webgpu/plan';
import { isFloat } from '../../tensor/dtype';
import type { Elements } from '../../tensor/elements';
import type { Tensor } from '../../tensor/tensor';
import { type Axis, axesOf } from './broadcast';
import type { Item, MapCall } from './call';
import type { Compiled } from './function';

/** What a pipeline depends on; plain data. */
interface Variant {
  readonly name: string;
  readonly code: Pick<Code, 'functions' | 'text' | 'numbers'>;
  readonly inputs: number;
  readonly results: readonly Value['type'][];
  /** The element types of the captured tensors. */
  readonly tensors: readonly ('f32' | 'i32')[];
  readonly axes: number;
  /** Whether four elements in a row are taken at once. */
  readonly takesVectors: boolean;
}

const kernelFor = variants(({ name, code, inputs, results, tensors, axes, takesVectors }: Variant): Kernel => {
  const x = Array.from({ length: inputs }, (_, at) => `x${at}`);
  const out = results.map((_, at) => `out${at}`);
  const rest = Array.from({ length: axes }, (_, at) => axes - 1 - at);
  const indices = rest
    .map((axis) =>
      axis === 0
        ? 'let i0 = rest0;'
        : `let i${axis} = rest${axis} % numbers.extent${axis}; let rest${axis - 1} = rest${axis} / numbers.extent${axis};`,
    )
    .join(' ');
  const place = Array.from({ length: axes }, (_, axis) => `i${axis}`).join(', ');
  const open = (at: string) => `let rest${axes - 1} = ${at}; ${indices}`;
  const call = (component: string) => `mapped(${x.map((each) => `${each}${component}`).join(', ')})`;
  const field = (at: number) => (results.length === 1 ? '' : `.r${at}`);
  const four = ['x', 'y', 'z', 'w'];
  const each = takesVectors
    ? `${open('i')}
      ${x.map((each) => `let ${each} = load4_${each}(at_${each}(${place}));`).join('\n      ')}
      ${four.map((c) => `let r_${c} = ${call(`.${c}`)};`).join('\n      ')}
      ${out.map((each, at) => `store4_${each}(i, vec4f(${four.map((c) => `r_${c}${field(at)}`).join(', ')}), numbers.size - i);`).join('\n      ')}`
    : `for (var e = i; e < min(i + 4, numbers.size); e++) {
        ${open('e')}
        ${x.map((each) => `let ${each} = load_${each}(at_${each}(${place}));`).join('\n        ')}
        let r = ${call('')};
        ${out.map((each, at) => `store_${each}(e, r${field(at)});`).join('\n        ')}
      }`;
  const captured = tensorsCode(tensors);
  const vector = takesVectors ? { vector: true } : {};
  return {
    name,
    invocations: VECTOR_INVOCATIONS,
    operands: {
      ...Object.fromEntries(x.map((each) => [each, { access: 'read', rank: axes, ...vector } as const])),
      ...Object.fromEntries(out.map((each) => [each, { access: 'write', ...vector } as const])),
      ...captured.operands,
    },
    numbers: {
      size: 'u32',
      ...Object.fromEntries(Array.from({ length: axes - 1 }, (_, axis) => [`extent${axis + 1}`, 'u32' as const])),
      ...captured.numbers,
      ...code.numbers,
    },
    body: `${functions(...captured.functions, ...code.functions)}${captured.text}\n${code.text}\n${overVectors(each)}`,
  };
});

const codes = new WeakMap<Compiled, Code>();

/** The function `mapped` of an element of each input. */
export function codeOf(compiled: Compiled, inputs: readonly Pick<Elements, 'dtype'>[]): Code {
  let code = codes.get(compiled);
  if (!code) {
    const writer = new Writer();
    const names = inputs.map((_, at) => `x${at}`);
    const parameters = inputs.map(({ dtype }, at) => `x${at}: ${isFloat(dtype) ? 'f32' : 'i32'}`).join(', ');
    writer.add('mapped', compiled.results, { parameters, inputs: names });
    code = writer.code();
    codes.set(compiled, code);
  }
  return code;
}

export function planMap(call: MapCall): Plan {
  return {
    dispatches: call.items.filter(({ outs }) => (outs[0] as Tensor).size > 0).map((item) => dispatchOf(call, item)),
  };
}

function dispatchOf({ function: { name }, compiled, numbers, tensors }: MapCall, { inputs, outs }: Item): Dispatch {
  const [{ size, shape }] = outs as [Tensor];
  const code = codeOf(compiled, inputs);
  const { functions, text } = code;
  const axes = axesOf(inputs, shape);
  const takesVectors =
    [...inputs, ...outs].every(({ dtype }) => isFloat(dtype)) &&
    (axes.length === 1 || (axes.at(-1) as Axis).extent % 4 === 0);
  const regions = inputs.map(({ storage, dtype, offset }, at) => [
    `x${at}`,
    {
      storage,
      dtype,
      offset,
      shape: axes.map(({ extent }) => extent),
      strides: axes.map(({ strides }) => strides[at] as number),
    },
  ]);
  return {
    kernel: kernelFor({
      name,
      code: { functions, text, numbers: code.numbers },
      inputs: inputs.length,
      results: compiled.results.map(({ type }) => type),
      axes: axes.length,
      takesVectors,
      tensors: tensors.map(({ dtype }) => dtype as 'f32' | 'i32'),
    }),
    operands: {
      ...Object.fromEntries(regions),
      ...Object.fromEntries(outs.map((out, at) => [`out${at}`, flat(out)])),
      ...tensorOperands(tensors),
    },
    numbers: {
      size,
      ...Object.fromEntries(axes.slice(1).map(({ extent }, axis) => [`extent${axis + 1}`, extent])),
      ...tensorSizes(tensors),
      ...code.values,
      ...Object.fromEntries(numbers.map((value, at) => [`c${at}`, value])),
    },
    tasks: vectorTasks(size),
    operations: 40 * compiled.work * size,
  };
}
