/** How good a model of pictures and words is: answers before and after the second look, and how well its attention and its predictor find what is asked for. */
import { estimateMean } from '../../measure/statistics';
import type { Runtime } from '../../runtime/runtime';
import type { LabelledPictures } from '../../train/pictures';
import { averagePrecision } from '../metrics';
import { lookForRegions, type RegionsLook, type Viewer } from './look';
import { boxOfCell, type Scene } from './scenes';
import { unseenScenes } from './training';
import type { PlaceBox } from './views';

/**
 * Shares of right answers, with the second look at the true box too, average precisions inside the true box of attention and
 * predictor, and how often a box has all of the garment but for its edge; the latter of models with a predictor.
 */
const FIGURES = ['before', 'atTruth', 'attention'] as const;
const OF_PREDICTOR = ['after', 'predictor', 'found'] as const;
type Figure = (typeof FIGURES)[number] | (typeof OF_PREDICTOR)[number];

/** Means over seeds of scenes, from 0 to 1, with intervals of 95%. */
interface RegionsQuality {
  readonly questions: number;
  readonly figures: Readonly<Partial<Record<Figure, ReturnType<typeof estimateMean>>>>;
}

interface QualityOptions {
  /** Scenes of each of three seeds. */
  readonly scenes: number;
  readonly signal?: AbortSignal | undefined;
}

const SEEDS = 3;

/** On scenes of pictures that were not learned from. */
export async function regionsQuality(
  runtime: Runtime,
  viewer: Viewer,
  pictures: LabelledPictures,
  { scenes, signal }: QualityOptions,
): Promise<RegionsQuality> {
  const bySeed: Partial<Record<Figure, number>>[] = [];
  const names = [...FIGURES, ...('twig_norm.weight' in viewer.parameters ? OF_PREDICTOR : [])];
  let questions = 0;
  for (let seed = 0; seed < SEEDS; seed++) {
    const found: Partial<Record<Figure, number>>[] = [];
    for (const scene of unseenScenes(pictures, scenes, seed)) {
      signal?.throwIfAborted();
      found.push(...(await figuresOf(runtime, viewer, scene)));
    }
    questions += found.length;
    const mean = (name: Figure) => found.reduce((sum, each) => sum + (each[name] as number), 0) / found.length;
    bySeed.push(Object.fromEntries(names.map((name) => [name, mean(name)])));
  }
  const over = (name: Figure) => estimateMean(bySeed.map((each) => each[name] as number));
  return { questions, figures: Object.fromEntries(names.map((name) => [name, over(name)])) };
}

async function figuresOf(runtime: Runtime, viewer: Viewer, { picture, cells, questions }: Scene) {
  const { side } = viewer.config;
  const truths = questions.map(({ cell }) => boxOfCell(cell, side, cells));
  const asTold = questions.map(({ words }, at) => ({ words, boxes: [truths[at] as PlaceBox] }));
  const atTruth = await lookForRegions(runtime, viewer, picture, asTold);
  const looked =
    'twig_norm.weight' in viewer.parameters ? await lookForRegions(runtime, viewer, picture, questions) : undefined;
  return questions.map(({ answer }, at): Partial<Record<Figure, number>> => {
    const [x0, y0, x1, y1] = truths[at] as PlaceBox;
    const labels = Array.from({ length: side ** 2 }, (_, place) => {
      const [x, y] = [place % side, Math.floor(place / side)];
      return Number(x >= x0 && x < x1 && y >= y0 && y < y1);
    });
    const isRight = (answers: RegionsLook['after']) => Number(answers?.[0]?.label === answer);
    const { before, after, attention } = atTruth[at] as RegionsLook;
    const own = looked?.[at];
    return {
      before: isRight(before),
      atTruth: isRight(after),
      attention: averagePrecision(attention, labels),
      ...(own?.map && {
        after: isRight(own.after ?? own.before),
        predictor: averagePrecision(own.map, labels),
        found: Number(own.boxes.some(([a, b, c, d]) => a <= x0 + 1 && b <= y0 + 1 && c >= x1 - 1 && d >= y1 - 1)),
      }),
    };
  });
}
