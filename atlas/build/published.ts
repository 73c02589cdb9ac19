/** What models with published weights give for their samples: their pages open on it, and fetch no weights. */

import { isPublishedWith } from '../../src/models/define';
import { models } from '../../src/models/registry';
import { createRuntime } from '../../src/ops/create-runtime';
import type { DType } from '../../src/tensor/dtype';
import type { HostTensor } from '../../src/tensor/host';

/** Digits of the numbers, which are looked at. */
const DIGITS = 4;

/** Results by the names of the models whose samples have the params of their published weights, as JSON. */
export async function publishedResults(): Promise<Map<string, string>> {
  using runtime = await createRuntime({ backend: 'wasm' });
  const entries = models.map(async (model) => {
    const { params, inputs } = model.sample();
    if (!model.published || !isPublishedWith(model, params)) return [];
    const { load, infer } = model.create(params);
    const { tensors } = await model.published.load();
    const given = Object.entries(inputs).map(([name, host]) => [name, runtime.fromHost(host as HostTensor<DType>)]);
    const results = await infer(Object.fromEntries(given), load(runtime, tensors));
    const numbers = Object.entries(results).map(async ([name, result]) => {
      const data = Array.from(await result.read(), (value) => Number(Number(value).toPrecision(DIGITS)));
      return [name, { shape: result.shape, data }] as const;
    });
    return [[model.name, JSON.stringify(Object.fromEntries(await Promise.all(numbers)))] as const];
  });
  return new Map((await Promise.all(entries)).flat());
}
