/** The page of a model: its params, and its outputs, a run and code that follow them. */
import { literal } from '../../src/text/literal';
import { shellCommand } from '../../src/text/shell';
import type { ModelData } from '../build/model-page';
import { Helper, latest } from './ask';
import { live, sentence } from './live';
import { startOutputs } from './outputs-part';
import { $, $$, copies } from './page';
import { startRun } from './run-part';
import { SettingForm } from './setting-form';
import type { Setting } from './tasks/setting';

const data = JSON.parse($('#model').textContent!) as ModelData;
const [counter, runner] = [new Helper(), new Helper()];
const form = new SettingForm(data, changed);

/** Written once the model accepts the params. */
const writeCode = latest(() =>
  live('code', async (box) => {
    const setting = form.setting();
    await counter.ask('checkModel', setting);
    const program = box.querySelector('[data-code]');
    if (program) program.textContent = programOf(setting);
    $('[data-command]', box).textContent = commandOf(setting);
    return undefined;
  }),
);
for (const button of $$('[data-copy]'))
  copies(button, () => $('code', button.parentElement!).textContent, 'not allowed');

startRun({ data, form }, runner, 'runModel');
const showOutputs = startOutputs({ data, form }, counter, 'modelShown');

function changed(): void {
  try {
    form.setting();
    form.complain('');
  } catch (error) {
    form.complain(sentence(error));
  }
  writeCode();
  void showOutputs().then(() => {
    $('.bench').dataset.stands = '';
  });
}
changed();

function programOf({ params }: Setting): string {
  const { exported, inputs, output, promised } = data;
  return `import { createRuntime } from 'saccade';
import { ${exported} } from 'saccade/models';

const runtime = await createRuntime();
const model = ${exported}.create(${literal(params)});
const parameters = model.initialize(runtime, { seed: 1 }); // or model.load(runtime, file)
const { inputs: sample } = ${exported}.sample();
const inputs = { ${inputs.map((name) => `${name}: runtime.fromHost(sample.${name})`).join(', ')} };
const results = model.forward(inputs, parameters);
const output = ${promised ? 'await ' : ''}results.${output};
console.log(output.shape, await output.read());
runtime.dispose();`;
}

function commandOf({ method, params }: Setting): string {
  const files = ['--weights', 'model.safetensors', '--in', 'in.safetensors', '--out', 'out.safetensors'];
  return shellCommand(['npx', 'saccade', 'run', method, ...files, '--params', JSON.stringify(params)]);
}
