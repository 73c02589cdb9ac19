import { expect, test, vi } from 'vitest';
import { expectClose } from '../../test/expect';
import {
  attention,
  attentionBackward,
  conv,
  createRuntime,
  elementwise,
  hostTensor,
  map,
  matmul,
  type Tensor,
  warm,
} from '../index';
import * as scores from '../scores';
import { normal } from '../tensor/random';
import { packWeight } from '../weights';

test('kernels that are warm are not compiled by the first call', async () => {
  using runtime = await createRuntime({ threads: 1, native: false });
  const x = runtime.random([1, 20, 1, 2]);
  const compiled = vi.spyOn(WebAssembly, 'Module');
  try {
    await warm(runtime, ['attention']);
    const modules = compiled.mock.calls.length;
    expect(modules).toBeGreaterThan(0);
    const { out, lse } = attention(x, x, x, { score: scores.softcap(2) });
    const { gradQ } = attentionBackward(x, x, x, { out, lse, gradOut: x });
    const last = attention(x.slice(1, 0, 1), x, x);
    for (const result of [gradQ, last.out]) await result.read();
    await warm(runtime, ['attention']);
    expect(compiled).toHaveBeenCalledTimes(modules);
  } finally {
    compiled.mockRestore();
  }
});

const RELU = elementwise((x) => Math.max(x, 0));
/** Of a tensor [240, 64]. */
const WITH_PROGRAMS = {
  map: (x: Tensor) => map((each) => Math.max(each, 0), x),
  'matmul of many rows': (x: Tensor) => matmul(x, x, { transposeB: true, epilogue: RELU }),
  'matmul of a row': (x: Tensor) => matmul(x.slice(0, 0, 1), x, { transposeB: true, epilogue: RELU }),
  'packed weights': (x: Tensor) => {
    using weight = packWeight(x.runtime, hostTensor(normal(64 * 8, 2), [8, 64]), { type: 'f32' });
    return matmul(x, weight, { transposeB: true, epilogue: RELU });
  },
  conv: (x: Tensor) => conv(x.reshape([1, 240, 64]), x.slice(0, 0, 192).reshape([64, 64, 3]), { epilogue: RELU }),
  'attention with a score': (x: Tensor) => attention(...heads(x), { score: scores.softcap(2) }).out,
  'attention of a query with a score': (x: Tensor) => {
    const [q, k, v] = heads(x);
    return attention(q.slice(1, 0, 1), k, v, { score: scores.softcap(2) }).out;
  },
};
const heads = (x: Tensor) => [x, x, x].map((each) => each.reshape([1, 240, 1, 64])) as [Tensor, Tensor, Tensor];

test.each(Object.entries(WITH_PROGRAMS))(
  '%s, the first call of a runtime, finds the operations of its program',
  async (_, call) => {
    const [results, expected] = await Promise.all(
      [createRuntime({ threads: 2, native: false }), createRuntime({ backend: 'reference' })].map(async (opening) => {
        using runtime = await opening;
        return await call(runtime.random([240, 64], { seed: 1 })).read();
      }),
    );
    expectClose(results as Float32Array, expected as Float32Array, 1e-4);
  },
);

test('what is no op and what cannot be warmed is refused by name', async () => {
  using runtime = await createRuntime({ threads: 1 });
  await expect(warm(runtime, ['attention', 'atention' as never])).rejects.toThrow(
    /^ops\[1\] must be one of attention, argsort, .*, topK, got 'atention'$/,
  );
  await expect(warm(runtime, 'attention' as never)).rejects.toThrow(
    "ops must be a list of names of ops, got 'attention'",
  );
  await expect(warm({} as never, [])).rejects.toThrow('runtime must be a Runtime, got an object');
  const gpu = Object.assign(Object.create(runtime), { backend: { name: 'webgpu' } });
  await expect(warm(gpu, ['map'])).rejects.toThrow('warm is for the wasm backend: kernels of a GPU are compiled');
});
