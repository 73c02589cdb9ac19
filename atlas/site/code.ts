/** The program and the command of a setting, safe to copy whatever its params contain. */
import { literal } from '../../src/text/literal';
import { shellCommand } from '../../src/text/shell';
import type { PageData } from '../build/method-page';
import type { Setting } from './tasks/setting';

/** Draws the mask. */
export function commandOf({ spatial }: PageData, { method, tokens, heads, params }: Setting): string {
  const sizes = spatial ? ['--grid', tokens.join('x')] : ['--size', String(tokens[0])];
  const given = ['--heads', String(heads), '--params', JSON.stringify(params)];
  return shellCommand(['npx', 'saccade', 'mask', method, ...sizes, ...given]);
}

/** Runs the method on random numbers. */
export function programOf(data: PageData, setting: Setting, needsLayer: boolean): string {
  return needsLayer ? layerProgram(setting) : plainProgram(data, setting);
}

function plainProgram({ given }: PageData, setting: Setting): string {
  const { method, params } = setting;
  return `import { createRuntime, findMethod } from 'saccade';

const runtime = await createRuntime();
const [${given.join(', ')}] = [${given.map((_, at) => at + 1).join(', ')}].map((seed) => runtime.random(${shapeOf(setting)}, { seed }));
const method = findMethod('${method}');
const { out } = method.forward({ ${given.join(', ')} }, method.parse(${literal(params)}));
console.log(out.shape, await out.read());
runtime.dispose();`;
}

function layerProgram(setting: Setting): string {
  const { method, params, tokens, heads, dimension: d } = setting;
  return `import { createRuntime, findMethod } from 'saccade';
import { initial } from 'saccade/nn';

const runtime = await createRuntime();
const method = findMethod('${method}');
const params = method.parse(${literal(params)});
const [q, k, v] = [1, 2, 3].map((seed) => runtime.random(${shapeOf(setting)}, { seed }));
// What a model's layer computes beside q, k and v, with the weights that training starts from.
const layer = method.layer({ width: ${heads * d}, heads: ${heads}, keyHeads: ${heads}, d: ${d}, e: ${d}, layer: 0, layers: 1 }, params);
const x = runtime.random([1, ${tokens[0]}, ${heads * d}], { seed: 9 });
const { out } = method.forward({ q, k, v, ...layer.inputs(x, { q, k, v }, initial(layer, runtime)) }, params);
console.log(out.shape, await out.read());
runtime.dispose();`;
}

const shapeOf = ({ tokens, heads, dimension }: Setting) => `[1, ${[...tokens, heads, dimension].join(', ')}]`;
