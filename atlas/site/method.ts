/** The page of a method: one setting, and parts that follow it. */

import type { PageData } from '../build/method-page';
import { Helper } from './ask';
import { startCost } from './cost-part';
import { live, sentence } from './live';
import { $, $$ } from './page';
import { startPicture } from './picture-part';
import { startReach } from './reach-part';
import { startRelief } from './relief-part';
import { startRun } from './run-part';
import { SettingForm } from './setting-form';
import { startWithin } from './within-part';

const data = JSON.parse($('#method').textContent!) as PageData;
/** One helper draws and counts, one runs, so that a long run holds up no picture; beside masks another one computes weights. */
const [counter, runner] = [new Helper(), new Helper()];
const weigher = data.masked ? new Helper() : counter;
const form = new SettingForm(data, changed);

// ---- Code

function writeCode(): void {
  void live('code', async (box) => {
    const { method, tokens, heads, dimension, params } = form.setting();
    const given =
      Object.keys(params).length > 0
        ? JSON.stringify(params)
            .replace(/"(\w+)":/g, ' $1: ')
            .replaceAll(',', ', ')
            .replace(/}$/, ' }')
            .replaceAll(/, {2}/g, ', ')
        : '{}';
    const needsMore = $('#method').dataset.layer !== undefined;
    const shape = `[1, ${tokens.join(', ')}, ${heads}, ${dimension}]`;
    $('[data-code]', box).textContent = needsMore
      ? layerCode(method, shape, tokens[0], heads, dimension, given)
      : plainCode(method, shape, given);
    const command = box.querySelector('[data-command]');
    const sizes = data.spatial ? `--grid ${tokens.join('x')}` : `--size ${tokens[0]}`;
    if (command)
      command.textContent = `npx saccade mask ${method} ${sizes} --heads ${heads} --params '${JSON.stringify(params)}'`;
    return undefined;
  });
}

const plainCode = (
  method: string,
  shape: string,
  params: string,
) => `import { createRuntime, findMethod } from 'saccade';

const runtime = await createRuntime();
const [${data.given.join(', ')}] = [${data.given.map((_, at) => at + 1).join(', ')}].map((seed) => runtime.random(${shape}, { seed }));
const method = findMethod('${method}');
const { out } = method.forward({ ${data.given.join(', ')} }, method.parse(${params}));
console.log(out.shape, await out.read());
runtime.dispose();`;

const layerCode = (
  method: string,
  shape: string,
  n: number,
  heads: number,
  d: number,
  params: string,
) => `import { createRuntime, findMethod } from 'saccade';
import { initial } from 'saccade/nn';

const runtime = await createRuntime();
const method = findMethod('${method}');
const params = method.parse(${params});
const [q, k, v] = [1, 2, 3].map((seed) => runtime.random(${shape}, { seed }));
// What a model's layer computes beside q, k and v, with the weights that training starts from.
const layer = method.layer({ width: ${heads * d}, heads: ${heads}, keyHeads: ${heads}, d: ${d}, e: ${d}, layer: 0, layers: 1 }, params);
const x = runtime.random([1, ${n}, ${heads * d}], { seed: 9 });
const { out } = method.forward({ q, k, v, ...layer.inputs(x, { q, k, v }, initial(layer, runtime)) }, params);
console.log(out.shape, await out.read());
runtime.dispose();`;

for (const button of $$('[data-copy]')) {
  button.addEventListener('click', async () => {
    const text = $('code', button.parentElement!).textContent!;
    button.textContent = await navigator.clipboard.writeText(text).then(
      () => 'copied',
      () => 'not allowed',
    );
    setTimeout(() => {
      button.textContent = 'copy';
    }, 2000);
  });
}

startRun(runner, () => form.setting());

// ---- All together

const page = { data, form };
const query = () => Number($<HTMLInputElement>('#i')?.value ?? 0);
const updateReach = startReach(page, counter, query);
const updateRelief = startRelief(page, { counter, weigher }, query);
const updateCost = startCost(page, counter);
const updateWithin = startWithin(page, weigher);
const showPicture =
  data.masked || data.weighed
    ? startPicture(page, { counter, weigher }, () => {
        updateReach();
        updateRelief();
      })
    : async () => undefined;

function changed(): void {
  try {
    form.setting();
    form.complain('');
  } catch (error) {
    form.complain(sentence(error));
  }
  writeCode();
  // The picture first: the plots come with more script.
  void showPicture().then(() => {
    $('.bench').dataset.stands = '';
    updateReach();
    updateRelief();
    updateCost();
    updateWithin();
  });
}
changed();
