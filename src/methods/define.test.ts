import { expect, test } from 'vitest';
import { expectRefusal } from '../../test/expect';
import { PARAMS } from '../../test/method-params';
import { UnsupportedError } from '../errors';
import { createRuntime, type Runtime, type Tensor } from '../index';
import { type Method, withGradients } from './define';
import { methods } from './registry';

/** Extents of all letters that fit every method. */
const EXTENTS: Readonly<Record<string, number>> = { b: 1, n: 6, m: 6, h: 2, g: 2, d: 4, e: 4, c: 1, o: 2, a: 2 };

/** The inputs of a method, of numbers that gates may have too. */
function inputsOf(runtime: Runtime, { inputs }: Method): Record<string, Tensor> {
  const shapes = Object.entries(inputs).map(([name, spec]) => {
    const shape = spec
      .replace('...space', 'n')
      .split(' ')
      .map((letter) => EXTENTS[letter] as number);
    return [name, runtime.tensor(new Float32Array(shape.reduce((a, c) => a * c)).fill(-0.5), shape)] as const;
  });
  return Object.fromEntries(shapes);
}

test.each(methods.map((method) => [method.name, method] as const))(
  '%s refuses what is missing, disposed or of another runtime by name',
  async (name, method) => {
    using runtime = await createRuntime({ backend: 'reference' });
    const params = method.parse(PARAMS[name] ?? {});
    for (const input of Object.keys(method.inputs)) {
      const given = inputsOf(runtime, method);
      const missing = { ...given, [input]: undefined } as never;
      await expectRefusal(runtime, () => method.forward(missing, params), `${input} must be a Tensor, got undefined`);
      given[input]!.dispose();
      await expectRefusal(runtime, () => method.forward(given as never, params), `${input}: the tensor of shape`);
    }
    const given = inputsOf(runtime, method);
    using elsewhere = await createRuntime({ backend: 'reference' });
    const [first, last] = [Object.keys(given)[0]!, Object.keys(given).at(-1)!];
    const mixed = { ...given, [last]: inputsOf(elsewhere, method)[last] } as never;
    await expectRefusal(
      runtime,
      () => method.forward(mixed, params),
      `${last} lives on another runtime than ${first}: make both with the same runtime`,
    );
  },
);

test('what is declared to have no gradient is refused one by name', () => {
  const chooses = { ...methods[0]!, name: 'chooses', gradient: false } as const;
  expect(() => withGradients(chooses, {})).toThrow(new UnsupportedError('chooses has no gradient'));
});
