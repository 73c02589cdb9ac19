/** The inputs of a setting: real ones, those of its page's sample, or random ones. */
import { shapeOfSpec } from '../../../src/methods/page';
import { toyPicture } from '../../../src/methods/toy';
import { initial } from '../../../src/nn/module';
import type { Control } from '../../../src/runtime/backend';
import type { Runtime } from '../../../src/runtime/runtime';
import type { Tensor } from '../../../src/tensor/tensor';
import { tokensIn } from '../problem';
import { isPicture } from '../shown';
import type { RealQkv } from './real';
import { type Setting, settle } from './setting';

/** The setting's real numbers, if it has some, and the setting as they have it: a text may be shorter than was asked for. */
export async function withNumbers(
  setting: Setting,
  control: Control,
): Promise<{ readonly setting: Setting; readonly real?: RealQkv }> {
  if (!setting.numbers) return { setting };
  const { realInputs } = await import('./real');
  const real = await realInputs(setting, control);
  const { extents } = setting;
  const [, n] = real.host.q.shape;
  return { setting: 'rows' in extents ? setting : { ...setting, extents: { ...extents, n } }, real };
}

/** Numbers that the method's page gives, by input. */
export async function sampleInputs(setting: Setting): Promise<Readonly<Record<string, ArrayLike<number>>>> {
  const loaded = await settle(setting).method.page?.();
  return loaded?.page.sample.inputs?.(setting.extents) ?? {};
}

/**
 * Real q, k and v, the numbers of the page's sample, a toy picture, or normal ones; what a model would compute besides comes from a layer with
 * the weights that training starts from.
 */
export async function inputsOf(runtime: Runtime, setting: Setting, real?: RealQkv): Promise<Record<string, Tensor>> {
  const { method, params } = settle(setting);
  const { extents } = setting;
  const { h, d } = extents;
  const numbers = await sampleInputs(setting);
  const specOf: Readonly<Record<string, string>> = { ...method.optional, ...method.inputs };
  const specs = Object.entries(specOf);
  const known = specs
    .filter(([name]) => name in method.inputs || (!real && name in numbers))
    .map(([name, spec]) => [name, shapeOfSpec(spec, extents)] as const)
    .filter((entry): entry is [string, number[]] => !entry[1].includes(undefined));
  return runtime.scope(() => {
    const given = Object.fromEntries(
      known.map(([name, shape], at) => {
        const host = real?.host[name as keyof RealQkv['host']];
        if (host) return [name, runtime.fromHost(host)];
        const { [name]: values } = numbers;
        if (values) {
          const typed = method.integers?.includes(name) ? Int32Array.from(values) : Float32Array.from(values);
          return [name, runtime.tensor(typed, shape)];
        }
        if (isPicture(specOf[name])) return [name, runtime.tensor(toyPicture(shape), shape)];
        // Variances are positive.
        if (name.endsWith('running_var'))
          return [name, runtime.random(shape, { seed: at + 1, distribution: 'uniform' })];
        return [name, runtime.random(shape, { seed: at + 1 })];
      }),
    );
    if (!method.layer) return given;
    const width = h * d;
    const layer = method.layer({ width, heads: h, keyHeads: h, d, e: d, layer: 0, layers: 1 }, params);
    const x = runtime.random([1, tokensIn(extents), width], { seed: 9 });
    // The sample's numbers of what a layer computes besides take the place of these, where they have the extents.
    const sampled = Object.entries(given).filter(([name]) => !real && name in numbers);
    return { ...given, ...layer.inputs(x, given as never, initial(layer, runtime)), ...Object.fromEntries(sampled) };
  });
}
