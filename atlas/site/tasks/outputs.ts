import { disposeResults, settled } from '../../../src/methods/outputs';
import { type Page, shapeOfSpec } from '../../../src/methods/page';
import { createRuntime } from '../../../src/ops/create-runtime';
import type { Runtime } from '../../../src/runtime/runtime';
import { toFloat64 } from '../../../src/tensor/host';
import type { Tensor } from '../../../src/tensor/tensor';
import type { TaskControl } from '../answer';
import { isPicture, pictureShown, type Shown, shownAs } from '../shown';
import { inputsOf } from './inputs';
import { type Setting, settle } from './setting';

/** Elements of all inputs. */
const MOST = 2 ** 22;

let starting: Promise<Runtime> | undefined;

/** What a page shows, and in a sentence where it comes from. */
export interface Outputs {
  readonly shown: readonly Shown[];
  readonly said: string;
}

const SAID = 'Computed by the library on the sample of this page, at the setting chosen.';

/** The outputs of a setting as they are shown, behind those of its inputs that are pictures; first of all what is the glyph. */
export async function outputsShown(
  { setting }: { readonly setting: Setting },
  { signal }: Partial<TaskControl>,
): Promise<Outputs> {
  const { method, params } = settle(setting);
  const shapes = Object.values(method.inputs).map((spec) => shapeOfSpec(spec, setting.extents));
  const size = shapes.reduce((sum, shape) => sum + shape.reduce<number>((a, b) => a * (b ?? 1), 1), 0);
  if (size > MOST)
    throw new Error(
      `Outputs are shown for up to ${MOST.toLocaleString('en')} numbers of input, got ${size.toLocaleString('en')}.`,
    );
  starting ??= createRuntime({ backend: 'wasm' });
  const inputs = await inputsOf(await starting, setting);
  try {
    const pictures = Object.entries(method.inputs).filter(([, spec]) => isPicture(spec));
    const { page } = (await method.page?.()) ?? {};
    const swept = page?.sweep ? [await sweptOf(page.sweep, setting, inputs)] : [];
    const results = await settled(method.forward(inputs as never, params, { signal }));
    try {
      const made = await madeBy(page, { ...inputs, ...results }, params);
      const all = await Promise.all([
        ...swept,
        ...pictures.map(([name, spec]) => shownTensor(name, spec, inputs[name])),
        ...Object.entries(results).map(([name, result]) => shownTensor(name, method.outputs[name], result)),
      ]);
      const shown = [...made, ...all.filter(({ name }) => !made.some((picture) => picture.name === name))];
      const first = page?.glyph?.output;
      return { shown: shown.sort((a, b) => Number(b.name === first) - Number(a.name === first)), said: SAID };
    } finally {
      disposeResults(results);
    }
  } finally {
    for (const tensor of Object.values(inputs)) tensor.dispose();
  }
}

/** The first number of the first output at each pair of two params. */
async function sweptOf(
  { name, down, across }: NonNullable<Page['sweep']>,
  setting: Setting,
  inputs: Readonly<Record<string, Tensor>>,
): Promise<Shown> {
  const pairs = down.values.flatMap((y) => across.values.map((x) => ({ [down.param]: y, [across.param]: x })));
  const numbers = pairs.map(async (pair) => {
    const { method, params } = settle({ ...setting, params: { ...setting.params, ...pair } });
    const results = await settled(method.forward(inputs as never, params));
    const [number] = (await Object.values(results)[0].read()) as Float32Array;
    disposeResults(results);
    return number;
  });
  const [rows, columns] = [down.values.length, across.values.length];
  const shape = [rows, columns];
  return { name, kind: 'picture', shape, planes: 1, rows, columns, data: await Promise.all(numbers) };
}

/** The page's own pictures. */
async function madeBy(
  page: Page | undefined,
  tensors: Readonly<Record<string, Tensor>>,
  params: object,
): Promise<Shown[]> {
  if (!page?.pictures) return [];
  const read = Object.entries(tensors).map(async ([name, tensor]) => [name, await numbersOf(tensor)] as const);
  return page
    .pictures(Object.fromEntries(await Promise.all(read)), params as Page['sample']['params'])
    .map(pictureShown);
}

export const numbersOf = async (tensor: Tensor) => ({
  shape: tensor.shape,
  data: toFloat64((await tensor.toHost()) as never),
});

async function shownTensor(name: string, spec: string, tensor: Tensor): Promise<Shown> {
  return shownAs(name, spec, { dtype: tensor.dtype, ...(await numbersOf(tensor)) });
}
