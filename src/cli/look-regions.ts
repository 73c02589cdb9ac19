/** `saccade look --regions`: a question about a picture, answered before and after a second look. */
import { styleText } from 'node:util';
import { answersTold, regionSights, regionsOf } from '../look/regions';
import { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
import type { Picture } from '../pictures';
import { type Answer, loadViewer, lookTwice, type RegionsLook, type RegionsOptions } from '../pipelines/regions';
import { parseQuestion } from '../pipelines/regions/words';
import { formatPercent } from '../text/format';
import { printable } from '../text/printable';
import { formatTable, right } from '../text/table';
import { withProgress } from './progress';
import { openFile } from './read-tensors';
import { wrap } from './wrap';
import { tell } from './write-file';
import { reportOf, type Shown, writeLook } from './write-look';

interface LookRegions extends Pick<RuntimeOptions, 'backend' | 'threads'>, RegionsOptions {
  readonly question: string;
  readonly image: string;
  readonly weights?: string | undefined;
  readonly out?: string | undefined;
  readonly json?: string | undefined;
}

const WIDTH = 100;
const SHOWN_ANSWERS = 5;
const OWN =
  'The model is the small one that comes with the library: it knows scenes of four by four garments in red, green, blue and yellow.';

export async function lookRegions(
  picture: Picture,
  { question, image, weights, out, json, backend, threads, ...options }: LookRegions,
) {
  parseQuestion(question);
  using runtime = await createRuntime({ ...(backend && { backend }), ...(threads && { threads }) });
  await using file = weights === undefined ? undefined : await openFile(weights);
  const { looked, sights } = await withProgress('looking', async ({ signal }) => {
    const viewer = await loadViewer(runtime, { weights: file, signal });
    const looked = await lookTwice(runtime, viewer, picture, question, options);
    return { looked, sights: regionSights(viewer, picture, looked) };
  });
  const answers = bothOf(looked);
  const source = file ? `Weights: ${printable(file.name)}.` : OWN;
  const shown: Shown = {
    title: `Where the answer to “${question}” is`,
    model: 'the viewer',
    subject: `“${question}” of ${printable(image)}: ${answersTold(looked)}`,
    weights: source,
    isRandom: false,
    ofPlaces: false,
    classes: answers,
    sights,
  };
  const written = out === undefined ? [] : await writeLook(out, shown, runtime);
  const told = () =>
    [
      styleText('bold', wrap(shown.subject, WIDTH)),
      '',
      formatTable(
        ['answer', right('first look'), ...(looked.after ? [right('second look')] : [])],
        answers.map(({ name, share, after }) => [
          name,
          ...[share, after].flatMap((each) => (each === undefined ? [] : formatPercent(each))),
        ]),
      ),
      '',
      wrap(`${regionsOf(looked)}${placesOf(looked)}.`, WIDTH),
      ...(file ? [] : ['', styleText('yellow', wrap(source, WIDTH))]),
      ...written.map((path) => `Written: ${printable(path)}`),
    ].join('\n');
  await tell(told, json, { ...reportOf(shown), regions: looked.sources, written });
}

/** The likeliest answers by the last look, with their probabilities in both. */
function bothOf({ before, after }: RegionsLook) {
  const probability = (answers: readonly Answer[], own: Answer) =>
    (answers.find(({ label }) => label === own.label) as Answer).probability;
  return (after ?? before).slice(0, SHOWN_ANSWERS).map((answer) => ({
    name: answer.name,
    share: probability(before, answer),
    after: after && probability(after, answer),
  }));
}

/** Where the regions are, in pixels of the picture. */
function placesOf({ sources }: RegionsLook): string {
  if (sources.length === 0) return '';
  const pixels = sources.map(({ left, top, right, bottom }) =>
    [left, top, right, bottom].map((each) => Math.round(each)).join(' '),
  );
  return ` (left, top, right, bottom in pixels): ${pixels.join('; ')}`;
}
