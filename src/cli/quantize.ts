import { copyFile, mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { formatBytes, formatPercent } from '../text/format';
import { printable } from '../text/printable';
import { formatTable, right } from '../text/table';
import { type QuantizedTensor, type QuantizeOptions, quantizeWeights } from '../weights';
import { lockFolder } from './lock-folder';
import { jsonOption } from './options';
import { withProgress } from './progress';
import { openFile } from './read-tensors';
import { checkWritable, tell } from './write-file';

interface Options extends Pick<QuantizeOptions, 'type'> {
  readonly in: string;
  readonly out: string;
  readonly keep: string[];
  readonly json?: string;
}

/** What else belongs to a model: tokenisers, templates, settings of generation. */
const COMPANION = /\.(json|txt|model|jinja)$/;
const OWN = /(^config|\.index)\.json$/;

export function quantizeCommand(): Command {
  return new Command('quantize')
    .requiredOption('--in <path>', 'weights: safetensors, a folder of them, GGUF or a checkpoint of PyTorch')
    .requiredOption('--out <folder>', 'where safetensors with the rounded weights go')
    .addOption(
      new Option('--type <type>', '8 bits, or 4, for each number of matrices')
        .choices(['q8', 'q4'])
        .makeOptionMandatory(),
    )
    .option(
      '--keep <pattern>',
      "names that stay as they are, by prefix or with * and ?; may come several times, such as --keep 'lm_head*'",
      (pattern: string, before: string[]) => [...before, pattern],
      [],
    )
    .addOption(jsonOption('what became of each tensor'))
    .action(quantize);
}

async function quantize({ in: input, out, type, keep, json }: Options): Promise<void> {
  if (json !== undefined) await checkWritable(json);
  await using weights = await openFile(input);
  using _ = lockFolder(out);
  const tensors = await withProgress('rounding', (control) =>
    quantizeWeights(weights, out, { type, keep, ...control }),
  );
  await copyCompanions(input, out);
  await tell(() => `${summary(tensors)}\nWritten: ${printable(out)}`, json, tensors);
}

async function copyCompanions(input: string, out: string): Promise<void> {
  if (!(await stat(input)).isDirectory()) return;
  await mkdir(out, { recursive: true });
  for (const file of await readdir(input))
    if (COMPANION.test(file) && !OWN.test(file)) await copyFile(join(input, file), join(out, file));
}

/** A row for each layer, and for each tensor outside of them. */
function summary(tensors: readonly QuantizedTensor[]): string {
  const layers = new Map<string, QuantizedTensor[]>();
  for (const tensor of tensors) {
    const layer = /^(.*?\.\d+)\./.exec(tensor.name)?.[1] ?? tensor.name;
    layers.set(layer, [...(layers.get(layer) ?? []), tensor]);
  }
  const rows = [...layers].map(([layer, own]) => {
    const worst = own.reduce((a, b) => (b.error > a.error ? b : a));
    const rounded = own.filter(({ from, to }) => from !== to);
    return [
      printable(layer),
      [...new Set(own.map(({ from, to }) => (from === to ? from : `${from} → ${to}`)))].join(', '),
      formatBytes(bytesOf(own)),
      rounded.length > 0 ? formatPercent(worst.error) : '',
      rounded.length > 0 && own.length > 1 ? printable(worst.name.slice(layer.length + 1)) : '',
    ];
  });
  const columns = ['layer', 'types', right('size'), right('largest error'), 'where'];
  return `${formatTable(columns, rows)}\n\nError: root mean square, relative to that of the numbers. All: ${formatBytes(bytesOf(tensors))}.`;
}

const bytesOf = (tensors: readonly QuantizedTensor[]) => tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
