/** What the model of pictures and words that comes along makes of pictures: computed here, as files of the site. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { toPng } from '../../src/look/paint';
import { answersTold, regionSights } from '../../src/look/regions';
import { createRuntime } from '../../src/ops/create-runtime';
import { decodePicture } from '../../src/pictures';
import { PIPELINES } from '../../src/pipelines/names';
import { loadViewer, lookTwice } from '../../src/pipelines/regions';
import { ROOT } from './standing';

const FOLDER = 'site/looks';
mkdirSync(resolve(ROOT, 'atlas', FOLDER), { recursive: true });

/** By the picture's file: each question with its answers, and pictures with theirs. */
export const looks = new Map(
  await Promise.all(Object.values(PIPELINES).flatMap(({ shown }) => (shown?.looks ? [lookedAt(shown.looks)] : []))),
);
export type Look = NonNullable<ReturnType<typeof looks.get>>[number];

async function lookedAt({ file, questions }: { readonly file: string; readonly questions: readonly string[] }) {
  using runtime = await createRuntime({ backend: 'wasm' });
  const viewer = await loadViewer(runtime);
  const picture = await decodePicture(file, readFileSync(resolve(ROOT, 'docs/pipelines', file)));
  const all = questions.map(async (question, at) => {
    const look = await lookTwice(runtime, viewer, picture, question);
    const sights = regionSights(viewer, picture, look).map((sight) => {
      const file = `${FOLDER}/${at}-${sight.name}.generated.png`;
      writeFileSync(resolve(ROOT, 'atlas', file), toPng(sight.picture));
      return { ...sight, file };
    });
    return { question, said: answersTold(look), sights };
  });
  return [file, await Promise.all(all)] as const;
}
