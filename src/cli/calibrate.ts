import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Command } from 'commander';
import { ParameterError } from '../errors';
import type { Calibration } from '../methods/calibration';
import { type CalibrationFile, calibrate } from '../models';
import { calibrationName } from '../models/language-model/calibration';
import { loadDecoder } from '../models/language-model/load';
import { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
import { significant } from '../text/format';
import { formatTable, right } from '../text/table';
import { attentionOfModel } from './attention';
import { openModel } from './language';
import { METHOD_OR_MODULE, readMethod } from './methods';
import { backendOption, jsonOption, paramsOption, parseJson, threadsOption, wholeNumber } from './options';
import { withProgress } from './progress';
import { readText } from './read-tensors';
import { checkWritable, say, writeFileAtomic } from './write-file';

interface Options extends Pick<RuntimeOptions, 'backend' | 'threads'> {
  readonly model: string;
  readonly text: string;
  readonly params?: string;
  readonly error?: number;
  readonly context?: number;
  readonly json?: string;
}

export function calibrateCommand(): Command {
  return new Command('calibrate')
    .argument('<method>', METHOD_OR_MODULE)
    .requiredOption('--model <path>', 'a folder as Hugging Face has them, its weights, or a GGUF file')
    .requiredOption('--text <file>', 'a long text of the kind that the model will read, in UTF-8')
    .addOption(paramsOption())
    .option('--error <number>', "how far a head's result may be off for each token; default: the method's", Number)
    .option('--context <tokens>', 'the most tokens of a piece of the text; default: 4096', wholeNumber(2, 2 ** 24))
    .addOption(jsonOption('default: beside the model; the thresholds'))
    .addOption(backendOption())
    .addOption(threadsOption())
    .addHelpText(
      'after',
      '\nLanguage models read the file where they lie beside it and the params leave the thresholds out:\n  $ saccade chat --model FOLDER --attention sale',
    )
    .action(runCalibrate);
}

async function runCalibrate(name: string, options: Options): Promise<void> {
  const { model, text: path, params, error, context, backend, threads } = options;
  if (error !== undefined && !(error > 0)) throw new ParameterError(`--error must be a positive number, got ${error}`);
  const method = await readMethod(name);
  const file = options.json ?? join(await folderOf(model), calibrationName(method.name));
  await checkWritable(file);
  const { text } = await readText(path);
  await using weights = await openModel(model);
  using runtime = await createRuntime({ ...(backend && { backend }), ...(threads && { threads }) });
  const found = await withProgress('calibrating', async (control) => {
    const attention = weights.config && (await attentionOfModel(weights.config));
    using language = await loadDecoder(weights, { runtime, attention, context, signal: control.signal });
    return await calibrate(language, method, text, { params: parseJson(params), error, ...control });
  });
  const result: CalibrationFile = {
    format: 'saccade calibration',
    version: 1,
    method: method.name,
    model: await weights.identity(),
    ...found,
  };
  await writeFileAtomic(file, `${JSON.stringify(result, undefined, 2)}\n`);
  await say(
    formatTable(
      [right('layer'), 'thresholds by head'],
      found.layers.map((layer, at) => [
        String(at),
        (layer[(method.calibration as Calibration).param] as readonly number[])
          .map((value) => significant(value))
          .join(' '),
      ]),
    ),
    file,
  );
}

async function folderOf(path: string): Promise<string> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ? path : dirname(path);
}
