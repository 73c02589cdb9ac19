/** The page of a model: its params, and its outputs, a run and code that follow them. */
import { literal } from '../../src/text/literal';
import { shellCommand } from '../../src/text/shell';
import type { ModelData } from '../build/model-page';
import { Helper } from './ask';
import { startCode } from './code-part';
import { showFault } from './live';
import { startOutputs } from './outputs-part';
import { $ } from './page';
import { startRun } from './run-part';
import { SettingForm } from './setting-form';
import type { Setting } from './tasks/setting';

const data = JSON.parse($('#model').textContent!) as ModelData;
const [counter, runner] = [new Helper(), new Helper()];
const form = new SettingForm(data, changed);

const page = { data, form };
const writeCode = startCode(
  page,
  (setting) => counter.ask('checkModel', { setting }),
  (setting) => ({ program: data.exported && programOf(setting), command: commandOf(setting) }),
);
startRun(page, runner, 'runModel');
const showOutputs = startOutputs(page, counter, 'modelShown');

function changed(): void {
  showFault(page);
  writeCode();
  void showOutputs().then(() => {
    $('.bench').dataset.stands = '';
  });
}
changed();

function programOf({ params }: Setting): string {
  const { exported, inputs, output, promised, trained, sample } = data;
  const isTrained = trained && JSON.stringify(params) === JSON.stringify(sample.params);
  const weights = isTrained
    ? `const { tensors } = await ${exported}.published.load();
const parameters = model.load(runtime, tensors);`
    : 'const parameters = model.initialize(runtime, { seed: 1 }); // or model.load(runtime, file)';
  return `import { createRuntime } from 'saccade';
import { ${exported} } from 'saccade/models';

const runtime = await createRuntime();
const model = ${exported}.create(${literal(params)});
${weights}
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
