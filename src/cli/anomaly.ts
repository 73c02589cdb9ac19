import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import type { CloudSample } from '../pipelines/anomaly';
import { writePly } from '../pipelines/clouds';
import { printable } from '../text/printable';
import { anomalyPretrainCommand } from './anomaly-pretrain';
import { anomalyTestCommand } from './anomaly-test';
import { anomalyTrainCommand, type MadeOptions, madeBy, withMade } from './anomaly-train';
import { MADE, readClasses } from './read-clouds';
import { say, writeFileAtomic } from './write-file';

export function anomalyCommand(): Command {
  const command = new Command('anomaly');
  for (const sub of [anomalyTrainCommand(), anomalyTestCommand(), anomalyPretrainCommand(), anomalyShapesCommand()])
    command.addCommand(sub);
  return command;
}

interface ShapesOptions extends Omit<MadeOptions, 'data'> {
  readonly out: string;
}

function anomalyShapesCommand(): Command {
  return withMade(
    new Command('shapes').description('write clouds of the fourteen shapes, and of meshes, as train takes them'),
  )
    .option('--out <folder>', 'where they go', MADE)
    .action(writeShapes);
}

async function writeShapes({ out, meshes, ...made }: ShapesOptions): Promise<void> {
  const classes = await readClasses(MADE, meshes, madeBy(made));
  let written = 0;
  const write = async (folder: string, { name, points, labels }: CloudSample) => {
    await mkdir(folder, { recursive: true });
    await writeFileAtomic(join(folder, `${name}.ply`), writePly({ points, labels }));
    written++;
  };
  for (const { name, learned, unseen } of classes) {
    for (const cloud of learned) await write(join(out, name, 'train'), cloud);
    for (const cloud of unseen) await write(join(out, name, 'test', cloud.defect ?? 'good'), cloud);
  }
  await say(`${written} clouds of ${classes.length} classes\nWritten: ${printable(out)}`);
}
