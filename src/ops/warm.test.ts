import { expect, test, vi } from 'vitest';
import { attention, createRuntime, warm } from '../index';

test('kernels that are warm are not compiled by the first call', async () => {
  using runtime = await createRuntime({ threads: 1 });
  const x = runtime.tensor([1, 2, 3, 4], [1, 2, 1, 2]);
  const compiled = vi.spyOn(WebAssembly, 'Module');
  try {
    await warm(runtime, ['attention']);
    expect(compiled).toHaveBeenCalledOnce();
    await attention(x, x, x).out.read();
    await warm(runtime, ['attention']);
    expect(compiled).toHaveBeenCalledOnce();
  } finally {
    compiled.mockRestore();
  }
});

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
