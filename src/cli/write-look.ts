/** What `saccade look` writes: each picture, and a page with all of them. */
import { join } from 'node:path';
import { toPng } from '../look/paint';
import type { Sight } from '../look/sights';
import { describeMachine } from '../machine';
import type { LookPage } from '../report/look-view';
import { htmlPage } from '../report/page';
import type { Runtime } from '../runtime/runtime';
import { writeFileAtomic } from './write-file';

export interface Shown extends Omit<LookPage, 'sights' | 'machine' | 'runtime'> {
  readonly title: string;
  readonly sights: readonly Sight[];
}

/** What `--json` has of it. */
export const reportOf = ({ title, model, weights, classes, sights }: Shown) => ({
  ...{ title, model, weights, classes },
  sights: sights.map(({ name, title, note }) => ({ name, title, note })),
});

/** Into a folder; gives the paths. */
export async function writeLook(out: string, { title, sights, ...shown }: Shown, runtime: Runtime): Promise<string[]> {
  const pictures = sights.map(({ name, picture }) => [join(out, `${name}.png`), toPng(picture)] as const);
  for (const [path, bytes] of pictures) await writeFileAtomic(path, bytes);
  const page: LookPage = {
    ...shown,
    sights: sights.map(({ title, note, picture: { width, height } }, at) => ({
      title,
      note,
      width,
      height,
      png: Buffer.from((pictures[at] as (typeof pictures)[number])[1]).toString('base64'),
    })),
    machine: await describeMachine(),
    // What it says of single convolutions is too much for a picture.
    runtime: runtime.backend.explain().filter((line) => !line.startsWith('conv of')),
  };
  const report = join(out, 'report.html');
  await writeFileAtomic(report, htmlPage({ title, view: 'look', data: page }));
  return [report, ...pictures.map(([path]) => path)];
}
