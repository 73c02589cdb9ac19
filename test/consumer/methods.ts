/** Types of methods as the package has them; checked, not run. */
import * as valibot from 'valibot';
import { defineMaskedMethod, findMethod, type Tensor } from '../../src/index';
import * as masks from '../../src/masks';
import { gatedDeltaRule } from '../../src/methods';
import { createDecoder } from '../../src/models';

const near = defineMaskedMethod({
  name: 'near',
  family: 'mine',
  summary: 'a window',
  params: valibot.strictObject({ window: valibot.number() }),
  mask: ({ window }) => masks.band(window, 0),
  sees:
    ({ window }) =>
    (i, j) =>
      j <= i && i - j <= window,
  variants: () => [{ window: 1 }],
});

export function useMethods(q: Tensor): Tensor[] {
  // @ts-expect-error there is no such param
  near.parse({ windows: 3 });
  // @ts-expect-error nor here
  findMethod('power-attention').parse({ blok: 64 });
  // @ts-expect-error nor here
  createDecoder({}, { attention: { method: near, params: { windows: 3 } } });
  createDecoder({}, { attention: [{ method: near, params: { window: 3 } }, gatedDeltaRule] });
  const { out, lse } = near.forward({ q, k: q, v: q }, near.parse({ window: 3 }));
  const { state } = gatedDeltaRule.forward({ q, k: q, v: q, g: q, beta: q }, gatedDeltaRule.parse({}));
  return [out, lse, state];
}
