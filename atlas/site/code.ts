/** The program and the command of a setting, safe to copy whatever its params contain. */

import { shapeOfSpec } from '../../src/methods/page';
import { literal } from '../../src/text/literal';
import { shellCommand } from '../../src/text/shell';
import type { PageData } from '../build/page-data';
import { gridIn } from './problem';
import type { Setting } from './tasks/setting';

/** Draws the mask, or runs the method on tensors of a file. */
export function commandOf({ spatial, masked }: PageData, { method, extents, params }: Setting): string {
  const settings = ['--params', JSON.stringify(params)];
  if (!masked)
    return shellCommand([
      'npx',
      'saccade',
      'run',
      method,
      '--in',
      'in.safetensors',
      '--out',
      'out.safetensors',
      ...settings,
    ]);
  const grid = gridIn(extents);
  const sizes = spatial ? ['--grid', grid.join('x')] : ['--size', String(grid[0])];
  return shellCommand(['npx', 'saccade', 'mask', method, ...sizes, '--heads', String(extents.h), ...settings]);
}

/** Runs the method on random numbers. */
export function programOf(data: PageData, setting: Setting, needsLayer: boolean): string {
  if (needsLayer) return layerProgram(setting);
  return data.baseline ? plainProgram(data, setting) : namedProgram(data, setting);
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
  const { method, params, extents } = setting;
  const { n, h: heads, d } = extents;
  return `import { createRuntime, findMethod } from 'saccade';
import { initial } from 'saccade/nn';

const runtime = await createRuntime();
const method = findMethod('${method}');
const params = method.parse(${literal(params)});
const [q, k, v] = [1, 2, 3].map((seed) => runtime.random(${shapeOf(setting)}, { seed }));
// What a model's layer computes beside q, k and v, with the weights that training starts from.
const layer = method.layer({ width: ${heads * d}, heads: ${heads}, keyHeads: ${heads}, d: ${d}, e: ${d}, layer: 0, layers: 1 }, params);
const x = runtime.random([1, ${n}, ${heads * d}], { seed: 9 });
const { out } = method.forward({ q, k, v, ...layer.inputs(x, { q, k, v }, initial(layer, runtime)) }, params);
console.log(out.shape, await out.read());
runtime.dispose();`;
}

const shapeOf = ({ extents }: Setting) => `[1, ${[...gridIn(extents), extents.h, extents.d].join(', ')}]`;

/** Inputs of shapes of their own, by name. */
function namedProgram(
  { inputs, integers, positive, output, promised }: PageData,
  { method, extents, params }: Setting,
): string {
  const tensors = Object.entries(inputs).map(([name, spec], at) => {
    const shape = `[${shapeOfSpec(spec, extents).join(', ')}]`;
    const zeros = `runtime.tensor(new Int32Array(${shapeOfSpec(spec, extents).join(' * ')}), ${shape})`;
    const uniform = positive.includes(name) ? ", distribution: 'uniform'" : '';
    return `  '${name}': ${integers.includes(name) ? zeros : `runtime.random(${shape}, { seed: ${at + 1}${uniform} })`},`;
  });
  return `import { createRuntime, findMethod } from 'saccade';

const runtime = await createRuntime();
const method = findMethod('${method}');
const inputs = {
${tensors.join('\n').replaceAll(/'(\w+)':/g, '$1:')}
};
const results = method.forward(inputs, method.parse(${literal(params)}));
const output = ${promised ? 'await ' : ''}results['${output}'];
console.log(output.shape, await output.read());
runtime.dispose();`;
}
