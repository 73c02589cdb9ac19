import { statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { styleText } from 'node:util';
import { Command } from 'commander';
import { UnsupportedError } from '../errors';
import { readTunedText, tunedPath, withTuned } from '../ops/sizes/tuned-file';
import { formatRatio, formatTime } from '../text/format';
import { printable } from '../text/printable';
import { formatTable, right } from '../text/table';
import { type TunedCandidate, tuneWebGpu } from '../tune/index';
import { jsonOption } from './options';
import { withProgress } from './progress';
import { checkWritable, say, writeFileAtomic, writeJson } from './write-file';

interface TuneSettings {
  readonly out?: string;
  readonly quick?: true;
  readonly json?: string;
}

/** `saccade tune`; only tests pass `measure`. */
export function tuneCommand(measure: typeof tuneWebGpu = tuneWebGpu): Command {
  return new Command('tune')
    .option('--out <file>', 'where to store them; default: where runtimes in Node look')
    .option('--quick', 'smaller problems, fewer rounds')
    .addOption(jsonOption('device, sizes and the times of all candidates'))
    .addHelpText('after', '\nExample:\n  $ saccade tune --quick')
    .action((settings: TuneSettings) => tune(settings, measure));
}

async function tune({ out, quick, json }: TuneSettings, measure: typeof tuneWebGpu): Promise<void> {
  const path = out ?? tunedPath();
  // Better to fail now than after the work.
  if (out === undefined) {
    await mkdir(dirname(path), { recursive: true });
    if (statSync(path, { throwIfNoEntry: false })?.isFile() === false)
      throw new UnsupportedError(`${path} is no regular file: delete it`);
  }
  for (const written of [path, json]) if (written !== undefined) await checkWritable(written);
  const report = await withProgress('tune', (control) => measure({ quick: quick === true, ...control }));
  const { device, sizes, candidates } = report;
  const date = new Date().toISOString().slice(0, 10);
  await writeFileAtomic(path, withTuned(present(path), device, { date, sizes }));
  await writeJson(json, report);
  const found =
    Object.keys(sizes).length > 0
      ? 'faster sizes than the table has for such devices'
      : "none that beat the table's by more than the noise";
  await say(`${printable(device)}\n\n${tableOf(candidates)}\n\n${found}; stored in ${printable(path)}`, path, json);
}

/** The present file; its entries for other devices are kept. */
function present(path: string): string {
  try {
    return readTunedText(path);
  } catch {
    return '';
  }
}

function tableOf(candidates: readonly TunedCandidate[]): string {
  const columns = ['entry', 'sizes', right('time'), right("by the table's"), 'verdict'];
  const rows = candidates.map(({ entry, label, isTable, ms, ratio, verdict, reason }) => [
    entry,
    `${label}${isTable ? ' (table)' : ''}`,
    ms === undefined ? '' : formatTime(ms),
    ratio === undefined ? '' : formatRatio(ratio),
    `${verdict === 'kept' ? styleText('green', verdict) : verdict}${reason === undefined ? '' : `: ${reason}`}`,
  ]);
  return formatTable(columns, rows);
}
