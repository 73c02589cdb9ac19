/** What the model of pictures and words that comes along makes of pictures: computed here, as files of the site. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { toPng } from '../../src/look/paint';
import { answersTold, regionSights } from '../../src/look/regions';
import type { Sight } from '../../src/look/sights';
import { createRuntime } from '../../src/ops/create-runtime';
import { decodePicture } from '../../src/pictures';
import { PIPELINES } from '../../src/pipelines/names';
import { loadViewer, lookTwice } from '../../src/pipelines/regions';
import { type Html, html } from '../site/html';
import { ROOT } from './standing';

const FOLDER = 'site/looks';
mkdirSync(resolve(ROOT, 'atlas', FOLDER), { recursive: true });

/** By the picture's file: each question with its answers, and pictures with theirs. */
export const looks = new Map(
  await Promise.all(Object.values(PIPELINES).flatMap(({ shown }) => (shown?.looks ? [lookedAt(shown.looks)] : []))),
);
interface Look {
  readonly said: string;
  readonly sights: ReturnType<typeof writeSights>;
}

/** Pictures as files of the site. */
export function writeSights(name: string, sights: readonly Sight[]) {
  return sights.map((sight) => {
    const file = `${FOLDER}/${name}-${sight.name}.generated.png`;
    writeFileSync(resolve(ROOT, 'atlas', file), toPng(sight.picture));
    return { ...sight, file };
  });
}

export function lookBox({ said, sights }: Look): Html {
  const items = sights.map(
    ({ title, note, file, picture: { width, height } }) =>
      html`<div${width > 2 * height && html` class="wide"`}><img src="../../${file}" width="${width}" height="${height}" alt="${title}"><small>${title}. <span class="quiet">${note}</span></small></div>`,
  );
  return html`<figure class="made"><div class="looks">${items}</div><figcaption class="caption">${said}</figcaption></figure>`;
}

async function lookedAt({ file, questions }: { readonly file: string; readonly questions: readonly string[] }) {
  using runtime = await createRuntime({ backend: 'wasm' });
  const viewer = await loadViewer(runtime);
  const picture = await decodePicture(file, readFileSync(resolve(ROOT, 'docs/pipelines', file)));
  const all = questions.map(async (question, at) => {
    const look = await lookTwice(runtime, viewer, picture, question);
    const sights = writeSights(String(at), regionSights(viewer, picture, look));
    return { said: `“${question}”: ${answersTold(look)}`, sights };
  });
  return [file, await Promise.all(all)] as const;
}
